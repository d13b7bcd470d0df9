"""One schedule: who moves next, which fault strikes, and what is written down of it.

An *option* is one thing that may happen now: an actor's next call is executed and answered; a reply that was held back
arrives; a request that was thought lost arrives; or one of these with a fault. The chooser picks; everything else
follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_async import Durable
from durable_async.store.errors import ConnectionLost
from durable_async.store.keys import Keys

from .actors import LEASE_S, Actor, Current, SimClient, SimWorker
from .loop import Clock
from .telling import Teller
from .wire import Call, Server, SimTransport

NAMESPACE = "x"
FAULTS = ("lose-request", "lose-reply", "late-request", "slow-reply", "crash-before", "crash-after", "freeze")
SHORT_S = 0.3
"""Pauses up to this are waited for in a schedule; longer ones pass while all faults are over."""
PAUSES = 8
"""How often in one schedule."""
QUIET = frozenset({"CLIENT", "XADD", "XREAD"})
"""Commands that touch nobody but a waiting client or a hint: executed as soon as they are there."""

_UNSENT = object()


@dataclass(eq=False)
class Option:
    """One thing that may happen."""

    actor: Actor
    transport: SimTransport | None
    call: Call
    fault: str = ""

    @property
    def label(self) -> str:
        """What it is, the same in every schedule."""
        where = self.transport.role if self.transport is not None else "network"
        return f"{self.actor.name} {where} {self.call.name} {self.fault}".rstrip()

    @property
    def key(self) -> str:
        """Which one it is of all that ever happen in a schedule, the same in every schedule."""
        where = self.actor.connections().index(self.transport) if self.transport is not None else "network"
        return f"{self.actor.name} {where} {self.call.number} {self.fault}".rstrip()


Chooser = Callable[[list[Option]], int]


class World:
    """Actors, a server and a clock."""

    def __init__(self, server: Server, workflows: Any) -> None:
        self.server = server
        self.clock = Clock()
        self.workflows = workflows
        self.keys = Keys(NAMESPACE)
        self._current: Actor | None = None
        Current.clock = self.clock
        server.execute(("FLUSHDB",))
        self.durable = self.make_durable()
        self.actors: list[Actor] = []
        self.ghosts: list[tuple[Actor, Call]] = []
        """Requests that are still in the network, though whoever sent them has given them up."""
        self.faulty: frozenset[str] = frozenset()
        self.budget = 0
        self.switches: int | None = None
        """How often somebody who could go on may be left waiting; None for as often as you like."""
        self._is_leaving = False
        """Whether he who moved last could go on."""
        self.kinds: tuple[str, ...] = FAULTS
        self.happened: list[str] = []
        """The faults that struck."""
        self.teller = Teller(self.clock)
        self.on_fault: Callable[[str], None] = lambda what: None
        self._probed: dict[tuple[str, str], bool] = {}
        self._last: Actor | None = None
        self._pauses = 0
        self.touched: set[str] = set()
        """Who has gone on since this was cleared."""
        self.is_all_touched = False
        """Something has happened since then that nothing is independent of."""
        self.on_pause: Callable[[], None] = lambda: None
        """Nobody can go on before some time has passed."""

    def make_durable(self) -> Durable:
        """A `Durable` of this world's namespace."""
        return Durable(self.server.url, workflows=self.workflows, namespace=NAMESPACE)

    @property
    def current(self) -> Actor | None:
        """Whose turn it is."""
        return self._current

    @current.setter
    def current(self, actor: Actor | None) -> None:
        self._current = Current.actor = actor

    # ------------------------------------------------------------------ who there is

    def worker(self, name: str, *queues: str, concurrency: int = 10, max_resident: int = 10) -> SimWorker:
        """A worker that starts; what it is told to do it does after that."""
        actor = SimWorker(self, name, queues or ("default",), concurrency, max_resident)
        self._join(actor)
        return actor

    def client(self, name: str) -> SimClient:
        """A client that opens; what it is told to do it does after that."""
        actor = SimClient(self, name)
        self._join(actor)
        return actor

    def _join(self, actor: Any) -> None:
        self.actors.append(actor)
        actor.moves._is_up = True
        actor.tell("start", actor.start())

    @property
    def workers(self) -> list[SimWorker]:
        """Those that work, as far as they know."""
        return [actor for actor in self.actors if isinstance(actor, SimWorker) and actor.is_reading]

    # ------------------------------------------------------------------ a schedule

    def settle(self) -> None:
        """Lets everybody go on, without faults, until nobody can. What they ask for at once is one write."""
        self._pauses = 0
        while self.settle_running() or self._pause() or self._thaw():
            pass
        for actor in self.actors:
            assert actor.is_gone or actor.results.get("start", "pending") is None, (actor.name, actor.results)

    def explore(self, choose: Chooser) -> None:
        """Lets the chooser decide, until nobody can go on."""
        self._pauses = 0
        while True:
            self._run_all()
            options = self._options()
            if not options:
                if self._pause() or self._thaw():
                    continue
                return
            self._do(options[choose(options)])

    def _run_all(self) -> None:
        while True:
            for actor in self.actors:
                actor.run()
            if not self._do_quiet():
                return

    def _do_quiet(self) -> bool:
        for actor in self.actors:
            for transport in () if actor.is_gone or actor.is_frozen else actor.connections():
                call = transport.queue[0] if transport.queue else None
                if call is None or call.name not in QUIET or (call.reads and not self._is_ready(call)):
                    continue
                transport.queue.popleft()
                reply = 1 if call.name == "CLIENT" else self._execute(call)
                actor.loop.call_soon(transport._deliver, call.on_reply, reply)
                return True
        return False

    def _is_ready(self, call: Call) -> bool:
        if not call.reads:
            return True
        if any(read not in self._probed for read in call.reads):
            self._learn(self._reads(), self.server.execute(self.server.probing(self._reads()))[0])
        return any(self._probed[read] for read in call.reads)

    def _reads(self) -> list[tuple[str, str]]:
        """What is being waited for in streams."""
        waiting = [t.queue[0] for actor in self.actors for t in actor.transports if t.queue]
        waiting += [ghost for _, ghost in self.ghosts]
        return list(dict.fromkeys(read for call in waiting for read in call.reads))

    def _learn(self, reads: list[tuple[str, str]], found: list[int]) -> None:
        self._probed = {read: bool(is_there) for read, is_there in zip(reads, found, strict=True)}

    def _options(self) -> list[Option]:
        found: list[Option] = []
        order = [a for a in self.actors if a is self._last] + [a for a in self.actors if a is not self._last]
        for actor in order:
            heads = (
                [] if actor.is_gone or actor.is_frozen else [(t, t.queue[0]) for t in actor.connections() if t.queue]
            )
            found += [Option(actor, t, call) for t, call in heads if call.is_held or self._is_ready(call)]
        found += [Option(actor, None, call) for actor, call in self.ghosts if self._is_ready(call)]
        self._is_leaving = bool(found) and found[0].actor is self._last and found[0].transport is not None
        if self._is_leaving and self.switches == 0:
            found = [option for option in found if self._stays(option)]
        if self.budget > 0:
            found += [
                Option(option.actor, option.transport, option.call, fault)
                for option in tuple(found)
                for fault in self._faults_of(option)
            ]
        return found

    def forget_touched(self) -> None:
        """A step begins."""
        self.touched.clear()
        self.is_all_touched = False

    def _stays(self, option: Option) -> bool:
        return option.actor is self._last and option.transport is not None

    def _faults_of(self, option: Option) -> tuple[str, ...]:
        actor, call, transport = option.actor, option.call, option.transport
        if actor.name not in self.faulty or transport is None or transport is actor.moves or call.is_held:
            return ()
        return tuple(
            kind
            for kind in self.kinds
            if isinstance(actor, SimWorker) or kind in ("lose-request", "lose-reply", "late-request", "slow-reply")
        )

    def state(self) -> tuple[Any, ...]:
        """All that what follows depends on: the store, what everybody has seen, and the time.

        What an actor is about to do follows from what it has seen, since the code is the same.
        """
        seen = tuple((actor.name, actor.seen.hexdigest()) for actor in self.actors)
        ghosts = tuple((actor.name, call.args) for actor, call in self.ghosts)
        limits = (self.budget, self.switches, self.switches is not None and self._last is not None and self._last.name)
        return (self.server.state(), seen, ghosts, limits, self.clock.now, self._pauses)

    def _do(self, option: Option) -> None:
        actor, call, transport = option.actor, option.call, option.transport
        if self.switches and self._is_leaving and not self._stays(option):
            self.switches -= 1
        self._last = actor
        if option.fault or call.is_held or transport in (None, actor.moves):
            self.is_all_touched = True
        actor.sees(option.label)
        if transport is None:
            self.ghosts.remove((actor, call))
            reply = self._execute(call)
            self.teller.call(actor.name, call, reply, "(its late request)")
        elif transport is actor.moves:
            transport.queue.popleft()
            self.teller.move(actor.name, call.name)
            call.reply()
            actor.loop.call_soon(call.on_reply, None)
        elif call.is_held:
            transport.queue.popleft()
            self.teller.note(actor.name, f"the reply to {call.name} arrives")
            actor.loop.call_soon(transport._deliver, call.on_reply, call.reply)
        elif option.fault:
            self._strike(option)
        else:
            transport.queue.popleft()
            self._deliver(option, self._execute(call))

    def _execute(self, call: Call) -> Any:
        reads = list(dict.fromkeys([*self._reads(), *call.reads]))
        command = self.server.prepared(call.args, self.clock.ms())
        commands = [command, *self.server.follows(command)]
        if not reads:
            return self.server.told(call.args, self.server.execute(*commands)[0])
        replies = self.server.execute(*commands, self.server.probing(reads))
        self._learn(reads, replies[-1])
        return self.server.told(call.args, replies[0])

    def _strike(self, option: Option) -> None:
        actor, call, transport, fault = option.actor, option.call, option.transport, option.fault
        assert transport is not None
        self.budget -= 1
        self.happened.append(f"{fault} {actor.name} {call.name}")
        self.on_fault(fault)
        transport.queue.popleft()
        reply: Any = _UNSENT
        if fault in ("lose-reply", "slow-reply", "crash-after"):
            reply = self._execute(call)
        self.teller.call(actor.name, call, reply if reply is not _UNSENT else None, fault, is_sent=reply is not _UNSENT)
        if fault in ("crash-before", "crash-after"):
            actor.crash()
        elif fault == "freeze":
            transport.queue.appendleft(call)
            actor.is_frozen = True
        elif fault == "slow-reply":
            actor.sees(reply)
            call.reply, call.is_held = reply, True
            transport.queue.appendleft(call)
        else:
            if fault == "late-request":
                self.ghosts.append((actor, call))
            # As a whole: what was on its way behind it is lost with the connection.
            lost = ConnectionLost("it was lost", sent=True)
            actor.loop.call_soon(transport._deliver, call.on_reply, lost)
            actor.loop.call_soon(transport.reconnect, "it was lost")

    # ------------------------------------------------------------------ time

    def _pause(self) -> bool:
        """A short pause of somebody's passes: it was part of what he was doing."""
        due = [
            when
            for actor in self.actors
            if not actor.is_gone and not actor.is_frozen and (when := actor.loop.next_due()) is not None
        ]
        if not due or min(due) - self.clock.now > SHORT_S or self._pauses >= PAUSES:
            return False
        self.on_pause()
        self._pauses += 1
        self.clock.now = max(self.clock.now, min(due))
        return True

    def _thaw(self) -> bool:
        """Somebody was frozen, and all others have done what they could: a lease passes, others take over, he goes on
        with what he was about to do."""
        frozen = [actor for actor in self.actors if actor.is_frozen]
        if not frozen or not self.workers:
            return False
        self.on_pause()
        budget, self.budget = self.budget, 0
        self.teller.note("", "a lease passes")
        self.pass_lease()
        # Those who are not told what to do cannot be explored: they do it in one order.
        self.settle_but(frozen)
        self.budget = budget
        for actor in frozen:
            actor.is_frozen = False
            actor.sees("goes on")
            self.teller.note(actor.name, "goes on")
        return True

    def settle_but(self, frozen: list[Actor]) -> None:
        """Others take over what the frozen have."""
        for actor in frozen:
            actor.is_frozen = True
        self.settle_running()

    def settle_running(self) -> bool:
        """As `settle`, but nobody waits for anything. Returns whether anything was done."""
        has_moved = False
        while True:
            self._run_all()
            options = self._options()
            if not options:
                return has_moved
            has_moved = True
            alone = [each for each in options if each.transport in (None, each.actor.moves) or each.call.is_held]
            if alone:
                self._do(alone[0])
            else:
                self._do_together(options)

    def _do_together(self, options: list[Option]) -> None:
        reads = list(dict.fromkeys([*self._reads(), *(read for option in options for read in option.call.reads)]))
        commands: list[Any] = []
        places = []
        for option in options:
            assert option.transport is not None
            option.transport.queue.popleft()
            option.actor.sees(option.label)
            command = self.server.prepared(option.call.args, self.clock.ms())
            places.append(len(commands))
            commands += [command, *self.server.follows(command)]
        replies = self.server.execute(*commands, *([self.server.probing(reads)] if reads else []))
        if reads:
            self._learn(reads, replies[-1])
        for option, at in zip(options, places, strict=True):
            self._deliver(option, self.server.told(option.call.args, replies[at]))

    def _deliver(self, option: Option, reply: Any) -> None:
        actor, call, transport = option.actor, option.call, option.transport
        assert transport is not None
        self.teller.call(actor.name, call, reply)
        actor.sees(reply)
        actor.loop.call_soon(transport._deliver, call.on_reply, reply)

    def advance(self, seconds: float) -> None:
        """Time passes, in pieces of less than a lease, at each of which those beat who live."""
        left = seconds
        while left > 0:
            step = min(left, 0.4 * LEASE_S)
            left -= step
            self.clock.now += step
            for actor in self.actors:
                actor.beat()
            self._run_all()

    def pass_time_for(self, observer: Actor, seconds: float) -> None:
        """As much time passes for one of them, and nobody else shows that he lives."""
        left = seconds
        while left > 0:
            self.clock.now += min(left, 0.4 * LEASE_S)
            left -= 0.4 * LEASE_S
            observer.beat()

    def expire(self, *names: str) -> None:
        """The time to live of these keys is over."""
        self.server.execute(("DEL", *[self.keys.base + name for name in names]))

    def pass_lease(self) -> None:
        """Everybody who lives looks for the dead, a lease passes, and they look again."""
        for _ in range(2):
            for worker in self.workers:
                if not worker.is_frozen:
                    worker.tell("sweep", worker.sweep())
            self.settle_running()
            self.advance(1.2 * LEASE_S)
        for worker in self.workers:
            if not worker.is_frozen:
                worker.tell("timers", worker.look_at_timers())
        self.settle_running()

    def close(self) -> None:
        """Everybody goes."""
        for actor in self.actors:
            if not actor.is_gone:
                actor.crash()
        self.current = None


class LogNotes(logging.Handler):
    """What workers log goes into the trace."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        name = self._world.current.name if self._world.current is not None else ""
        self._world.teller.note(name, f"logs: {record.getMessage()}")
