"""remove_run: an id is to begin anew."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .life_cases import failed
from .world import World


async def test_from_the_leaves_up(world: World) -> None:
    await failed(world)
    assert not await world.store.remove_run("p", "")
    assert await world.store.remove_run("p/c", "p")
    assert await world.store.remove_run("p", "")
    assert [k for k in world.snapshot() if k.partition(":")[0] in ("run", "journal", "inbox", "children")] == []
    assert world.walks() == {}
    assert world.server.zcard(world.keys.index) == 0
    before = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == before


@pytest.mark.parametrize("state", ["delayed", "pending", "ready", "running", "parked", "blocked"])
async def test_nothing_that_is_active(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    assert not await world.store.remove_run("r", "")
    assert world.snapshot() == before
