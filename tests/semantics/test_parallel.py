"""P1-P11: `parallel`."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Handle, RunCancelled, RunFailed, Status

from . import flows_parallel as flows
from .harness import IS_CROWD, MODE, World

FLOWS = [flows]


async def start(world: World, workflow: Any, *children: str, **given: Any) -> Handle[Any]:
    handle = await world.durable.start(workflow, {"ledger": world.ledger.path, **given}, id="p")
    for ref in children:
        await world.until_status(f"p/{ref}", Status.WAITING)
    return handle


async def end(world: World, handle: Handle[Any]) -> Any:
    await world.durable.send_event("p", "end", "over")
    return await world.result(handle)


async def test_p01_results_under_their_names_in_order(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.named)
        await handle.send_event("go", "came")
        assert await world.result(handle) == [["event", "came"], ["step", "step"], ["child", 9], ["nap", "rested"]]
    world.assert_ran("step")


async def test_p02_branches_see_what_came_before_and_not_each_other(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.isolated)
        assert await world.result(handle) == [["before", "a"], ["before", "b"], "before"]


async def test_p03_complete_all_goes_on(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.completes_all, "bad", "good")
        await world.durable.send_event("p/bad", "fail")
        await world.until_status("p/bad", Status.FAILED)
        await world.durable.send_event("p/good", "go", "fine")
        result = await world.result(handle)
    assert result == {"bad": "failed: fail came", "good": "fine", "step": "ValueError: no", "mine": "LookupError: mine"}
    assert list(result) == ["bad", "good", "step", "mine"]
    world.assert_ran("after")


async def test_p03_a_child_that_was_cancelled_is_an_err(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.completes_all, "bad", "good")
        await world.durable.send_event("p/bad", "fail")
        assert await world.durable.cancel("p/good", "not wanted")
        assert (await world.result(handle))["good"] == "cancelled: not wanted"


async def test_p04_fail_fast_waits_for_clean_up_and_not_for_children(world: World) -> None:
    async with world.workers(concurrency=4 if MODE == "single" else None):
        handle = await start(world, flows.fails_fast, "child", "bad", "deep")
        await world.until(lambda: "begin step" in world.ledger.lines(), "the step runs")
        await world.durable.send_event("p/bad", "fail")
        await world.until(lambda: "begin clean-up" in world.ledger.lines(), "a sibling cleans up")
        await world.until(lambda: "begin clean-up of the child" in world.ledger.lines(), "a child cleans up")
        assert "raised" not in world.ledger.lines()
        assert IS_CROWD or "cut step" in world.ledger.lines()
        world.ledger.note("let clean-up end")
        await world.until(lambda: "raised" in world.ledger.lines(), "the failure is raised")
        # The child's own clean-up is not waited for.
        assert (await world.durable.get("p/child")).status is not Status.CANCELLED
        assert await end(world, handle) == [["ChildFailed", "fail came"], "over"]
        world.ledger.note("let clean-up of the child end")
        for sibling in ("p/child", "p/deep"):
            info = await world.until_status(sibling, Status.CANCELLED)
            assert info.reason == "the call in p was cancelled"


@pytest.mark.parametrize(
    ("tolerate", "most"),
    [
        ({"failures": 2}, 2),
        ({"failures": 0}, 0),
        ({"ratio": 0.3}, 3),
        ({"ratio": 0.29}, 2),
        ({"ratio": 1}, 10),
        ({"ratio": 0.5, "failures": 1}, 1),
    ],
    ids=str,
)
async def test_p05_tolerate(world: World, tolerate: dict[str, Any], most: int) -> None:
    refs = [f"b{n}" for n in range(10)]
    async with world.workers():
        handle = await start(world, flows.tolerates, *refs, tolerate=tolerate, branches=10)
        for ref in refs[:most]:
            await world.durable.send_event(f"p/{ref}", "fail")
            await world.until_status(f"p/{ref}", Status.FAILED)
        if most < len(refs):
            await world.settled()
            assert await handle.status() is Status.WAITING
            await world.durable.send_event(f"p/{refs[most]}", "fail")
            assert await world.result(handle) == ["raised", f"p/{refs[most]}"]
        else:
            assert await world.result(handle) == ["returned", *["failed: fail came"] * 10]
        for ref in refs[most + 1 :]:
            await world.until_status(f"p/{ref}", Status.CANCELLED)


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_p06_max_concurrency_and_order_of_starts(world: World, limit: int) -> None:
    count = 30
    async with world.workers():
        handle = await start(world, flows.bounded, count=count, limit=limit)
        result = await world.result(handle)
    assert result == {"most": min(limit, count), "order": list(range(count)), "results": list(range(count))}


async def test_p06_what_never_begins_is_closed(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.never_begins)
        assert await world.result(handle) == "first, True"
        assert await world.durable.list_children("p") == []


@pytest.mark.parametrize("count", [0, 1, 1_000])
async def test_p07_number_of_branches(world: World, count: int) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.many, count, id="p")
        assert await world.result(handle) == list(range(count))


async def test_p08_branches_that_wait_park_together(world: World) -> None:
    async with world.workers(concurrency=1):
        handle = await start(world, flows.parks)
        info = await world.until_status("p", Status.WAITING)
        assert info.waiting_for == "child p/nap, child p/calls, event go"
        # The one slot is free for others.
        other = await world.durable.start(flows.maps, 3, id="other")
        assert await world.result(other) == [0, 1, 4]
        await handle.send_event("go", 1)
        assert await world.result(handle) == {"nap": "rested", "event": 1, "child": 0.2, "grandchild": 0.2}


async def test_p08_anything_that_can_be_awaited(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.any_awaitable)
        result = await world.result(handle)
    assert result == {"coroutine": "slept", "task": "ran", "future": "resolved", "child": 16, "own": "own"}


async def test_p09_children_in_different_queues(world: World) -> None:
    async with world.workers(["default"]), world.workers(["other"]):
        handle = await start(world, flows.in_queues)
        assert await world.result(handle) == {"here": 4, "there": -2}


async def test_p10_steps_of_branches_are_compensated_newest_first(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.reserves)
        for what in ("flight", "car"):
            await handle.send_event(what)
            await world.until(lambda what=what: f"{what} is there" in world.ledger.lines(), f"the {what} is reserved")
        await handle.send_event("fail")
        with pytest.raises(RunFailed, match="ended compensated: ValueError: no rooms"):
            await world.result(handle)
    world.assert_ran("release car", "release flight")
    assert list(dict.fromkeys(world.ledger.starting("release "))) == ["car", "flight"]


async def test_p11_nested(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.nested)
        assert await world.result(handle) == ["failed: 1 is odd", {0: 0, 1: 1, 2: 4, 3: 9}]


async def test_cancel_of_the_run_is_no_outcome_of_a_branch(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.is_cancelled, "child")
        assert await handle.cancel("enough")
        with pytest.raises(RunCancelled, match="enough"):
            await world.result(handle)
        await world.until_status("p/child", Status.CANCELLED)
    world.assert_ran("tidied", "cancelled")
    assert "went on" not in world.ledger.lines()


async def test_timeout_around_all_branches(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.times_out)
        await world.until_status("p/child", Status.CANCELLED)
        assert await end(world, handle) == ["timed out", "over"]


async def test_branch_that_is_cancelled_by_itself(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.cancels_a_branch, "child")
        await handle.send_event("cut")
        await world.until_status("p/child", Status.CANCELLED)
        assert await end(world, handle) == {"task": "CancelledError: the branch was cancelled", "other": "over"}


async def test_exit_in_a_branch_is_the_run_s_failure(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.exits)
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
        assert caught.value.error.type == "SystemExit"
        await world.until_status("p/child", Status.CANCELLED)
    world.assert_ran("leaves")


async def test_another_life_asked_for_in_a_branch_is_no_outcome_of_it(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.begins_anew, "child", life=1)
        await handle.send_event("a", "kept")
        await handle.send_event("renew")
        assert await world.result(handle) == [2, "kept"]
        await world.settled()
    world.assert_ran("tidied")
    assert "went on" not in world.ledger.lines()
