"""O14, O18: who outlives whom."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import CrashLoop, Handle, RunFailed, Status

from . import flows_races as flows
from .harness import World

FLOWS = [flows]


async def start(world: World, workflow: Any, *children: str, **given: Any) -> Handle[Any]:
    handle = await world.durable.start(workflow, {"ledger": world.ledger.path, **given}, id="p")
    for ref in children:
        await world.until_status(f"p/{ref}", Status.WAITING)
    return handle


async def end(world: World, handle: Handle[Any]) -> Any:
    await world.durable.send_event("p", "end", "over")
    return await world.result(handle)


async def test_o18_wait_first_completed(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.first_completed, "a", "b", "c")
        await world.durable.send_event("p/b", "go", "B")
        for loser in ("p/a", "p/c"):
            info = await world.until_status(loser, Status.CANCELLED)
            assert info.reason == "the call in p was cancelled"
        assert await end(world, handle) == [["B"], 2, "over"]
    world.assert_ran("raced")


async def test_o18_lost_race_does_not_keep_the_parent_alive(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.first_completed_and_returns, "a", "b", "c")
        await world.durable.send_event("p/c", "go", "C")
        assert await world.result(handle) == ["C"]
        for loser in ("p/a", "p/b"):
            await world.until_status(loser, Status.CANCELLED)


async def test_o18_as_completed(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.as_completed, "a", "b", "c")
        for ref in ("c", "a", "b"):
            await world.durable.send_event(f"p/{ref}", "go", ref)
            await world.until(lambda ref=ref: f"got {ref}" in world.ledger.lines(), f"{ref} has arrived")
        assert await end(world, handle) == [["c", "a", "b"], "over"]


async def test_o18_timeout_around_a_call(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.bounded)
        await world.until(lambda: world.ledger.lines(), "the time is over")
        await world.until_status("p/a", Status.CANCELLED)
        assert await end(world, handle) == [None, "over"]


async def test_o18_sibling_in_a_task_group_fails(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.group, "a", "b", "bad")
        await world.durable.send_event("p/bad", "fail")
        for sibling in ("p/a", "p/b"):
            await world.until_status(sibling, Status.CANCELLED)
        assert await end(world, handle) == [["ChildFailed"], "over"]


async def test_o18_body_of_a_task_group_fails(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.group_of_steps, "a")
        await world.durable.send_event("p", "fail")
        assert await world.result(handle) == ["mine"]
        await world.until_status("p/a", Status.CANCELLED)


async def test_o18_gather_fails_with_its_first_error(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.fails_beside, "a", "bad")
        await world.durable.send_event("p/bad", "fail")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
        assert caught.value.error.cause is not None and caught.value.error.cause.message == "bad"
        await world.until_status("p/a", Status.CANCELLED)


@pytest.mark.parametrize("how", ["completes", "fails"])
async def test_o14_parent_that_ends_by_itself(world: World, how: str) -> None:
    policies = {"left": "leave", "closed": "cancel", "own": None}
    async with world.workers():
        handle = await start(world, flows.closes, *policies, policies=policies, how=how)
        await world.durable.send_event("p", "end")
        info = await world.outcome(handle)
        assert info.status == ("completed" if how == "completes" else "failed")
        for closed in ("p/closed", "p/own"):
            child = await world.until_status(closed, Status.CANCELLED)
            assert child.reason == "parent p ended"
        assert await world.durable.run("p/left").status() is Status.WAITING
        await world.durable.send_event("p/left", "go", 1)
        await world.until_status("p/left", Status.COMPLETED)


async def test_o14_parent_that_kills_its_workers(world: World) -> None:
    """It does not end by itself, but it fails: those go on that were started to outlive it."""
    policies = {"left": "leave", "closed": "cancel"}
    async with world.workers():
        given = {"policies": policies, "how": "kills"}
        handle = await world.durable.start(flows.closes, given, id="p", queue="poison")
        await world.durable.send_event("p", "end")

        async def has_failed() -> bool:
            # Theirs alone: in a crowd two of the others may well die over one of the children.
            victim = world.process(["poison"], lease=0.4, limits={"crash_loop": 2})
            await world.until(lambda: not victim.is_alive or ended(), "it kills its worker, or is ended")
            return ended()

        def ended() -> bool:
            return world.raw.hget(world.keys.run("p"), "status") == "failed"

        await world.until(has_failed, "it is a CrashLoop")
        with pytest.raises(CrashLoop):
            await world.result(handle)
        assert (await world.until_status("p/closed", Status.CANCELLED)).reason == "parent p ended: failed"
        await world.until_status("p/left", Status.WAITING)
        await world.durable.send_event("p/left", "go", 1)
        await world.until_status("p/left", Status.COMPLETED)


async def test_o14_cancel_of_the_parent_reaches_children_of_every_policy(world: World) -> None:
    policies = {"left": "leave", "closed": "cancel"}
    async with world.workers():
        handle = await start(world, flows.closes, *policies, policies=policies, how="completes")
        assert await handle.cancel("enough")
        assert (await world.outcome(handle)).status is Status.CANCELLED
        for ref in policies:
            child = await world.until_status(f"p/{ref}", Status.CANCELLED)
            assert child.reason is not None and "enough" in child.reason


async def test_o14_called_child_does_not_outlive_its_parent(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.abandons, "a")
        assert await end(world, handle) == "False"
        await world.until_status("p/a", Status.CANCELLED)
