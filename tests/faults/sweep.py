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
from typing import Any, ClassVar

import redis
from semantics.leaks import LOOK, Look, parse_look

from durable_async import Codec, Durable
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .invariants import check_invariants
from .rig import LEASE_S, Plan, StruckWorker, stalls

AT_ONCE = 16
PATIENCE_S = 25.0

Scenario = Callable[["Case", Durable, str], Awaitable[None]]


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
        give_up_at = monotonic() + PATIENCE_S
        while not predicate():
            if monotonic() > give_up_at:
                left = "\n".join(self._left())
                raise AssertionError(f"{self.plan.strike} at {self.plan.at} ({self.plan.what}), never {what}:\n{left}")
            await asyncio.sleep(0.02)

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
        async with asyncio.timeout(PATIENCE_S):
            await scenario(self, durable, self.book.path)
        await self.nothing_left()

    async def nothing_left(self) -> None:
        """Waits until walks are done and the dead are cleared away."""
        await self.until(lambda: not self._left(), "cleared away")

    def _left(self) -> list[str]:
        return self.look().left(Keys(self.namespace), self.living)


@dataclass
class EveryCall:
    """Strikes each call of a worker in turn: the fixture `every_call`."""

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

        async def one(at: int) -> Case:
            book, plan = Book(self.folder / f"ledger{at}"), Plan(at, strike if at else "")
            case = kind(self.server, self.raw, f"{self.namespace}-{at}", book, plan)
            await case.prepare()
            await case.run(scenario)
            case.check()
            cases.append(case)
            return case

        # What is not struck says how many calls there are; a few more, since batches differ.
        total = len((await one(0)).plan.names)
        await work_off(list(range(1, total + 4)), one)
        hits = hits_of(cases)
        for name in struck:
            assert hits[name], f"{name} was never struck: {hits}"
        return cases


def hits_of(cases: Sequence[Case]) -> Counter[str]:
    """Which calls were struck, and how often."""
    return Counter(case.plan.what for case in cases if case.plan.struck.is_set())


async def work_off(todo: list[int], one: Callable[[int], Awaitable[Any]]) -> None:
    """One for each number, some at once."""

    async def some() -> None:
        with contextlib.suppress(IndexError):
            while True:
                await one(todo.pop(0))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
