"""O20 under D2, D23: a worker is struck at each of its calls while a step has children; one per ref, come what may."""

from __future__ import annotations

import pytest

from durable_async import Durable, RunCancelled

from . import flows_calling as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall, Scenario


class CallingCase(Case):
    """The invariants say all there is to say: I6 that no child is there twice."""

    flows = flows


async def calls(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.caller, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.RESULT)
    assert await handle.result() == flows.RESULT
    case.book.write("result", id="p", status="completed")


async def is_cancelled(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.waiter, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")

    def waits() -> bool:
        run = case.look().runs.get("p/kid")
        return run is not None and run[0] == "parked"

    await case.until(waits, "the child waits")
    did = await durable.cancel("p", "enough")
    case.book.write("cancel", id="p", did=did)
    with pytest.raises(RunCancelled, match="enough"):
        await handle.result()
    case.book.write("result", id="p", status="cancelled")
    await case.until(lambda: not case.look().active(), "the child has ended as well")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [calls, is_cancelled], ids=lambda s: s.__name__)
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_o20_every_call(strike: str, scenario: Scenario, every_call: EveryCall) -> None:
    await every_call(scenario, strike, kind=CallingCase)
