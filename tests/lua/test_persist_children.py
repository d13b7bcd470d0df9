"""persist_children: the walk over a tree that is kept again."""

from __future__ import annotations

from durable_async.store.status import Answer

from .life_cases import failed
from .world import DAY_MS, World


async def test_a_tree_that_was_to_go_stays(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    child.commit("go", [b"R"], children=[world.child("p/c/g", "p/c")])
    child.commit("failed", payload=b"x")
    parent.commit("go")
    parent.commit("failed", take=1, payload=b"x")
    await world.store.expire_children("ep", "0", "", ["p/c"], DAY_MS)
    assert world.walks() == {"ep/c": "0"}
    await world.store.retry_run("p", 0)
    await world.store.persist_children("pp", "0", "", ["p/c"])
    assert world.walks() == {"pp/c": "0"}
    assert world.server.pttl(world.keys.run("p/c")) == world.server.pttl(world.keys.journal("p/c")) == -1
    before = world.snapshot()
    assert world.repeat() == [Answer.STALE]
    assert world.snapshot() == before


async def test_a_chunk_moves_the_cursor(world: World) -> None:
    await failed(world)
    world.server.set(world.keys.run("p/a"), "damaged")
    world.server.hset(world.keys.walks, "pp", "0")
    await world.store.persist_children("pp", "0", "100", ["p/a", "p/gone", "p/c"])
    assert world.walks()["pp"] == "100"
