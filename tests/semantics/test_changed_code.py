"""V4: code that has changed before what is recorded blocks a run, visibly, until the code fits again."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Durable, Limits, RunCancelled, Status

from . import flows_code_new as new
from . import flows_code_old as old
from .harness import IS_CROWD, World

FLOWS = [old]


async def begun(world: World, *names: str) -> dict[str, Any]:
    """A run of each of these, parked where the old code waits."""
    given = {"ledger": world.ledger.path}
    async with world.workers(flows=[old]):
        handles = {name: await world.durable.start(name, given, id=name) for name in names}
        for name in names:
            await world.until_status(name, Status.WAITING)
        await world.settled()
    return handles


def listed(world: World) -> dict[str, str]:
    return world.raw.hgetall(world.keys.blocked)  # type: ignore[return-value]  # redis-py's own union


def epoch_of(world: World) -> str | None:
    return world.raw.hget(world.keys.run("changed"), "epoch")  # type: ignore[return-value]  # as above


async def blocked(world: World, *ids: str) -> None:
    """Waits until exactly these are, and are listed."""

    def all_are() -> bool:
        runs = world.look().runs
        return {id for id, run in runs.items() if run[0] == "blocked"} == set(ids) == set(listed(world))

    await world.until(all_are, f"{ids} are blocked")


async def test_v04_changed_code_blocks_is_listed_and_goes_on_after_a_roll_back(world: World) -> None:
    handles = await begun(world, "changed", "appended")
    async with world.workers(flows=[new]):
        for id in handles:
            await world.durable.send_event(id, "go", 1)
        assert await world.result(handles["appended"]) == ["old", 1, "new"], "what comes after may change"
        await blocked(world, "changed")
        assert listed(world) == {"changed": "changed"}
    (run,) = (await world.durable.list(status="waiting")).items
    assert (run.id, run.status) == ("changed", Status.WAITING)
    assert run.waiting_for is not None and run.waiting_for.startswith("code: ")
    async with world.workers(flows=[old]):
        assert await world.result(handles["changed"]) == ["old", 1]
    assert listed(world) == {}
    assert IS_CROWD or world.ledger.counts() == {"reserve": 2, "book": 1}


async def test_v04_code_that_still_does_not_fit_blocks_once_per_start(world: World) -> None:
    handles = await begun(world, "changed")
    await world.durable.send_event("changed", "go", 1)
    epochs = []
    for _ in range(7):
        # More often than a run may be claimed without a record: to try again is no crash.
        async with world.worker(flows=[new]):
            await world.until(lambda: epoch_of(world) not in epochs, "it is tried")
            await blocked(world, "changed")
        epochs.append(epoch_of(world))
    async with world.worker(flows=[new]):
        await world.until(lambda: epoch_of(world) not in epochs, "it is tried")
        await blocked(world, "changed")
        epochs.append(epoch_of(world))
        async with world.worker(["side"], flows=[new]):
            # One that does not serve its queue, or does not know it, leaves it alone.
            handle = await world.durable.start("told", "side", id="side", queue="side")
            await world.until_status(handle.id, Status.WAITING)
            await world.durable.send_event(handle.id, "go")
            await world.result(handle)
    assert epoch_of(world) == epochs[-1]
    assert len(epochs) == len(set(epochs)) == 8
    async with world.workers(flows=[old]):
        assert await world.result(handles["changed"]) == ["old", 1]


async def test_v04_the_worker_with_the_code_that_fits_gets_it_though_others_are_there(world: World) -> None:
    """As in a rolling deploy: the last of the bad ones leaves after the first of the good ones has started."""
    handles = await begun(world, "changed")
    await world.durable.send_event("changed", "go", 1)
    async with world.worker(flows=[new]):
        await blocked(world, "changed")
        async with world.worker(flows=[old]):
            assert await world.result(handles["changed"]) == ["old", 1]


async def test_v04_a_child_that_ends_while_its_parent_is_blocked_is_not_lost(world: World) -> None:
    given = {"ledger": world.ledger.path}
    async with world.workers(flows=[old]):
        parent = await world.durable.start("changed_parent", given, id="p")
        await world.until_status("p/kid", Status.WAITING)
        await world.settled()
    async with world.workers(flows=[new]):
        await world.durable.send_event("p/kid", "go", 1)
        await blocked(world, "p")
        await world.until_status("p/kid", Status.COMPLETED)
    async with world.workers(flows=[old]):
        assert await world.result(parent) == ["kid", 1]


@pytest.mark.parametrize("fits", [True, False])
async def test_v04_a_cancel_wakes_a_blocked_run(world: World, fits: bool) -> None:
    """With code that fits its cleanup runs; with code that does not, it ends when the grace is over."""
    handles = await begun(world, "changed")
    await world.durable.send_event("changed", "go", 1)
    async with world.workers(flows=[new]):
        await blocked(world, "changed")
        if not fits:
            async with Durable(world.url, namespace=world.namespace, limits=Limits(cancel_grace=0.3)) as impatient:
                assert await impatient.cancel("changed", "enough")
            with pytest.raises(RunCancelled, match="enough"):
                await world.result(handles["changed"])
    if fits:
        assert await world.durable.cancel("changed", "enough")
        async with world.workers(flows=[old]):
            with pytest.raises(RunCancelled, match="enough"):
                await world.result(handles["changed"])
    assert listed(world) == {}


async def test_v04_a_blocked_run_can_be_terminated(world: World) -> None:
    handles = await begun(world, "changed")
    await world.durable.send_event("changed", "go", 1)
    async with world.workers(flows=[new]):
        await blocked(world, "changed")
        assert await world.durable.terminate("changed", "enough")
        with pytest.raises(RunCancelled, match="enough"):
            await world.result(handles["changed"])
    assert listed(world) == {}


async def test_v04_many_blocked_runs_are_tried_a_few_at_a_time(world: World) -> None:
    # Ids so long that the server gives the list out in pieces.
    names = [f"{'c' * 70}{n}" for n in range(130)]
    given = {"ledger": world.ledger.path}
    async with world.worker(flows=[old]):
        handles = [await world.durable.start("changed", given, id=name) for name in names]
        await world.until(lambda: all(run[0] == "parked" for run in world.look().runs.values()), "all wait")
        await world.settled()
    for name in names:
        await world.durable.send_event(name, "go", name)
    async with world.worker(flows=[new]):
        await blocked(world, *names)
    async with world.worker(flows=[old], concurrency=3):
        assert [await world.result(handle) for handle in handles] == [["old", name] for name in names]
    assert listed(world) == {}
