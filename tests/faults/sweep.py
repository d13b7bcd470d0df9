"""A crash, or a lost message, at each call of a worker in turn, for a scenario of its own workflows."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import redis

from durable_async import Durable
from durable_async.server.ephemeral import EphemeralServer

from .book import Book
from .rig import Plan
from .test_each_call import AT_ONCE, Case, Scenario, _work_off


class OwnCase(Case):
    """One strike at the workflows of a module of its own."""

    flows: ModuleType

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[self.flows], namespace=self.namespace)

    def check(self) -> None:
        """What must be true at the end beside the invariants; nothing, unless a subclass knows."""


async def sweep(
    kind: type[OwnCase],
    scenario: Scenario,
    strike: str,
    *,
    server: EphemeralServer,
    raw: redis.Redis,
    namespace: str,
    folder: Path,
) -> Counter[str]:
    """Runs the scenario once for each call; which calls were struck, and how often."""
    cases: list[OwnCase] = []

    async def one(at: int) -> Any:
        case = kind(server, raw, f"{namespace}-{at}", Book(folder / f"ledger{at}"), Plan(at, strike if at else ""))
        await case.run(scenario)
        case.check()
        cases.append(case)
        return case

    # What is not struck says how many calls there are; a few more, since batches differ.
    total = len((await one(0)).plan.names)
    todo = list(range(1, total + 4))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(_work_off(todo, one))
    return Counter(case.plan.what for case in cases if case.plan.struck.is_set())
