"""D2, D23 where children have one large input in common: a worker is struck at each of its calls."""

from __future__ import annotations

from typing import ClassVar

import pytest

from durable_async import Durable
from durable_async.store.keys import Keys

from . import flows_shared as flows
from .rig import FEW_STRIKES, STRIKES
from .sweep import Case, EveryCall


class SharedCase(Case):
    """With such children."""

    flows = flows


class BriefCase(SharedCase):
    """Trees are kept for a moment."""

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[flows], namespace=self.namespace, retention=0.2)

    waiting: ClassVar[tuple[str, ...]] = ("p/c0", "p/c1")

    def check(self) -> None:
        """Each of the children has gone on with the input it was called with, whatever became of what they shared."""
        lengths = {line["run"]: line["length"] for line in self.book.lines("measured")}
        assert lengths == dict.fromkeys(self.waiting, len(flows.FILLING))


class DeepCase(BriefCase):
    """Those that wait are two levels below what held their input."""

    waiting = ("p/e0/c0", "p/e0/c1", "p/e1/c0", "p/e1/c1")


async def to_the_end(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.fans_out, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    assert await handle.result() == 3 * len(flows.FILLING)
    case.book.write("result", id="p", status="completed")


async def to_the_end_of_two_levels(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.fans_out_twice, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    assert await handle.result() == 4 * len(flows.FILLING)
    case.book.write("result", id="p", status="completed")


async def outlived(case: Case, durable: Durable, ledger: str) -> None:
    """The parent ends and goes, and what they shared with it, while the children wait."""
    assert isinstance(case, BriefCase)
    waiting = case.waiting
    await durable.start(flows.leaves_below if isinstance(case, DeepCase) else flows.leaves, {"ledger": ledger}, id="p")

    def is_gone() -> bool:
        runs = case.look().runs
        above = {id.rpartition("/")[0] for id in waiting} | {"p"}
        return not above & set(runs) and all(runs.get(id, ("",))[0] == "parked" for id in waiting)

    await case.until(is_gone, "those above are gone, and the children wait")
    for id in waiting:
        await durable.send_event(id, "go")
    await case.until(lambda: len({line["run"] for line in case.book.lines("measured")}) == len(waiting), "all go on")
    await case.until(lambda: not case.raw.zcard(Keys(case.namespace).index), "nothing of the tree is listed any more")


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call(strike: str, every_call: EveryCall) -> None:
    await every_call(to_the_end, strike, kind=SharedCase)


@pytest.mark.long
@pytest.mark.parametrize("strike", STRIKES)
async def test_every_call_of_two_levels(strike: str, every_call: EveryCall) -> None:
    await every_call(to_the_end_of_two_levels, strike, kind=SharedCase)


@pytest.mark.long
@pytest.mark.parametrize("strike", STRIKES)
async def test_every_call_while_a_tree_of_two_levels_goes(strike: str, every_call: EveryCall) -> None:
    await every_call(outlived, strike, ("claim_runs", "commit_run", "expire_children"), DeepCase)


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_every_call_while_the_tree_goes(strike: str, every_call: EveryCall) -> None:
    await every_call(outlived, strike, ("claim_runs", "commit_run", "expire_children"), BriefCase)
