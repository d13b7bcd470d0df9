"""A crash, or a lost message, at each call of a worker in turn: one case a call, and what they have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import redis
from semantics.leaks import LOOK, Look, parse_look

from durable_async import Codec, Durable
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys
from durable_async.store.scripts import BY_SHA

from . import flows
from .book import Book
from .invariants import check_invariants
from .rig import LEASE_S, Plan, StruckWorker, stalls

AT_ONCE = 16
TURNS = 1_250
REST_S = 0.02
"""How often a wait looks, and the shortest pause between two looks: in seconds a wait is as patient as the machine is
slow, since whom it waits for works on the same loop and the same server."""
GLANCES = 400
GLANCE_S = 0.25
"""The same of a wait for a task of this loop, which tells its end by itself."""

Scenario = Callable[["Case", Durable, str], Awaitable[None]]
Call = TypeVar("Call")


@dataclass
class Case:
    """One strike in a namespace of its own. Subclasses have workflows, a codec or checks of their own."""

    server: EphemeralServer
    raw: redis.Redis
    namespace: str
    book: Book
    plan: Plan
    living: str = ""
    """The worker that need not have left."""

    flows: ClassVar[ModuleType] = flows
    codec: ClassVar[Codec | None] = None

    async def prepare(self) -> None:
        """What is to be so before anybody works; nothing, unless a subclass knows."""

    def check(self) -> None:
        """What must be true at the end beside the invariants; nothing, unless a subclass knows."""

    def look(self) -> Look:
        look = parse_look(self.raw.eval(LOOK, 0, Keys(self.namespace).base))  # type: ignore[arg-type]  # a union
        assert not look.broken(), look.broken()
        return look

    async def until(self, predicate: Callable[[], Any], what: str) -> None:
        """Polls, blocking, `TURNS` times at most."""
        for _ in range(TURNS):
            began = monotonic()
            if predicate():
                return
            self.raw.ping()
            # All the cases that look at once take half of the loop's time at most: the other half is their workers'.
            await asyncio.sleep(max(REST_S, AT_ONCE * (monotonic() - began)))
        raise self._never(what)

    def _never(self, what: str) -> AssertionError:
        left = "\n".join(self._left())
        return AssertionError(f"{self.plan.strike} at {self.plan.at} ({self.plan.what}), never {what}:\n{left}")

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[self.flows], namespace=self.namespace, codec=self.codec)

    async def run(self, scenario: Scenario) -> None:
        """The scenario under a struck worker, which leaves at the end; once it is dead another one does the rest."""
        self.book.write("namespace", namespace=self.namespace)
        async with self.durable() as durable, stalls(self.book, LEASE_S / 3):
            struck = StruckWorker(durable, self.plan)
            self.living = struck.worker.id
            task = asyncio.create_task(self._all(scenario, durable))
            await struck.start()
            await struck.until_dead(asyncio.wait({task}))
            if not self.plan.is_dead:
                await task
                await struck.until_dead(struck.worker.stop())
            if self.plan.is_dead:
                self.book.write("fault", what=f"{self.plan.strike} {self.plan.what}")
                async with durable.worker(lease=LEASE_S, drain_timeout=5.0) as second:
                    self.living = second.id
                    await task
                    await self.nothing_left()
                await struck.cut()
        found = check_invariants(self.raw, self.book, codec=self.codec)
        assert not found, f"{self.plan.strike} at {self.plan.at} ({self.plan.what}):\n" + "\n".join(found)

    async def _all(self, scenario: Scenario, durable: Durable) -> None:
        doing = asyncio.create_task(scenario(self, durable, self.book.path))
        try:
            # Its own waits give up sooner; what it asks a client for has no end of its own.
            for _ in range(GLANCES):
                await asyncio.wait({doing}, timeout=GLANCE_S)
                if doing.done():
                    break
                self.raw.ping()
            else:
                raise self._never("came to its end")
        finally:
            doing.cancel()
        await doing
        await self.nothing_left()

    async def nothing_left(self) -> None:
        """Waits until walks are done and the dead are cleared away."""
        await self.until(lambda: not self._left(), "cleared away")

    def _left(self) -> list[str]:
        return self.look().left(Keys(self.namespace), self.living)


@dataclass
class EveryCall:
    """Strikes each call of a worker in turn: the fixture `every_call`.

    Calls are numbered by name. In which order those of different names leave depends on how fast the machine is; that
    there is a first `commit_run` does not.
    """

    server: EphemeralServer
    raw: redis.Redis
    namespace: str
    folder: Path

    async def __call__(
        self,
        scenario: Scenario,
        strike: str,
        struck: Sequence[str] = ("claim_runs", "commit_run"),
        kind: type[Case] = Case,
    ) -> list[Case]:
        """Runs the scenario once for each call. The calls named by `struck` must have been among them."""
        cases: list[Case] = []

        async def one(call: tuple[str, int]) -> Case:
            name, at = call
            book, plan = Book(self.folder / f"ledger{name}{at}"), Plan(at, strike, name)
            case = kind(self.server, self.raw, f"{self.namespace}-{name}{at}", book, plan)
            await case.prepare()
            await case.run(scenario)
            case.check()
            cases.append(case)
            return case

        # A script that the server does not have yet is sent once more, and not by its name.
        for script in BY_SHA.values():
            self.raw.script_load(script.body)
        # What is not struck says how many calls there are; a few more, since batches differ.
        counts = Counter((await one(("", 0))).plan.names)
        counts.update(struck)
        await work_off([(name, at) for name, count in counts.items() for at in range(1, count + 1)], one)
        hits = hits_of(cases)
        for name in struck:
            assert hits[name], f"{name} was never struck: {hits}"
        return cases


def hits_of(cases: Sequence[Case]) -> Counter[str]:
    """Which calls were struck, and how often."""
    return Counter(case.plan.what for case in cases if case.plan.struck.is_set())


async def work_off(todo: list[Call], one: Callable[[Call], Awaitable[Any]]) -> None:
    """One for each of them, some at once."""

    async def some() -> None:
        with contextlib.suppress(IndexError):
            while True:
                await one(todo.pop(0))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
