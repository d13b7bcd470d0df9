"""S6 under D2, D23: a worker is struck at each of its calls; no at-most-once step ever begins twice."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Durable

from . import flows_once as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall


class OnceCase(Case):
    """What the run saw of its steps must be what they did."""

    flows = flows
    found: dict[str, Any]

    def check(self) -> None:
        began = [line["step"] for line in self.book.lines("begin")]
        for name, nonce in self.found.items():
            assert began.count(name) <= (2 if name == "again" else 1), f"{name} began {began.count(name)} times"
            # Only a crash interrupts, and only what is named is tried again: then it has an outcome.
            assert nonce or (self.plan.is_dead and name != "again"), f"{name} was interrupted"


async def buys(case: Case, durable: Durable, ledger: str) -> None:
    assert isinstance(case, OnceCase)
    handle = await durable.start(flows.buys, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    await durable.send_event("p", "go", event_id="e1")
    case.found = await handle.result()
    case.book.write("result", id="p", status="completed")


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_s06_every_call(strike: str, every_call: EveryCall) -> None:
    await every_call(buys, strike, kind=OnceCase)
