"""O9, O10: calls with a deadline, and what comes too late."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest

from durable_async import CHILD_TIMEOUT, RunNotWaiting, Status
from durable_async.shapes import HistoryEvent

from . import flows_timeouts as flows
from .harness import IS_CROWD, MODE, World

FLOWS = [flows]
GRACE = timedelta(milliseconds=250)
"""How late a timeout may be, by the server's clock; asserted in the plain mode only."""


async def start(world: World, workflow: Any, **given: Any) -> Any:
    return await world.durable.start(workflow, {"ledger": world.ledger.path, **given}, id="p")


async def end(world: World, handle: Any) -> Any:
    """Lets the run park after its timeout, then ends it."""
    await world.until_status("p/kid", "cancelled", "completed")
    await world.until(lambda: world.ledger.lines(), "the run has gone on")
    await world.durable.send_event("p", "end", "over")
    return await world.result(handle)


def only(history: list[HistoryEvent], kind: str) -> HistoryEvent:
    found = [e for e in history if e.kind == kind]
    assert len(found) == 1, [e.kind for e in history]
    return found[0]


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"a": (1, 2)}, 3.5], ids=repr)
async def test_o09_timeout_returns_any_value(world: World, value: Any) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out, value=value)
        assert await end(world, handle) == [value, False, "timed out", "over"]
    history = await world.durable.history("p")
    late = only(history, "timer").at - only(history, "child_started").at - timedelta(seconds=0.1)
    assert late >= timedelta(0)
    assert MODE != "plain" or late <= GRACE
    # Once: the call is not made, given up or awaited again.
    only(history, "child_cancel")
    world.assert_ran("timed out")


async def test_o09_timeout_returns_the_sentinel(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out)
        got = await end(world, handle)
    assert got == [CHILD_TIMEOUT, True, "timed out", "over"]


async def test_o09_timeout_raises(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out_raising)
        assert await end(world, handle) == [["p/kid", "late", True], "over"]


async def test_o09_timeout_cancels_the_tree_of_the_child(world: World) -> None:
    async with world.workers():
        # Long enough for the tree to be there, also if workers die meanwhile.
        handle = await start(world, flows.times_out, value="late", timeout=8 if IS_CROWD else 1)
        await world.until_status("p/kid/leaf", "waiting")
        await world.until_status("p/kid/leaf", "cancelled")
        await end(world, handle)
    kid, leaf = await world.durable.get("p/kid"), await world.durable.get("p/kid/leaf")
    assert (kid.status, kid.reason) == (Status.CANCELLED, "the call in p timed out")
    assert leaf.status is Status.CANCELLED
    # Whichever comes first: the walk from its ancestor, or its own parent's giving up.
    assert leaf.reason is not None and "p/kid was cancelled: the call in p timed out" in leaf.reason


async def test_o09_timeout_leaves_the_child_to_its_end(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out, value="late", on_timeout="leave")
        await world.until(lambda: world.ledger.lines(), "the time is over")
        await world.until_status("p/kid/leaf", "waiting")
        await world.durable.send_event("p/kid/leaf", "go", 42)
        assert await end(world, handle) == ["late", False, "timed out", "over"]
    kid = await world.durable.get("p/kid")
    assert (kid.status, kid.output) == (Status.COMPLETED, 42)


async def test_o09_timeout_leaves_the_child_to_its_end_after_that_of_the_parent(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.leaves_and_ends, id="p")
        assert await world.result(handle) == "gone on"
        await world.until_status("p/kid", "waiting")
        await world.durable.send_event("p/kid", "go", 42)
        await world.until_status("p/kid", "completed", "cancelled")
    kid = await world.durable.get("p/kid")
    assert (kid.status, kid.output) == (Status.COMPLETED, 42)


async def test_o09_zero_timeout(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out, value="at once", timeout=0)
        assert await end(world, handle) == ["at once", False, "timed out", "over"]


@pytest.mark.slow
async def test_o09_a_thousand_children_that_end_at_the_deadline(world: World) -> None:
    pairs = 1000
    batch = 100 if not IS_CROWD else 250
    async with world.workers():
        for at in range(0, pairs, batch):
            offsets = [world.random.uniform(-0.005, 0.005) for _ in range(batch)]
            handles = [
                await world.durable.start(flows.races, offset, id=f"r{at + n}") for n, offset in enumerate(offsets)
            ]
            for handle in handles:
                await assert_one_outcome(world, handle.id, await world.result(handle))
        await world.settled()


async def assert_one_outcome(world: World, id: str, got: str) -> None:
    history = await world.durable.history(id)
    kinds = [e.kind for e in history]
    if got == "slept":
        assert kinds.count("child_completed") == 1 and "child_cancel" not in kinds, kinds
    else:
        assert got == "timeout"
        assert "child_completed" not in kinds and kinds.count("child_cancel") == 1, kinds
        # The child either ended by itself, too late, or was cancelled by this; both are an end.
        await world.until_status(f"{id}/kid", "completed", "cancelled")


async def test_o10_late_result_changes_nothing(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.leaves_late)
        await world.until_status("p/kid", "waiting")
        await world.durable.send_event("p", "next", 1)
        await world.until(lambda: world.ledger.lines(), "the parent has gone on")
        await world.durable.send_event("p/kid", "go", "late")
        await world.until_status("p/kid", "completed")
        await world.durable.send_event("p", "next", 2)
        assert await world.result(handle) == [None, 1, "after", 2]
    assert (await world.durable.get("p/kid")).output == "late"
    world.assert_ran("after")


async def test_o10_timer_that_lost_its_race(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.timer_loses)
        # In a crowd getting there may take longer than the timeout.
        kid = await world.until_status("p/kid", "waiting", *(["cancelled"] if IS_CROWD else []))
        with suppress(RunNotWaiting) if IS_CROWD else nullcontext():
            await world.durable.send_event(kid.id, "go", "in time")
        await world.until(lambda: world.ledger.lines(), "the parent has gone on")
        await world.durable.send_event("p", "end", "over")
        got = await world.result(handle)
    assert got == ["in time", "over"] or (IS_CROWD and got == [CHILD_TIMEOUT, "over"])


async def test_o10_result_of_a_loser_that_is_still_awaited(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.loser_left_waiting)
        for kid in ("p/fast", "p/slow"):
            await world.until_status(kid, "waiting")
        await world.durable.send_event("p/fast", "fast", "first")
        await world.until(lambda: world.ledger.lines(), "the race is over")
        await world.durable.send_event("p/slow", "slow", "second")
        await world.until_status("p/slow", "completed")
        await world.durable.send_event("p", "end", "over")
        assert await world.result(handle) == [1, "first", "over"]


async def test_o10_end_of_a_child_whose_call_was_given_up(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.gives_up)
        await world.until_status("p/kid/leaf", "waiting")
        await world.durable.send_event("p", "give up")
        await world.until_status("p/kid", "cancelled")
        await world.durable.send_event("p", "end", "over")
        assert await world.result(handle) == ["over"]
    kinds = [e.kind for e in await world.durable.history("p")]
    # Dropped, not journaled.
    assert "child_cancelled" not in kinds
    world.assert_ran("gave up")


async def test_o10_two_awaiters_of_one_child(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.awaits_cancelled)
        await world.until_status("p/kid", "waiting")
        await world.durable.cancel("p/kid", "stop")
        assert await world.result(handle) == ["stop", "stop"]
