"""C7 under D2, D23: a worker is struck at each of its calls, also while it compensates: once each, in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
import redis

from durable_async import Durable, RunCancelled, RunFailed
from durable_async.server.ephemeral import EphemeralServer

from . import flows_sagas as flows
from .book import Book
from .rig import STRIKES, Plan
from .test_each_call import AT_ONCE, Case, Scenario, _work_off, raw

__all__ = ["raw"]


class SagaCase(Case):
    """With other workflows."""

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[flows], namespace=self.namespace)

    def assert_undone(self) -> None:
        """Everything once, if there was no fault; newest first in any case."""
        begun = [line["step"] for line in self.book.lines("begin") if line["run"] == "p"]
        order = [name for n, name in enumerate(begun) if name in flows.ORDER and name not in begun[:n]]
        assert order == flows.ORDER
        kids = [line["kid"] for line in self.book.lines("undone")]
        assert list(dict.fromkeys(kids)) == ["p/started", "p/called"]
        assert self.plan.is_dead or len(kids) == 2


async def fails(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.saga, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    await durable.send_event("p", "go", event_id="e1")
    with pytest.raises(RunFailed, match="ended compensated: ValueError: out of stock"):
        await handle.result()
    case.book.write("result", id="p", status="compensated")


async def is_cancelled(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.saga, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")

    def waits() -> bool:
        run = case.look().runs.get("p")
        return run is not None and run[0] == "parked" and run[7] == "event go"

    await case.until(waits, "waits for its event")
    did = await durable.cancel("p", "enough")
    case.book.write("cancel", id="p", did=did)
    with pytest.raises(RunCancelled, match="enough"):
        await handle.result()
    case.book.write("result", id="p", status="cancelled")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [fails, is_cancelled], ids=lambda s: s.__name__)
@pytest.mark.parametrize("strike", STRIKES)
async def test_c07_every_call(
    strike: str,
    scenario: Scenario,
    shared_server: EphemeralServer,
    raw: redis.Redis,
    namespace: str,
    tmp_path: Path,
) -> None:
    cases: list[SagaCase] = []

    async def one(at: int) -> SagaCase:
        book = Book(tmp_path / f"ledger{at}")
        case = SagaCase(shared_server, raw, f"{namespace}-{at}", book, Plan(at, strike if at else ""))
        await case.run(scenario)
        case.assert_undone()
        cases.append(case)
        return case

    total = len((await one(0)).plan.names)
    todo = list(range(1, total + 4))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(_work_off(todo, one))
    hits = Counter(case.plan.what for case in cases if case.plan.struck.is_set())
    for name in ("claim_runs", "commit_run", "resume_runs"):
        assert hits[name], f"{name} was never struck: {hits}"
