"""D2, D23 where children have one large input in common: a worker is struck at each of its calls."""

from __future__ import annotations

import pytest

from durable_async import Durable
from durable_async.store.keys import Keys

from . import flows_shared as flows
from .rig import FEW_STRIKES
from .sweep import Case, EveryCall


class SharedCase(Case):
    """With such children."""

    flows = flows


class BriefCase(SharedCase):
    """Trees are kept for a moment."""

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[flows], namespace=self.namespace, retention=0.2)

    def check(self) -> None:
        """Each of the children has gone on with the input it was called with, whatever became of what they shared."""
        lengths = {line["run"]: line["length"] for line in self.book.lines("measured")}
        assert lengths == {"p/c0": len(flows.FILLING), "p/c1": len(flows.FILLING)}


async def to_the_end(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.fans_out, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    assert await handle.result() == 3 * len(flows.FILLING)
    case.book.write("result", id="p", status="completed")


async def outlived(case: Case, durable: Durable, ledger: str) -> None:
    """The parent ends and goes, and what they shared with it, while the children wait."""
    await durable.start(flows.leaves, {"ledger": ledger}, id="p")

    def is_gone() -> bool:
        runs = case.look().runs
        return "p" not in runs and all(runs.get(id, ("",))[0] == "parked" for id in ("p/c0", "p/c1"))

    await case.until(is_gone, "the parent is gone, and its children wait")
    for id in ("p/c0", "p/c1"):
        await durable.send_event(id, "go")
    await case.until(lambda: len({line["run"] for line in case.book.lines("measured")}) == 2, "both have gone on")
    await case.until(lambda: not case.raw.zcard(Keys(case.namespace).index), "nothing of the tree is listed any more")


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call(strike: str, every_call: EveryCall) -> None:
    await every_call(to_the_end, strike, kind=SharedCase)


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call_while_the_tree_goes(strike: str, every_call: EveryCall) -> None:
    await every_call(outlived, strike, ("claim_runs", "commit_run", "expire_children"), BriefCase)
