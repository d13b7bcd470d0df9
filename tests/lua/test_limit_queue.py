"""limit_queue: what limits a queue changes."""

from __future__ import annotations

from .test_enter_queue import claim, enter, left, limit, slots, starts, waiting
from .world import World


async def test_the_limits_before_are_told_and_a_repeat_changes_nothing(world: World) -> None:
    assert await world.store.limit_queue("q", "0 0 0 0") is None
    assert await world.store.limit_queue("q", "1 0 0 0") == ""
    assert await world.store.limit_queue("q", "2 0 0 0") == "1 0 0 0"
    before = world.snapshot()
    assert await world.store.limit_queue("q", "2 0 0 0") is None
    assert world.snapshot() == before
    assert await world.store.limit_queue("q", "0 0 0 0") == "2 0 0 0"
    assert await world.store.gates() == {}


async def test_a_higher_limit_lets_in_at_once_and_a_lower_one_throws_nobody_out(world: World) -> None:
    await limit(world)
    await starts(world, *"abcd")
    for id in "abcd":
        enter(world, id)
    await limit(world, "3 0 0 0")
    assert set(slots(world)) == {"a", "b", "c"}
    await limit(world, "1 0 0 0")
    assert set(slots(world)) == {"a", "b", "c"}
    claim(world, "a").commit("completed", slot_of="q")
    assert set(slots(world)) == {"b", "c"} and waiting(world) == ["d"]


async def test_limits_that_are_lifted_are_known_until_nobody_is_held_up(world: World) -> None:
    await limit(world, "1 0 0 1")
    await starts(world, "a", "b", key="k")
    await starts(world, "c")
    for id in "abc":
        enter(world, id)
    await limit(world, "0 0 0 0")
    assert set(slots(world)) == {"a", "c"} and await world.store.gates() == {"lq": "0 0 0 0"}
    claim(world, "a").commit("completed", slot_of="q")
    assert set(slots(world)) == {"b", "c"}
    for id, entry in world.read("A"):
        assert enter(world, id, entry)[0] == 0
        claim(world, id).commit("completed", slot_of="q")
    assert left(world) == set() and await world.store.gates() == {}
