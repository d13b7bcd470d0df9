"""P1-P6, W5 under D2, D23: a worker is struck at each of its calls while branches are under way."""

from __future__ import annotations

import pytest

from durable_async import Durable, RunCancelled

from . import flows_branches as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall, Scenario


class BranchesCase(Case):
    """Which steps were run is in its ledger."""

    flows = flows

    def check(self) -> None:
        """A cancel was nobody's outcome."""
        assert not self.book.lines("went on")


async def to_the_end(case: Case, durable: Durable, ledger: str) -> None:
    """Steps, children that fail, events of several names, a fail-fast group within a group that completes."""
    handle = await durable.start(flows.branches, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    for n, name in enumerate(["a", "a", "c"], 1):
        await durable.send_event("p", name, n, event_id=f"e{n}")
    assert await handle.result() == flows.RESULT
    case.book.write("result", id="p", status="completed")
    await case.until(lambda: case.look().runs["p/sibling"][0] == "cancelled", "the sibling's child has ended")


async def is_cancelled(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.doomed, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")

    def all_wait() -> bool:
        runs = case.look().runs
        return all(id in runs and runs[id][0] == "parked" for id in ("p", "p/waits-1", "p/waits-2"))

    await case.until(all_wait, "all wait")
    did = await durable.cancel("p", "enough")
    case.book.write("cancel", id="p", did=did)
    with pytest.raises(RunCancelled, match="enough"):
        await handle.result()
    case.book.write("result", id="p", status="cancelled")
    await case.until(lambda: not case.look().active(), "the whole tree has ended")
    steps = {line["step"] for line in case.book.lines("begin") if line["run"] == "p"}
    assert steps == {"tidy", "cancelled"}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [to_the_end, is_cancelled], ids=lambda s: s.__name__)
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_p_every_call(strike: str, scenario: Scenario, every_call: EveryCall) -> None:
    await every_call(scenario, strike, kind=BranchesCase)
