"""V8: a worker is struck at each of its calls over schedules in turn; every tick has one run, and every run ends."""

from __future__ import annotations

import asyncio
from time import time
from typing import Any

import pytest

from durable_async import Durable, Workflow, days, every, info, workflow
from durable_async.worker.scheduler import scheduled
from durable_async.workflow.schedules import tick_text

from . import flows
from .fleet import PATIENCE_S
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall, hits_of

WEEK_MS = 7 * 86_400_000


def job(ledger: str) -> Workflow[Any, Any]:
    @workflow(name="job", schedule=every(days(7)), catch_up="all")
    async def body() -> str:
        first = await flows.work(ledger, info().id, "first", {})
        await flows.work(ledger, info().id, "second", {"first": first["nonce"]})
        return info().id

    return body


class ScheduledCase(Case):
    """Everybody was down for three weeks."""

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[job(self.book.path)], namespace=self.namespace)

    async def prepare(self) -> None:
        async with self.durable() as durable:
            (mine,) = scheduled(durable.workflows.values(), WEEK_MS)
            cursor_ms = (int(time() * 1000) // WEEK_MS - 3) * WEEK_MS
            record = mine.record(durable.codec, cursor_ms, cursor_ms + WEEK_MS)
            assert (await durable._session.store.register_schedule(record))[0]


async def missed(case: Case, durable: Durable, ledger: str) -> None:
    last_ms = int(time() * 1000) // WEEK_MS * WEEK_MS
    ids = [f"job@{tick_text(last_ms - n * WEEK_MS)}" for n in (2, 1, 0)]

    async def all_ended() -> bool:
        found = {run.id: run.status for run in (await durable.list()).items}
        return set(found) == set(ids) and all(status.is_terminal for status in found.values())

    async with asyncio.timeout(PATIENCE_S):
        while not await all_ended():
            await asyncio.sleep(0.02)
    for id in ids:
        case.book.write("start", id=id)
        case.book.write("expect", id=id, value=id)
    (known,) = await durable.schedules()
    assert (known.last_run_id, known.error) == (ids[-1], None)
    assert known.next_at is not None and known.next_at.timestamp() * 1000 == last_ms + WEEK_MS


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_v08_every_call(strike: str, every_call: EveryCall) -> None:
    struck = ("register_schedule", "tick_schedule", "claim_runs", "commit_run")
    hits = hits_of(await every_call(missed, strike, struck, ScheduledCase))
    assert hits["poll_schedules"] or strike in ("crash-before", "lose-request")
