"""leave_queue: who is in the room of a queue without right is put out."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .test_enter_queue import claim, enter, limit, slots, starts, tally, waiting
from .world import World


async def test_who_has_a_place_by_right_keeps_it(world: World) -> None:
    await limit(world)
    await starts(world, "a", "b")
    enter(world, "a")
    enter(world, "b")
    before = world.snapshot()
    assert not await world.store.leave_queue("a", "", "q")
    assert not await world.store.leave_queue("b", "", "q")
    assert world.snapshot() == before
    claim(world, "a")
    assert not await world.store.leave_queue("a", "", "q")


async def test_records_deleted_by_hand_hold_nobody_up(world: World) -> None:
    await limit(world, "1 0 0 1")
    await starts(world, "a", "b", key="k")
    await starts(world, "c")
    for id in "abc":
        enter(world, id)
    world.server.delete(world.keys.run("a"), world.keys.run("c"))
    assert await world.store.leave_queue("a", "k", "q")
    assert list(slots(world)) == ["b"] and waiting(world) == ["c"] and tally(world) == {"k": 1}
    assert await world.store.leave_queue("c", "", "q")
    assert list(slots(world)) == ["b"] and waiting(world) == []
    before = world.snapshot()
    assert not await world.store.leave_queue("c", "", "q")
    assert world.snapshot() == before


async def test_a_run_that_has_given_back_its_place_since_the_look_is_no_damage(world: World) -> None:
    await limit(world)
    await starts(world, "a")
    enter(world, "a")
    claim(world, "a")
    world.server.hset(world.keys.run("a"), mapping={"status": "parked", "entry": ""})
    world.server.hdel(world.keys.room("q")[4], "a")
    before = world.snapshot()
    assert not await world.store.leave_queue("a", "", "q")
    assert world.snapshot() == before


async def test_a_sweep_finds_them_in_every_limited_queue(world: World) -> None:
    await limit(world, "1 0 0 1")
    await world.store.limit_queue("other", "5 0 0 0")
    await starts(world, "a", "b", key="k")
    await starts(world, "c", "d")
    for id in "abcd":
        enter(world, id)
    assert await world.store.sweep_rooms() == []
    world.server.delete(world.keys.run("a"), world.keys.run("d"))
    assert sorted(await world.store.sweep_rooms()) == [("q", "a"), ("q", "d")]
    assert list(slots(world)) == ["b"] and waiting(world) == ["c"] and tally(world) == {"k": 1}
    assert await world.store.sweep_rooms() == []


async def test_a_place_under_an_entry_that_the_record_has_not(world: World) -> None:
    """The server lost its last writes, or somebody wrote there."""
    await limit(world)
    await starts(world, "a", "b")
    enter(world, "a")
    enter(world, "b")
    world.server.hset(world.keys.room("q")[4], "a", "Q9-9\n")
    assert await world.store.leave_queue("a", "", "q")
    assert list(slots(world)) == ["b"]


@pytest.mark.parametrize("lost", ["room", "entry", "slot"])
async def test_a_run_that_its_room_has_forgotten_is_queued_again(world: World, lost: str) -> None:
    """By the sweep over all runs, which knows where those without an entry may be."""
    await limit(world)
    await starts(world, "a", "b", key="k")
    for id in "ab":
        enter(world, id)
    ids = ["a", "b"]
    links = [each for each in await world.store.sift_runs(ids, looks_at_all=True) if each]
    assert await world.store.inspect(links, lambda journal, child: False, may_fix=True) == []
    claim(world, "a").commit("completed", slot_of="q")
    world.server.xack(
        world.keys.queue("q"), "workers", *[i for i, _ in world.server.xrange(world.keys.queue("q"))][:-1]
    )
    links = [each for each in await world.store.sift_runs(["b"], looks_at_all=True) if each]
    assert await world.store.inspect(links, lambda journal, child: False, may_fix=True) == []
    if lost == "room":
        world.server.delete(world.keys.room("q")[4])
    elif lost == "entry":
        world.server.delete(world.keys.queue("q"))
        world.server.xgroup_create(world.keys.queue("q"), "workers", "0", mkstream=True)
    else:
        world.server.hset(world.keys.room("q")[4], "b", "Q1-1\n")
    found = await world.store.inspect(links, lambda journal, child: False, may_fix=True)
    assert [(each.id, each.kind, each.is_fixed) for each in found] == [("b", "entry_gone", True)]
    assert world.entry("b").startswith("Q")
    world.read("B")
    assert enter(world, "b", worker="B") == [Answer.OK]
    assert slots(world)["b"].startswith(world.entry("b"))
