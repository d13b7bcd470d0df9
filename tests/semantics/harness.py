"""The world of a semantics test: a namespace on a real server, and workers as `DURABLE_TEST_MODE` wants them.

* ``plain``: one worker in the test's process.
* ``replay``: the same, and every run is dropped from memory at each park, so that each await is a replay.
* ``single``: one worker with one slot.
* ``crowd``: four worker processes, of which a random one is killed with SIGKILL about every second and replaced.

What a test asserts holds in all of them. What a step tells the test goes through the ledger file; in a crowd a step may
run more than once. Workflows live in the modules ``flows_*.py``; a test module names its own in ``FLOWS``.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import redis

from durable_async import Durable, Handle, Limits, RunInfo, RunNotFound
from durable_async.store.keys import Keys
from durable_async.worker.worker import Worker

from .crowd import Nursery, is_alive
from .leaks import LOOK, Look, parse_look
from .ledger import Ledger
from .restricted import IS_RESTRICTED, refusals, restricted

MODE = os.environ.get("DURABLE_TEST_MODE", "plain")
MODES = ("plain", "replay", "single", "crowd")
IS_CROWD = MODE == "crowd"
CROWD_SIZE = 4
CROWD_LEASE_S = 1.5
DRAIN_S = 5.0
PATIENCE_S = 90.0 if IS_CROWD else 30.0
"""How long a test waits for what must come. Nothing is asserted about how soon it came."""

if MODE not in MODES:
    raise RuntimeError(f"DURABLE_TEST_MODE must be one of {', '.join(MODES)}, got {MODE!r}")


class Process:
    """One worker process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return is_alive(self.pid)

    def kill(self) -> None:
        """SIGKILL."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: it drains and leaves."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


class World:
    """One test's namespace, client, workers and ledger."""

    def __init__(
        self, url: str, namespace: str, flows: Sequence[ModuleType], nursery: Callable[[], Nursery], folder: Path
    ) -> None:
        self.admin_url = url
        self.url = restricted(url, namespace) if IS_RESTRICTED else url
        self.namespace = namespace
        self.flows = list(flows)
        self.limits: dict[str, Any] = {}
        """Overrides of `Limits` for workers started from here on; set before the first."""
        self.durable = Durable(self.url, workflows=flows, namespace=namespace)
        self.keys = Keys(namespace)
        self.ledger = Ledger(folder / "ledger")
        self.raw = redis.Redis.from_url(url, decode_responses=True)
        """A blocking connection that shares no code with what is tested."""
        self.mode = MODE
        self.is_damaged = False
        """Set by a test that damages the store by hand: otherwise the sweeper may find nothing to mend, in any mode."""
        self.random = random.Random(os.environ.get("DURABLE_TEST_SEED"))
        self._nursery = nursery
        self._processes: list[Process] = []
        self._queues = {"default"}
        self._known: Sequence[ModuleType] = self.flows

    def allow(self, namespace: str | None = None) -> str:
        """The URL of who may use a namespace (by default this world's), whom a restarted server has forgotten."""
        return restricted(self.admin_url, namespace or self.namespace) if IS_RESTRICTED else self.admin_url

    # ------------------------------------------------------------------ looking

    def look(self) -> Look:
        """Everything in the namespace at one moment. Invariants that hold at every moment are checked."""
        look = parse_look(self.raw.eval(LOOK, 0, self.keys.base))  # type: ignore[arg-type]  # redis-py's own union
        broken = look.broken()
        assert not broken, "\n".join(broken)
        return look

    async def until(self, predicate: Callable[[], Any], description: str, *, patience_s: float = PATIENCE_S) -> Any:
        """Polls until `predicate()`, which may be async, gives something true; returns that."""
        give_up_at = monotonic() + patience_s
        while True:
            asked_at = monotonic()
            found = predicate()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            if monotonic() > give_up_at:
                raise AssertionError(f"never came true: {description}\n{self._state()}")
            # A look that takes long must not take all of the server's time.
            await asyncio.sleep(max(0.01, 5 * (monotonic() - asked_at)))

    def _state(self) -> str:
        look = parse_look(self.raw.eval(LOOK, 0, self.keys.base))  # type: ignore[arg-type]  # as above
        lines = [f"{id}: {what}" for id, what in sorted(look.active().items())[:20]]
        lines += [f"streams {look.streams}", f"timers {list(look.timers.items())[:20]}", f"walks {look.walks[:20]}"]
        return "\n".join([*lines, *look.broken(), f"ledger {self.ledger.lines()[-20:]}"])

    async def settled(self, *queues: str, patience_s: float = PATIENCE_S) -> Look:
        """Waits until workers of these queues (all, by default) have nothing left to do."""
        chosen = frozenset(queues) if queues else None

        def quiet() -> Look | None:
            look = self.look()
            return look if look.is_quiet(chosen) else None

        found: Look = await self.until(quiet, "nothing is left to do", patience_s=patience_s)
        return found

    async def until_status(self, id: str, *statuses: str) -> RunInfo:
        """Waits for a run to be in one of these statuses."""

        async def there() -> RunInfo | None:
            with suppress(RunNotFound):
                info = await self.durable.get(id)
                return info if info.status in statuses else None
            return None

        found: RunInfo = await self.until(there, f"run {id} is {' or '.join(statuses)}")
        return found

    async def result(self, handle: Handle[Any], *, patience_s: float = PATIENCE_S) -> Any:
        """A run's result, with the patience of this mode."""
        try:
            return await handle.result(timeout=patience_s)
        except TimeoutError:
            raise AssertionError(f"run {handle.id} did not end\n{self._state()}") from None

    async def outcome(self, handle: Handle[Any]) -> RunInfo:
        """How a run ended, whatever that was."""
        with suppress(Exception):
            await self.result(handle)
        info = await handle.info()
        assert info.status.is_terminal, f"run {handle.id} is {info.status}\n{self._state()}"
        return info

    def assert_ran(self, *lines: str) -> None:
        """Each of these was noted by a step: exactly once, in a crowd at least once."""
        counts = self.ledger.counts()
        for line in lines:
            assert counts[line] >= 1, f"{line!r} was not noted: {counts}"
            assert IS_CROWD or counts[line] == 1, f"{line!r} was noted {counts[line]} times"

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """The commands the server executes inside the block, by lower-case name; scripts' own calls included."""
        counts: Counter[str] = Counter()
        before = self._stats()
        yield counts
        counts.update({name: n for name, n in (self._stats() - before).items() if n})

    def _stats(self) -> Counter[str]:
        stats: Any = self.raw.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): s["calls"] for name, s in stats.items()})

    # ------------------------------------------------------------------ workers

    @asynccontextmanager
    async def workers(
        self,
        queues: Iterable[str] = ("default",),
        flows: Sequence[ModuleType] | None = None,
        *,
        concurrency: int | None = None,
        lease: float | None = None,
    ) -> AsyncIterator[None]:
        """Workers of this mode serve these queues inside the block, and know the workflows of `flows`."""
        queues = tuple(queues)
        self._queues.update(queues)
        if IS_CROWD:
            async with self._crowd(queues, flows, concurrency):
                yield
        else:
            async with self.worker(queues, flows, concurrency=concurrency, lease=lease):
                yield

    @asynccontextmanager
    async def worker(
        self,
        queues: Iterable[str] = ("default",),
        flows: Sequence[ModuleType] | None = None,
        *,
        concurrency: int | None = None,
        lease: float | None = None,
    ) -> AsyncIterator[Worker]:
        """One worker in this process, in every mode: for tests that reach into it."""
        self._queues.update(queues)
        flows = self._known = self.flows if flows is None else flows
        durable = Durable(
            self.url,
            workflows=flows,
            namespace=self.namespace,
            limits=Limits(**self.limits),
        )
        options = self._options(tuple(queues), concurrency, lease)
        async with durable, durable.worker(**options) as worker:
            yield worker

    def _options(self, queues: tuple[str, ...], concurrency: int | None, lease: float | None) -> dict[str, Any]:
        return {
            "queues": queues,
            "concurrency": concurrency if concurrency is not None else 1 if MODE == "single" else None,
            "max_resident": 0 if MODE == "replay" else None,
            "lease": lease,
            "drain_timeout": DRAIN_S,
        }

    async def drive(self, *queues: str, flows: Sequence[ModuleType] | None = None) -> None:
        """Lets workers do everything that can be done now in these queues; by default in ``default``."""
        chosen = queues or ("default",)
        async with self.workers(chosen, flows):
            await self.settled(*chosen)

    def process(
        self,
        queues: Iterable[str] = ("default",),
        flows: Sequence[ModuleType] | None = None,
        *,
        concurrency: int | None = None,
        lease: float = CROWD_LEASE_S,
        drain_timeout: float = DRAIN_S,
        die_at: int = 0,
        die_after_reply: bool = False,
        limits: dict[str, Any] | None = None,
    ) -> Process:
        """A worker process, in every mode: for tests that kill it. What is left of it ends with the test.

        `limits` are its own instead of the world's.
        """
        self._queues.update(queues)
        flows = self._known = self.flows if flows is None else flows
        pid = self._nursery().spawn(
            url=self.url,
            namespace=self.namespace,
            flows=[module.__name__ for module in flows],
            options={**self._options(tuple(queues), concurrency, lease), "drain_timeout": drain_timeout},
            limits=self.limits if limits is None else limits,
            die_at=die_at,
            die_after_reply=die_after_reply,
        )
        self._processes.append(Process(pid))
        return self._processes[-1]

    @asynccontextmanager
    async def _crowd(
        self, queues: tuple[str, ...], flows: Sequence[ModuleType] | None, concurrency: int | None
    ) -> AsyncIterator[None]:
        crowd = [self.process(queues, flows, concurrency=concurrency) for _ in range(CROWD_SIZE)]

        async def kill() -> None:
            # The first soon, so that short tests meet it as well.
            await asyncio.sleep(self.random.uniform(0.05, 0.8))
            while True:
                at = self.random.randrange(CROWD_SIZE)
                crowd[at].kill()
                crowd[at] = self.process(queues, flows, concurrency=concurrency)
                await asyncio.sleep(self.random.uniform(0.7, 1.3))

        killer = asyncio.create_task(kill())
        try:
            yield
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
            for process in crowd:
                process.terminate()
            await self.until(lambda: not any(p.is_alive for p in crowd), "the crowd has left")

    # ------------------------------------------------------------------ the end

    async def close(self, *, check: bool = True) -> None:
        """Ends what is left of processes, then checks that nothing else is left."""
        try:
            for process in self._processes:
                process.kill()
            if check:
                await self._check_leaks()
                assert self.is_damaged or not self.mended(), f"no transition may leave damage: {self.mended()}"
            if IS_RESTRICTED:
                refused = refusals(self.admin_url, self.namespace)
                assert not refused, f"the rule does not allow {refused}"
        finally:
            self.raw.close()

    def mended(self) -> dict[str, int]:
        """What the sweeper has mended in this namespace, by kind."""
        found: Any = self.raw.hgetall(self.keys.meta)
        return {k.removeprefix("fixed:"): int(n) for k, n in found.items() if k.startswith("fixed:")}

    async def _check_leaks(self) -> None:
        look = self.look()
        if not look.left(self.keys):
            return
        is_over = not look.active()
        if is_over and not self._processes:
            # Every worker has drained. Whoever comes next does the walks; entries must be gone by now.
            assert not any(sum(length) for length in look.streams.values()), f"entries are left: {look.streams}"
        # Subtrees that were cancelled end by whoever lives; the dead are found by those that serve their queues.
        queues = sorted(self._queues) if self._processes or not is_over else ["janitor"]
        async with self.worker(queues, self._known, lease=0.5) as janitor:
            with suppress(AssertionError):
                await self.until(lambda: not self.look().left(self.keys, janitor.id), "", patience_s=15)
        left = self.look().left(self.keys)
        assert not left, "left at the end:\n" + "\n".join(left)


MakeWorld = Callable[[str], Awaitable[World]]
