"""register_schedule: what a worker's code has is known once, and goes on where it stood."""

from __future__ import annotations

import pytest

from durable_async.store.commands import LAST_MS
from durable_async.store.status import Answer

from .scheduling import HOUR, NAME, field, known, looks, record, tick
from .world import T0, World


async def test_a_new_one_is_to_begin_now(world: World) -> None:
    before = world.snapshot()
    assert await world.store.register_schedule(record()) == (False, T0, None)
    assert world.snapshot() == before


async def test_it_is_written(world: World) -> None:
    assert await world.store.register_schedule(record(cursor_ms=T0, next_ms=T0 + HOUR)) == (True, T0, None)
    after = world.snapshot()
    assert world.repeat() == [Answer.OK, T0]
    assert world.snapshot() == after
    assert looks(world) == {NAME: T0 + HOUR}
    assert await world.store.schedule(NAME) == record(cursor_ms=T0, next_ms=T0 + HOUR)


async def test_two_workers_that_start_at_once(world: World) -> None:
    """Both were told that it is new; the second takes up what the first has written."""
    await known(world)
    world.now += 1
    before = world.snapshot()
    assert await world.store.register_schedule(record(cursor_ms=T0 + 1, next_ms=T0 + HOUR)) == (False, T0 + 1, T0)
    assert world.snapshot() == before
    assert (await world.store.register_schedule(record(cursor_ms=T0, next_ms=T0 + HOUR)))[0]


async def test_a_known_one_goes_on_where_it_stood(world: World) -> None:
    """After everybody was down: what was missed is still to come."""
    await known(world)
    await world.store.tick_schedule(tick(world))
    world.now = T0 + 9 * HOUR
    assert await world.store.register_schedule(record()) == (False, world.now, T0 + HOUR)
    assert (await world.store.register_schedule(record(cursor_ms=T0 + HOUR, next_ms=T0 + 2 * HOUR)))[0]
    assert looks(world) == {NAME: T0 + 2 * HOUR}
    assert field(world, "last_run") == f"{NAME}@1"


async def test_a_tick_in_between(world: World) -> None:
    await known(world)
    await world.store.tick_schedule(tick(world))
    assert await world.store.register_schedule(record(cursor_ms=T0, next_ms=T0 + HOUR)) == (False, T0, T0 + HOUR)


async def test_a_changed_expression_begins_now(world: World) -> None:
    await known(world)
    await world.store.tick_schedule(tick(world, want="note", error="broken", cursor_ms=T0))
    world.now = T0 + 9 * HOUR
    assert await world.store.register_schedule(record(expression="e2")) == (False, world.now, None)
    assert (await world.store.register_schedule(record(expression="e2", cursor_ms=world.now, next_ms=world.now + 5)))[0]
    assert (looks(world), field(world, "error")) == ({NAME: world.now + 5}, "")


async def test_what_else_has_changed_is_taken_over(world: World) -> None:
    await known(world)
    changed = record(cursor_ms=T0, next_ms=T0 + HOUR, queue="other", catch_up="all", overlap="skip", version="2")
    assert (await world.store.register_schedule(changed))[0]
    assert await world.store.schedule(NAME) == changed


async def test_a_paused_one_stays_paused(world: World) -> None:
    await known(world)
    await world.store.change_schedule(NAME, "pause")
    await known(world)
    assert (looks(world), field(world, "paused")) == ({NAME: LAST_MS}, "1")


@pytest.mark.parametrize("cursor", ["", "soon", "nan", "-5", "1e9", "9" * 15, "12.5"])
async def test_a_damaged_cursor_is_none(world: World, cursor: str) -> None:
    await known(world)
    world.server.hset(world.keys.schedule(NAME), "cursor", cursor)
    assert await world.store.register_schedule(record()) == (False, T0, None)
    await known(world)
    assert field(world, "cursor") == str(T0)
