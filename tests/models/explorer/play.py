"""Plays one schedule of one scenario, from the first call to the verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from durable_async import RunCancelled, RunFailed

from . import flows
from .actors import SimClient, SimWorker
from .judge import examined, heal, judged, shape, statuses
from .reduction import Tree
from .stage import MemoryBook, Now, Stage
from .wire import Server
from .world import FAULTS, Chooser, LogNotes, Option, World

log = logging.getLogger("durable_async")


@dataclass(frozen=True)
class Scenario:
    """What leads up to the moments that are explored, what happens in them, and what must come of it."""

    name: str
    setup: Callable[[Play], None]
    window: Callable[[Play], None]
    check: Callable[[Play], Iterator[str]]
    faulty: frozenset[str] = frozenset({"A", "B", "client", "operator"})
    """Whom faults may strike."""
    kinds: tuple[str, ...] = FAULTS
    queues: tuple[str, ...] = ("a", "b")
    keeper: tuple[str, ...] = ()
    """The queues of a worker for time, walks and the dead, if there is one: another actor than those that run things,
    so that fewer orders differ."""


@dataclass(frozen=True)
class Bounds:
    """Which schedules are played."""

    faults: int = 0
    switches: int | None = None
    """How often somebody who could go on may be left waiting; None for as often as you like."""

    def __str__(self) -> str:
        return f"{self.faults}" if self.switches is None else f"{self.faults}/{self.switches}"

    @classmethod
    def read(cls, text: str) -> Bounds:
        """`FAULTS` or `FAULTS/SWITCHES`."""
        faults, _, switches = text.partition("/")
        return cls(int(faults), int(switches) if switches else None)


class Play:
    """A scenario on its stage."""

    operator: SimClient
    keeper: SimWorker
    is_again = False
    """An id has been begun again."""

    def __init__(self, server: Server, scenario: Scenario, examined: set[str]) -> None:
        self.scenario = scenario
        self.examined = examined
        """The ends of schedules that the doctor has looked at."""
        self.world = World(server, [flows])
        self.stage = Now.stage = Stage(self.world.clock)
        self.book: MemoryBook = self.stage.book
        self.book.write("namespace", namespace="x")
        self.world.on_fault = self._fault
        self.marks: list[tuple[str, Any]] = []
        """What the scenario wants to be remembered of the way: it is part of the state."""

    def _fault(self, what: str) -> None:
        # Steps may run again because of a death, or of what was taken for one; never because of a lost message.
        if what in ("crash-before", "crash-after", "freeze"):
            self.book.write("fault", what=what, until=float("inf"))

    def mark(self, what: str, value: Any) -> None:
        """Remembers this."""
        self.marks.append((what, value))

    def state(self) -> tuple[Any, ...]:
        """All that what follows depends on."""
        return (self.world.state(), tuple(self.marks))

    # ------------------------------------------------------------------ who does what

    def worker(self, name: str, *queues: str, **options: Any) -> SimWorker:
        """A worker that has started."""
        return self.world.worker(name, *queues, **options)

    def client(self, name: str = "client") -> SimClient:
        """A client that is open."""
        return self.world.client(name)

    def actor(self, name: str) -> Any:
        """The actor of this name."""
        return next(actor for actor in self.world.actors if actor.name == name)

    def start(self, client: SimClient, workflow: Any, given: Any, id: str, expect: Any, what: str = "result") -> None:
        """Has a client start a run and wait for its end."""

        async def do() -> Any:
            handle = await client.durable.start(workflow, given, id=id)
            self.book.write("start", id=id)
            self.book.write("expect", id=id, value=expect)
            status = "completed"
            try:
                return await handle.result()
            except (RunCancelled, RunFailed) as error:
                status = "cancelled" if isinstance(error, RunCancelled) else "failed"
                return status
            finally:
                self.book.write("result", id=id, status=status)

        client.tell(what, do())

    def cancel(self, client: SimClient, id: str) -> None:
        """Has a client cancel a run."""

        async def do() -> bool:
            did = await client.durable.cancel(id, "enough")
            self.book.write("cancel", id=id, did=did)
            return did

        client.tell("cancel", do())

    def send(self, client: SimClient, id: str, value: str, event_id: str = "e1") -> None:
        """Has a client send an event."""

        async def do() -> None:
            await client.durable.send_event(id, "go", value, event_id=event_id)
            self.book.write("event", id=id, name="go", event=value)

        client.tell("event", do())

    def later(self, actor: Any, what: str, *acts: Callable[[], object]) -> None:
        """Has an actor do some things, one after the other; what is no coroutine at a moment that the scheduler
        chooses."""

        async def do() -> None:
            for act in acts:
                if asyncio.iscoroutinefunction(act):
                    await act()
                else:
                    await actor.move(what, act)

        actor.tell(what, do())

    # ------------------------------------------------------------------ the whole

    def run(self, picks: Picks, bounds: Bounds) -> list[str]:
        """Plays it. What is wrong at the end, and nothing is if all is well."""
        world, scenario = self.world, self.scenario
        notes = LogNotes(world)
        handlers, log.handlers, log.propagate = log.handlers, [notes], False
        try:
            if scenario.keeper:
                self.keeper = self.worker("keeper", *scenario.keeper)
            scenario.setup(self)
            world.settle()
            world.teller.note("", "from here on everything is tried")
            scenario.window(self)
            world.faulty, world.kinds, world.budget = scenario.faulty, scenario.kinds, bounds.faults
            world.switches = bounds.switches
            world.teller.tells_all = True
            world.on_pause = partial(picks.paused, world)
            world.explore(partial(picks, world))
            picks.ended(world)
            world.on_pause = lambda: None
            world.teller.tells_all, world.switches = False, None
            found = heal(world, scenario.queues)
            if not found:
                found = [*scenario.check(self), *judged(world, self.book)]
                if not found and (form := shape(world)) not in self.examined:
                    found = examined(world)
                    self.examined.add(form)
            return found
        except SeenBefore:
            raise
        except Exception as error:
            error.add_note(world.teller.text())
            raise
        finally:
            log.handlers, log.propagate = handlers, True
            world.close()

    def statuses(self) -> dict[str, Any]:
        """How every run has ended."""
        return statuses(self.world)


@dataclass
class Outcome:
    """One schedule, and what came of it."""

    decisions: tuple[int, ...]
    widths: tuple[int, ...]
    """How many options there were at each decision."""
    problems: list[str]
    trace: str
    faults: list[str] = field(default_factory=list)
    labels: tuple[str, ...] = ()
    """What was chosen each time, in words."""
    is_whole: bool = True
    """Whether it was played to its end; else it met a state of another one."""
    end: tuple[Any, ...] = ()
    """The state when nobody could go on."""

    def report(self, scenario: str, bounds: Bounds) -> str:
        """For a person, and for whoever wants to see it again."""
        again = f"python -m models.explorer replay {scenario} {bounds} {','.join(map(str, self.decisions)) or '-'}"
        return "\n".join([*self.problems, "", self.trace, "", f"again: {again}"])


class SeenBefore(Exception):
    """What follows from here has been, or will be, tried: another order has led to the same state."""


class Picks:
    """A chooser that follows a list, then takes the first option; it notes what it chose among.

    Args:
        decisions: the list.
        then: what chooses after that.
        tree: what chooses instead.
    """

    def __init__(self, decisions: Sequence[int], then: Chooser | None = None, tree: Tree | None = None) -> None:
        self.given = decisions
        self.then = then
        self.tree = tree
        self.state: Callable[[], tuple[Any, ...]] = tuple
        self.taken: list[int] = []
        self.widths: list[int] = []
        self.labels: list[str] = []
        self.end: tuple[Any, ...] = ()

    def __call__(self, world: World, options: list[Option]) -> int:
        chosen = 0
        at = len(self.taken)
        if self.tree is not None:
            found = self.tree.take(world, options, self.state)
            if found is None:
                raise SeenBefore
            chosen = found
        elif len(options) > 1:
            if at < len(self.given):
                chosen = self.given[at]
            elif self.then is not None:
                chosen = self.then(options)
        assert chosen < len(options), f"decision {at} is {chosen} of {[option.label for option in options]}"
        if len(options) > 1:
            self.taken.append(chosen)
            self.widths.append(len(options))
            self.labels.append(options[chosen].label)
        return chosen

    def paused(self, world: World) -> None:
        """Nobody can go on before some time has passed."""
        if self.tree is not None:
            self.tree.paused(world)

    def ended(self, world: World) -> None:
        """Nobody can go on."""
        self.end = self.state()
        if self.tree is not None and not self.tree.is_new_end(world, self.end):
            raise SeenBefore


def play(
    server: Server, scenario: Scenario, bounds: Bounds, picks: Picks, examined: set[str], *, wants_trace: bool = False
) -> Outcome:
    """One schedule."""
    staged = Play(server, scenario, examined)
    picks.state = staged.state
    is_whole = True
    try:
        problems = staged.run(picks, bounds)
    except SeenBefore:
        problems, is_whole = [], False
    trace = staged.world.teller.text() if problems or wants_trace else ""
    return Outcome(
        tuple(picks.taken),
        tuple(picks.widths),
        problems,
        trace,
        staged.world.happened,
        tuple(picks.labels),
        is_whole,
        picks.end,
    )
