"""poll_schedules: what is due is handed to one of those who have it, for a while."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.store.scheduling import SCHEDULE_LEASE_MS

from .scheduling import HOUR, NAME, known, looks, tick
from .world import T0, World

MINE = [(NAME, "e1")]


async def test_none_is_due(world: World) -> None:
    await known(world)
    world.now = T0 + HOUR - 1
    before = world.snapshot()
    assert await world.store.poll_schedules(MINE) == (world.now, T0 + HOUR, [], [])
    assert world.snapshot() == before


async def test_the_next_of_several(world: World) -> None:
    for name, hours in (("late", 3), (NAME, 1), ("later", 5)):
        await known(world, name=name, next_ms=T0 + hours * HOUR)
    names = ("late", NAME, "later")
    assert (await world.store.poll_schedules([(name, "e1") for name in names]))[1] == T0 + HOUR


async def test_what_is_due_is_handed_out_once(world: World) -> None:
    await known(world)
    world.now = T0 + HOUR
    assert await world.store.poll_schedules(MINE) == (world.now, None, [(NAME, T0, "")], [])
    assert await world.store.poll_schedules(MINE) == (world.now, world.now + SCHEDULE_LEASE_MS, [], [])
    # Whoever was handed it died over it.
    world.now += SCHEDULE_LEASE_MS
    assert (await world.store.poll_schedules(MINE))[2] == [(NAME, T0, "")]


async def test_with_its_last_run(world: World) -> None:
    await known(world)
    await world.store.tick_schedule(tick(world))
    world.now = T0 + 2 * HOUR
    assert (await world.store.poll_schedules(MINE))[2] == [(NAME, T0 + HOUR, f"{NAME}@1")]


async def test_what_a_worker_does_not_have_is_not_taken_from_those_who_have_it(world: World) -> None:
    await known(world)
    world.now = T0 + HOUR
    before = world.snapshot()
    assert await world.store.poll_schedules([("other", "e1")]) == (world.now, None, [], [])
    assert await world.store.poll_schedules([(NAME, "e2")]) == (world.now, None, [], [(NAME, T0 + HOUR)])
    assert await world.store.poll_schedules([]) == (world.now, None, [], [])
    assert world.snapshot() == before
    assert (await world.store.poll_schedules(MINE))[2] == [(NAME, T0, "")]


async def test_a_paused_one_never_comes(world: World) -> None:
    await known(world)
    await world.store.change_schedule(NAME, "pause")
    world.now = T0 + 9 * HOUR
    assert (await world.store.poll_schedules(MINE))[2:] == ([], [])


@pytest.mark.parametrize("plant", [None, "string", "cursor"])
async def test_what_is_no_record_is_nobodys(world: World, plant: Any) -> None:
    """Workers that have the schedule register it anew."""
    await known(world)
    world.now = T0 + HOUR
    if plant == "cursor":
        world.server.hset(world.keys.schedule(NAME), "cursor", "nan")
    else:
        world.server.delete(world.keys.schedule(NAME))
        if plant:
            world.server.set(world.keys.schedule(NAME), plant)
    before = world.snapshot()
    assert await world.store.poll_schedules(MINE) == (world.now, None, [], [(NAME, T0 + HOUR)])
    assert world.snapshot() == before
    assert looks(world) == {NAME: T0 + HOUR}
