"""Workers and clients as shipped, with what would wait, roll dice or read a clock replaced by the world's."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import durable_async.client.doctor
import durable_async.client.listener
import durable_async.client.session
import durable_async.worker.worker
from durable_async import Durable
from durable_async.worker.heartbeat import Heartbeat
from durable_async.worker.worker import Worker

from .loop import Clock, SimLoop
from .wire import Call, SimTransport, open_sim_transport

if TYPE_CHECKING:
    from .world import World

LEASE_S = 4.0
DRAIN_S = 2.0


class Actor:
    """A process: a loop, connections, and what it was told to do."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.loop = SimLoop(world.clock, self)
        self.transports: list[SimTransport] = []
        self.moves = SimTransport(self, "moves")
        self.is_gone = False
        """It has crashed: nothing of it reaches anybody."""
        self.is_frozen = False
        self.tasks: list[asyncio.Task[Any]] = []
        self._started = asyncio.Event()
        self.results: dict[str, Any] = {}
        self.dice = 0
        self.seen = blake2b(name.encode(), digest_size=12)
        """Of all that has happened to it, in order."""

    def sees(self, what: Any) -> None:
        """Something has happened to it."""
        self.seen.update(repr(what).encode())

    def token(self, size: int) -> str:
        """What `secrets.token_hex` gives this actor: the same in every schedule, whoever else did what before."""
        self.dice += 1
        return blake2b(f"{self.name} {self.dice}".encode(), digest_size=size).hexdigest()

    def tell(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Has it do something; what comes of it is kept under this name."""

        async def do() -> None:
            if what != "start":
                await self._started.wait()
            try:
                self.results[what] = await coroutine
                if what == "start":
                    self._started.set()
            except Exception as error:
                self.results[what] = error

        self.tasks.append(self.loop.spawn(do()))

    async def move(self, what: str, act: Callable[[], object]) -> None:
        """Something that is no call, at a moment that the scheduler chooses."""
        done = self.loop.create_future()
        self.moves.put(Call((), lambda reply: done.set_result(None), what, reply=act))
        await done

    def connections(self) -> list[SimTransport]:
        """Where calls of it may be waiting."""
        return [self.moves, *self.transports]

    def run(self) -> None:
        """Lets it go on until it waits."""
        if not self.is_gone and not self.is_frozen and self.loop.is_due():
            self.world.current = self
            self.world.touched.add(self.name)
            self.loop.run_ready()

    def crash(self) -> None:
        """Its process is gone."""
        self.is_gone = True
        self.world.current = self
        for transport in self.transports:
            transport.queue.clear()
        self.moves.queue.clear()
        self._abandon()
        self.loop.end()

    def _abandon(self) -> None:
        """What is to be done before its loop is thrown away."""

    def beat(self) -> None:
        """It shows that it lives."""


class SimBeats:
    """A heartbeat's connection: it reaches the server at once, since it is a thread's."""

    def __init__(self, actor: SimWorker) -> None:
        self._actor = actor

    def beat(self, worker: str, description: bytes) -> None:
        if not self._actor.is_gone:
            keys = self._actor.world.keys
            self._actor.world.server.execute(
                ("HINCRBY", keys.beats, worker, 1), ("HSET", keys.workers, worker, description)
            )

    def close(self) -> None:
        return


class SimHeartbeat(Heartbeat):
    """Beats when the world says."""

    def start(self) -> None:
        return

    def join(self) -> None:
        return

    def beat(self) -> None:
        """One beat of the thread."""
        if not self._stop.is_set():
            self._connect().beat(self._worker_id, self._describe())
            self._last_sent = self._connect()._actor.world.clock.now  # type: ignore[attr-defined]  # it is ours


class SimWorker(Actor):
    """A worker that reads its streams; its timers, its recovery and its tidying do one look when they are told to."""

    def __init__(self, world: World, name: str, queues: tuple[str, ...], concurrency: int, max_resident: int) -> None:
        super().__init__(world, name)
        self.queues = queues
        settings = world.durable.worker_settings(
            queues=queues, lease=LEASE_S, drain_timeout=DRAIN_S, concurrency=concurrency, max_resident=max_resident
        )
        world.current = self
        self.worker: Worker = world.durable.make_worker(settings)
        self.worker.id = name
        self.worker._beat_connection = lambda: SimBeats(self)  # type: ignore[method-assign,assignment,return-value]
        self.has_left = False

    async def start(self) -> None:
        """Starts as shipped, without the loops that go by the clock."""
        await self.worker.start()
        self.worker.caller.start_s = 0.0
        for task in self.worker._tasks:
            if task.get_name() in ("durable-timers", "durable-housekeeping", "durable-lease"):
                task.cancel()

    async def look_at_timers(self) -> None:
        """What its timer loop does when it is time to."""
        while await self.worker._timers._look():
            pass

    async def sweep(self) -> None:
        """Looks for dead workers, once."""
        await self.worker._reaper.sweep()

    async def reconcile(self) -> None:
        """Looks at its own pending entries, once."""
        keys = self.world.keys
        lanes = [(keys.queue(lane), "Q") for lane in self.worker.gates.lanes]
        await self.worker._reaper.reconcile([(keys.worker(self.name), "W"), *lanes])

    async def look_for_damage(self) -> None:
        """The sweeper's look, once."""
        await self.worker._sweeper.sweep()

    async def judge_itself(self) -> None:
        """Lets its runs go if its lease is over."""
        if self.worker._heartbeat.is_lost:
            self.worker._let_go()

    async def stop(self) -> None:
        """Drains and leaves."""
        await self.worker.stop()
        self.has_left = True

    @property
    def is_reading(self) -> bool:
        """Whether it works, as far as it knows."""
        return not self.is_gone and not self.worker._is_stopping

    def beat(self) -> None:
        if not self.is_gone and not self.is_frozen:
            self.worker._heartbeat.beat()  # type: ignore[attr-defined]  # it is ours

    def _abandon(self) -> None:
        if hasattr(self.worker, "runner"):
            self.worker.kill()


class SimClient(Actor):
    """A `Durable`."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        world.current = self
        self.durable = world.make_durable()

    async def start(self) -> None:
        """Opens it."""
        await self.durable.__aenter__()
        caller = self.durable._session._caller
        assert caller is not None
        caller.start_s = 0.0


class Current:
    """Whose turn it is: what is patched in this process asks it."""

    clock: Clock | None = None
    actor: Actor | None = None


async def _no_check(transport: Any) -> Any:
    return SimpleNamespace(warnings=(), name="sim", version=(7, 0, 0), persistence="", notes=())


def _token(size: int = 16) -> str:
    return Current.actor.token(size) if Current.actor is not None else _real_token(size)


def _now() -> float:
    return Current.clock.now if Current.clock is not None else time.monotonic()


_real_token = secrets.token_hex


@contextmanager
def simulated() -> Iterator[None]:
    """Inside, workers and clients that are made belong to a world."""
    worker, session, listener = durable_async.worker.worker, durable_async.client.session, durable_async.client.listener
    patches: list[tuple[Any, str, Any]] = [
        (module, "open_transport", open_sim_transport) for module in (worker, session, listener)
    ]
    patches += [(module, "check_server", _no_check) for module in (worker, session, durable_async.client.doctor)]
    patches += [
        (worker, "Heartbeat", SimHeartbeat),
        (worker, "time", _now),
        (secrets, "token_hex", _token),
        (random, "random", lambda: 0.5),
        (random, "uniform", lambda low, high: (low + high) / 2),
    ]
    for name, module in list(sys.modules.items()):
        if name.startswith("durable_async.") and getattr(module, "monotonic", None) is time.monotonic:
            patches.append((module, "monotonic", _now))
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    try:
        for module, name, value in patches:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        Current.clock = Current.actor = None


def durable_of(url: str, workflows: Any, namespace: str) -> Durable:
    """A client of the explorer's database."""
    return Durable(url, workflows=workflows, namespace=namespace)
