"""expire_children: the walk that gives an ended tree its time to live, a chunk at a time."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import DAY_MS, TERMINAL, World

IDS = ["p/c", "p/d"]


async def tree(world: World, status: str = "completed") -> None:
    """An ended parent, an ended child with a child of its own, an active child."""
    await world.start("p")
    parent, child = world.family(notify=False)
    parent.commit("go", [b"R2"], children=[world.child("p/d", notify=False)])
    child.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c", notify=False)])
    child.commit(status)
    parent.commit("completed")


def ttl(world: World, id: str) -> int:
    return world.server.pttl(world.keys.run(id))  # type: ignore[return-value]


@pytest.mark.parametrize("status", TERMINAL)
async def test_ended_children_expire_and_their_children_are_walked(world: World, status: str) -> None:
    await tree(world, status)
    await world.store.expire_children("ep", "0", "", IDS, DAY_MS)
    assert ttl(world, "p/c") > 0 and world.server.pttl(world.keys.journal("p/c")) > 0
    assert ttl(world, "p/d") == -1
    assert world.walks() == {"ep/c": "0"}
    assert world.server.pttl(world.keys.children("p")) > 0
    before = world.snapshot()
    assert world.repeat() == [Answer.STALE]
    assert world.snapshot() == before


async def test_a_chunk_moves_the_cursor_once(world: World) -> None:
    await tree(world)
    await world.store.expire_children("ep", "0", "1", IDS[:1], DAY_MS)
    assert world.walks() == {"ep": "1", "ep/c": "0"}
    assert world.server.pttl(world.keys.children("p")) == -1
    before = world.snapshot()
    await world.store.expire_children("ep", "0", "1", IDS[:1], DAY_MS)
    assert world.snapshot() == before


@pytest.mark.parametrize("following", ["", "1"])
async def test_what_was_to_keep_the_tree_is_void(world: World, following: str) -> None:
    """Taken up again, and ended again before its tree was to be kept: done late, that would keep it for ever."""
    await tree(world)
    world.server.hset(world.keys.walks, mapping={"pp": "0", "pother": "0"})
    await world.store.expire_children("ep", "0", following, IDS, DAY_MS)
    assert world.walks() == {"ep/c": "0", "pother": "0"} | ({"ep": "1"} if following else {})
    await world.store.persist_children("pp", "0", "", IDS)
    assert ttl(world, "p/c") > 0


async def test_the_walk_goes_on_when_the_root_has_expired(world: World) -> None:
    await tree(world)
    world.server.delete(world.keys.run("p"), world.keys.journal("p"))
    await world.store.expire_children("ep", "0", "", IDS, DAY_MS)
    assert ttl(world, "p/c") > 0


async def test_an_id_that_lives_again_keeps_its_children(world: World) -> None:
    await tree(world)
    world.server.delete(world.keys.run("p"), world.keys.journal("p"))
    await world.start("p")
    await world.store.expire_children("ep", "0", "", IDS, DAY_MS)
    assert world.walks() == {}
    assert ttl(world, "p/c") == world.server.pttl(world.keys.children("p")) == -1


async def test_a_damaged_child_does_not_hold_up_its_siblings(world: World) -> None:
    await tree(world)
    world.server.set(world.keys.run("p/a"), "damaged")
    await world.store.expire_children("ep", "0", "", ["p/gone", "p/a", *IDS], DAY_MS)
    assert ttl(world, "p/c") > 0
    assert world.walks() == {"ep/c": "0"}
