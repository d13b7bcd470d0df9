"""D2, D23, D24, O7: a worker is struck at each of its calls in turn; every run ends the same way, whatever the call."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Durable, RunCancelled, RunFailed
from durable_async.store.keys import Keys

from . import flows
from .conftest import Report
from .invariants import figures_of
from .rig import FEW_STRIKES, STRIKES
from .sweep import Case, EveryCall, Scenario, hits_of


async def two_levels(case: Case, durable: Durable, ledger: str) -> None:
    """A child, an event, a timer, a step that is retried."""
    handle = await durable.start(flows.parent, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.PARENT_RESULT)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    assert await handle.result() == flows.PARENT_RESULT
    case.book.write("result", id="p", status="completed")


async def several_lives(case: Case, durable: Durable, ledger: str) -> None:
    """A run that fails and is run again, a child that is, and new inputs under the same id; an event goes over."""
    handle = await durable.start(flows.lives, {"ledger": ledger, "life": 1}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.LIVES_RESULT)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    assert await handle.result() == flows.LIVES_RESULT
    case.book.write("result", id="p", status="completed")


async def taken_up_again(case: Case, durable: Durable, ledger: str) -> None:
    """A run that has failed beside a waiting child, and is taken up again by a person."""
    handle = await durable.start(flows.needs_help, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.HELPED_RESULT)
    with pytest.raises(RunFailed):
        await handle.result()
    case.book.write("mended")
    again = await durable.retry("p")
    case.book.write("fault", what="taken up again")  # what has failed runs again
    waits = Keys(case.namespace).run("p/waits")
    await case.until(lambda: case.raw.hmget(waits, "gen", "status") == [b"2", b"parked"], "the child waits again")
    await durable.send_event("p/waits", "go", "went")
    assert await again.result() == flows.HELPED_RESULT
    case.book.write("result", id="p", status="completed")


async def cancelled_tree(case: Case, durable: Durable, ledger: str) -> None:
    """Three levels, awaited, started and delayed; cancelled once all wait."""
    handle = await durable.start(flows.doomed, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    waiting = {"p": "parked", "p/mid": "parked", "p/mid/one": "parked", "p/mid/two": "parked", "p/started": "delayed"}

    def all_wait() -> bool:
        runs = case.look().runs
        return all(id in runs and runs[id][0] == status for id, status in waiting.items())

    await case.until(all_wait, "all wait")
    did = await durable.cancel("p", "enough")
    case.book.write("cancel", id="p", did=did)
    with pytest.raises(RunCancelled):
        await handle.result()
    case.book.write("result", id="p", status="cancelled")
    await case.until(lambda: not case.look().active(), "the whole tree has ended")


CASES: list[Any] = [(strike, scenario) for strike in STRIKES for scenario in (two_levels, cancelled_tree)]
for scenario in (several_lives, taken_up_again):
    CASES += [pytest.param(strike.values[0], scenario, marks=strike.marks) for strike in FEW_STRIKES[1:]]
    CASES.append((FEW_STRIKES[0], scenario))


@pytest.mark.slow
@pytest.mark.parametrize(("strike", "scenario"), CASES, ids=lambda part: getattr(part, "__name__", part))
async def test_d02_d23_every_call(strike: str, scenario: Scenario, every_call: EveryCall, report: Report) -> None:
    cases = await every_call(scenario, strike, ("claim_runs", "commit_run", "ack_entries"))
    hits = hits_of(cases)
    figures = [figures_of(case.book) for case in cases]
    report(
        "D2" if strike.startswith("crash") else "D23",
        strike=strike,
        scenario=scenario.__name__,
        runs=len(cases),
        faults=sum(hits.values()),
        calls=dict(hits),
        steps_again=sum(again for again, _ in figures),
        recoveries=[t for _, times in figures for t in times],
    )
