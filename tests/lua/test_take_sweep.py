"""take_sweep: one chunk of the way round the store, for whoever asks first."""

from __future__ import annotations

import pytest

from .world import T0, World


async def test_a_chunk_is_given_to_whoever_asks_first(world: World) -> None:
    for n, id in enumerate("abcde"):
        world.now = T0 + n
        await world.start(id)
    world.server.zadd(world.keys.timers, {"wa": T0, "wb": T0 + 1, "": T0 + 2})
    world.server.hset(world.keys.blocked, "c", "w")
    assert await world.store.take_sweep(100, 2, 2)
    assert await world.store.take_sweep(100, 2, 2) is None
    await world.store.save_sweep(4, "17")
    world.now += 100
    chunk = await world.store.take_sweep(100, 2, 2)
    assert chunk and (chunk.first, chunk.runs, chunk.is_last) == (4, ["e"], True)
    assert (chunk.timed, chunk.blocked, chunk.cursor) == ([], ["c"], "17")


@pytest.mark.parametrize("value", ["garbage", "-1", "1e400", "", str(10**18)])
async def test_forged_cursors_begin_anew(world: World, value: str) -> None:
    await world.start()
    names = ("sweep_due", "sweep_runs", "sweep_timers", "sweep_blocked")
    world.server.hset(world.keys.meta, mapping=dict.fromkeys(names, value))
    chunk = await world.store.take_sweep(100, 2, 2)
    assert chunk and chunk.runs == (["r"] if value != "1e400" or chunk.first == 0 else [])
