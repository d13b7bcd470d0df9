"""purge_index: runs whose records have expired leave the index."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, World


def index(world: World) -> list[str]:
    return [id.decode() for id in world.server.zrange(world.keys.index, 0, -1)]  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [state for state in STATES if state != "absent"])
async def test_a_run_that_has_a_record_stays(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    assert await world.store.purge_index(0, 10) == (1, 0)
    assert world.snapshot() == before


async def test_expired_runs_go(world: World) -> None:
    for n, id in enumerate("abcd"):
        world.now += n
        await world.start(id)
    world.server.delete(world.keys.run("b"), world.keys.run("d"))
    assert await world.store.purge_index(0, 10) == (4, 2)
    assert index(world) == ["a", "c"]
    before = world.snapshot()
    assert world.repeat() == [Answer.OK, 2]
    assert world.snapshot() == before


async def test_a_chunk_is_taken_from_a_rank(world: World) -> None:
    for n, id in enumerate("abcd"):
        world.now += n
        await world.start(id)
    world.server.delete(*map(world.keys.run, "abcd"))
    assert await world.store.purge_index(1, 2) == (2, 2)
    assert index(world) == ["a", "d"]
    assert await world.store.purge_index(2, 2) == (0, 0)


async def test_an_id_that_was_started_again_between_look_and_removal_stays(world: World) -> None:
    await world.start("a")
    world.server.delete(world.keys.run("a"))
    await world.start("a")
    assert world.eval("purge_index", (world.keys.index, world.keys.run("a")), ("a",)) == [Answer.OK, 0]
    assert index(world) == ["a"]
