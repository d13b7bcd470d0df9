"""V6, V7 under D2, D23: a worker is struck at each of its calls while its queue is limited, paused and prioritised.

What `Look` and the invariants say of places in queues is checked at every look and at the end: whoever is there has it
by right, keys are counted as they are, and nothing is left.
"""

from __future__ import annotations

import pytest

from durable_async import Durable

from . import flows_queues as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall, Scenario


class QueueCase(Case):
    """Runs of a limited queue."""

    flows = flows


async def one_place(case: Case, durable: Durable, ledger: str) -> None:
    """A tree of which one runs at a time; meanwhile the queue is paused, and somebody urgent comes."""
    handle = await durable.start(flows.head, {"ledger": ledger, "key": "a"}, id="p")
    case.book.write("start", id="p")
    await case.until(lambda: "p/m2" in case.look().runs, "the children are there")
    await durable.pause_queue("default")
    urgent = await durable.start(flows.member, {"ledger": ledger, "key": "a"}, id="u", priority=5)
    case.book.write("start", id="u")
    await durable.send_event("p", "go", event_id="e1")
    await case.until(lambda: all(run[0] != "running" for run in case.look().runs.values()), "nobody runs")
    await durable.resume_queue("default")
    assert await handle.result() == flows.RESULT
    assert await urgent.result() == "last"
    for id in ("p", "u"):
        case.book.write("result", id=id, status="completed")
    await case.until(lambda: not case.look().active(), "all have ended")


async def ended_from_outside(case: Case, durable: Durable, ledger: str) -> None:
    """Whoever holds the place, waits for one, or waits behind its key is terminated or cancelled."""
    ids = [f"r{n}" for n in range(6)]
    for n, id in enumerate(ids):
        await durable.start(flows.member, {"ledger": ledger, "key": "ab"[n % 2]}, id=id)
        case.book.write("start", id=id)
    await case.until(lambda: any(run[8] for run in case.look().runs.values()), "somebody has begun")
    for id in ids[:5]:
        did = await (durable.terminate(id) if id in ("r0", "r3") else durable.cancel(id, "enough"))
        case.book.write("cancel", id=id, did=did)
    assert await durable.run("r5").result() == "last"
    case.book.write("result", id="r5", status="completed")
    await case.until(lambda: not case.look().active(), "all have ended")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [one_place, ended_from_outside], ids=lambda s: s.__name__)
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_v06_v07_every_call(strike: str, scenario: Scenario, every_call: EveryCall) -> None:
    await every_call(scenario, strike, struck=("enter_queue", "claim_runs", "commit_run"), kind=QueueCase)
