"""O20: workflows that a step starts and waits for."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Status

from . import flows_calling as flows
from .harness import IS_CROWD, World

FLOWS = [flows]
LEASE_S = 1.0


def given(world: World, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, **more}


async def until_noted(world: World, line: str, times: int = 1) -> None:
    await world.until(lambda: world.ledger.counts()[line] >= times, f"{line!r} is noted {times} times")


async def statuses(world: World, id: str) -> dict[str | None, str]:
    return {run.ref: run.status for run in await world.durable.list_children(id)}


async def test_o20_calls_in_turn_and_together(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent, given(world), id="r")
        assert await world.result(handle) == flows.CALLED
    assert await statuses(world, "r") == dict.fromkeys(["one", "two", "n3", "n4"], "completed")
    world.assert_ran("kid 1", "kid 2", "kid 3", "kid 4", "step")
    kid = await world.durable.get("r/one")
    assert (kid.parent_id, kid.root_id, kid.ref) == ("r", "r", "one")


async def test_o20_idempotent_by_ref_over_a_crash_of_the_step(world: World) -> None:
    handle = await world.durable.start(flows.parent_that_dies, given(world), id="r")
    first = world.process()
    await until_noted(world, "has result")
    first.kill()
    world.ledger.note("release")
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == "from 1"
    counts = world.ledger.counts()
    assert counts["step"] >= 2 and (IS_CROWD or counts["step"] == 2)
    assert IS_CROWD or counts["kid 1"] == 1
    assert await statuses(world, "r") == {"one": "completed"}


async def test_o20_worker_dies_while_the_child_goes_on(world: World) -> None:
    handle = await world.durable.start(flows.parent_of_waiting, given(world), id="r")
    first = world.process()
    await world.until_status("r/one", "waiting")
    first.kill()
    await world.durable.send_event("r/one", "go", "done")
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == "done"
    assert IS_CROWD or world.ledger.counts()["step"] == 2
    assert await statuses(world, "r") == {"one": "completed"}


async def test_o20_the_step_gives_its_slot_back(world: World) -> None:
    """One slot, one queue: 20 parents whose steps wait for children, at once."""
    async with world.workers(concurrency=1):
        names = [f"r{n}" for n in range(20)]
        handles = [await world.durable.start(flows.lends, given(world, n=n), id=id) for n, id in enumerate(names)]
        assert [await world.result(handle) for handle in handles] == [f"from {n}" for n in range(20)]
    world.assert_ran(*[f"back {n}" for n in range(20)])


async def test_o20_slots_are_counted_right(world: World) -> None:
    """After many have lent theirs, as many runs are worked on as before."""
    async with world.worker(concurrency=2) as worker:
        names = [f"r{n}" for n in range(10)]
        for n, id in enumerate(names):
            await world.durable.start(flows.lends, given(world, n=n), id=id)
        for id in names:
            await world.until_status(id, "completed")
        cancelled = await world.durable.start(flows.parent_of_waiting, given(world), id="c")
        await world.until_status("c/one", "waiting")
        assert worker.runner.intake.slots.active == 0
        await cancelled.cancel("enough")
        await world.until_status("c", "cancelled")
        await world.until_status("c/one", "cancelled")
        await world.until(lambda: worker.runner.intake.slots.active == 0, "all slots are free")


async def test_o20_started_children(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_started, given(world), id="r")
        assert await world.result(handle) == ["r/one", "from 1", "r/two", "changed my mind"]
        await world.until_status("r/two", "cancelled")
    assert await statuses(world, "r") == {"one": "completed", "two": "cancelled", "three": "cancelled"}


async def test_o20_cancel_of_the_run_reaches_the_steps_child(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_waiting, given(world), id="r")
        await world.until_status("r/one", "waiting")
        assert await handle.cancel("enough")
        assert (await world.outcome(handle)).status is Status.CANCELLED
        info = await world.until_status("r/one", "cancelled")
    assert info.reason and "r was cancelled" in info.reason


async def test_o20_o14_a_step_that_is_given_up_cancels_its_child(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_waiting, given(world, limit=True), id="r")
        if IS_CROWD:
            await world.until_status("r", "waiting")
        else:
            assert (
                await world.until_status("r/one", "cancelled")
            ).reason == "the step that called it in r was cancelled"
        await world.durable.send_event("r", "over")
        assert await world.result(handle) == "gave it up"
    assert all(status == "cancelled" for status in (await statuses(world, "r")).values())


async def test_o20_timeout_of_the_step_cancels_its_child(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.step_times_out, given(world), id="r")
        assert await world.result(handle) == "StepTimeout"
        await world.until_status("r/one", "cancelled")


async def test_o20_every_way_a_call_can_end(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_every_way, given(world), id="r")
        found = await world.result(handle)
        await world.until_status("r/late", "cancelled")
        await world.until_status("r/latest", "waiting")
        await world.durable.send_event("r/latest", "go")
    if IS_CROWD:  # its step may have run again, and then its refs are spent
        return
    assert found["failed"] == ["ValueError", "kid 1 fails", "r/fails"]
    assert (found["timeout"], found["value"], found["raised"]) == (True, "none", "r/latest")
    assert "another input" in found["conflict"] and "spent" in found["spent"]
    assert (found["retry"], found["again"]) == ("third time", "third time")
    assert (await world.durable.get("r/flaky")).attempt == 3


async def test_o20_what_a_step_cannot_do(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_refused, given(world), id="r")
        found = await world.result(handle)
    for name in ("no ref", "no ref to start"):
        assert found[name][0] == "TypeError" and "takes a ref" in found[name][1]
    assert found["bad ref"][0] == "ValueError"
    assert found["no workflow"][0] == "TypeError"
    assert found["unstorable"][0] == "NotSerializable"
    for name in ("sleep", "event", "parallel"):
        assert found[name][0] == "DeterminismError" and "not in a step" in found[name][1]
    for name in ("thread", "sync"):
        assert found[name][0] == "DeterminismError" and "`async def` step" in found[name][1]
    assert await statuses(world, "r") == {}


async def test_o20_o11_one_name_space(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.shares_names, given(world), id="r")
        found = await world.result(handle)
    assert found[:4] == ["from 1", "from 2", "from 1", "from 2"]
    assert "kid-2" in found[4] and "another input" in found[4]
    assert found[5] == "RefConflict"
    assert await statuses(world, "r") == {"kid": "completed", "kid-2": "completed"}


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_o20_a_run_that_is_ended_from_outside(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent_of_waiting, given(world), id="r")
        await world.until_status("r/one", "waiting")
        await getattr(world.durable, how)("r", "enough")
        assert (await world.outcome(handle)).status is Status.CANCELLED
        await world.until_status("r/one", "cancelled")


@pytest.mark.skipif(IS_CROWD, reason="how often a step is run decides what it calls")
@pytest.mark.parametrize("how", ["start", "call"])
async def test_o20_an_id_that_an_earlier_attempt_has_left_occupied(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.second_attempt, given(world, how=how), id="r")
        await world.until_status("r/one", "waiting")
        await world.until(lambda: world.ledger.counts()["attempt"] == 2, "the second attempt is under way")
        await world.durable.send_event("r/one", "go", "the first one")
        await until_noted(world, "kid 2")
        assert await world.result(handle) == ("r/one" if how == "start" else "from 2")
        if how == "start":
            await world.until_status("r/one", "waiting")
            await world.durable.send_event("r/one", "go", "the second one")
            await world.until_status("r/one", "completed")
    assert (await world.durable.get("r/one")).input["n"] == 2
