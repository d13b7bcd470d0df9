"""C7 under D2, D23: a worker is struck at each of its calls, also while it compensates: once each, in order."""

from __future__ import annotations

import pytest

from durable_async import Durable, RunCancelled, RunFailed

from . import flows_sagas as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall, Scenario


class SagaCase(Case):
    """What was undone is in its ledger."""

    flows = flows

    def check(self) -> None:
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
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_c07_every_call(strike: str, scenario: Scenario, every_call: EveryCall) -> None:
    await every_call(scenario, strike, struck=("claim_runs", "commit_run", "resume_runs"), kind=SagaCase)
