"""watch under D2, D23, D24: whichever call of the worker or of the watcher is struck, each entry is told once."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
import redis

from durable_async import Durable, Event
from durable_async.server.ephemeral import EphemeralServer

from . import flows
from .fleet import PATIENCE_S
from .rig import FEW_STRIKES, Plan, current, until_struck_dead
from .sweep import Case, EveryCall

MOST_CALLS = 12


async def compare(durable: Durable, events: list[Event]) -> None:
    """What was told is what the history holds, each entry once and in its order."""
    told = [(e.data["what"], e.data.get("name", "")) for e in events if e.kind not in ("status", "progress", "context")]
    held = [(h.kind, h.name) for h in await durable.history("p")]
    assert told == held[1:-1]
    assert events[0].data["status"] == "pending"
    assert events[-1].data["status"] == "completed"


async def scenario(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.parent, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.PARENT_RESULT)

    async def watched() -> list[Event]:
        return [event async for event in handle.watch()]

    task = asyncio.create_task(watched())
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    assert await handle.result() == flows.PARENT_RESULT
    case.book.write("result", id="p", status="completed")
    await compare(durable, await task)


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call_of_a_worker(strike: str, every_call: EveryCall) -> None:
    await every_call(scenario, strike, ("commit_run", "XADD"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call_of_a_watcher(
    strike: str, shared_server: EphemeralServer, raw: redis.Redis, namespace: str, tmp_path: Path
) -> None:
    async def one(at: int) -> Plan:
        options: dict[str, Any] = {"workflows": [flows], "namespace": f"{namespace}-{at}"}
        plan, seen = Plan(at, strike), list[Event]()
        async with Durable(shared_server.url, **options) as durable, durable.worker(drain_timeout=5.0):
            await durable.start(flows.parent, {"ledger": str(tmp_path / f"ledger{at}")}, id="p")
            # Inherited by what this task opens until it is reset.
            token = current.set(plan)
            watcher = asyncio.create_task(until_struck_dead(plan, _watch(shared_server.url, options, seen)))
            current.reset(token)
            await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
            await durable.run("p").result(timeout=PATIENCE_S)
            async with asyncio.timeout(PATIENCE_S):
                await watcher
            # Another client goes on where one that has died had come to.
            after = seen[-1].id if seen else None
            seen += [event async for event in durable.run("p").watch(after)]
            await compare(durable, seen)
        return plan

    plans = await asyncio.gather(*map(one, range(1, MOST_CALLS)))
    struck = [plan.what for plan in plans if plan.struck.is_set()]
    assert "watch_run" in struck, struck
    gc.collect()


async def _watch(url: str, options: dict[str, Any], seen: list[Event]) -> None:
    async with Durable(url, **options) as durable:
        async for event in durable.run("p").watch():
            seen.append(event)  # noqa: PERF401  # what was seen before it dies counts
