"""change_schedule: paused, resumed and removed, by anybody."""

from __future__ import annotations

import pytest

from durable_async.store.commands import LAST_MS
from durable_async.store.status import Answer

from .scheduling import HOUR, NAME, field, known, looks, tick
from .world import T0, World


async def test_pause_and_resume(world: World) -> None:
    await known(world)
    assert await world.store.change_schedule(NAME, "pause") is Answer.OK
    assert (field(world, "paused"), field(world, "next"), looks(world)) == ("1", "", {NAME: LAST_MS})
    after = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == after
    world.now = T0 + 5 * HOUR
    assert await world.store.change_schedule(NAME, "resume") is Answer.OK
    # Looked at at once; what came while it was paused is not missed.
    assert (field(world, "paused"), field(world, "cursor"), looks(world)) == ("", str(world.now), {NAME: world.now})
    world.now += 5
    after = world.snapshot()
    assert await world.store.change_schedule(NAME, "resume") is Answer.DONE
    assert world.snapshot() == after


async def test_remove(world: World) -> None:
    before = world.snapshot()
    await known(world)
    assert await world.store.change_schedule(NAME, "remove") is Answer.OK
    assert world.snapshot() == before
    assert world.repeat() == [Answer.GONE]


async def test_its_runs_stay(world: World) -> None:
    await known(world)
    await world.store.tick_schedule(tick(world))
    await world.store.change_schedule(NAME, "remove")
    assert world.status(f"{NAME}@1") == "ready"
    assert await world.store.schedules() == []


@pytest.mark.parametrize("want", ["pause", "resume", "remove"])
async def test_no_such_schedule(world: World, want: str) -> None:
    before = world.snapshot()
    assert await world.store.change_schedule(NAME, want) is Answer.GONE
    assert world.snapshot() == before


async def test_the_list_leaves_out_what_is_none(world: World) -> None:
    await known(world)
    world.server.zadd(world.keys.schedules, {"gone": 5, b"\xff": 6})
    assert [schedule.name for schedule in await world.store.schedules()] == [NAME]
