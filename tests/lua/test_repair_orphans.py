"""repair_run: who outlives a run that failed without its own doing."""

from __future__ import annotations

import pytest

from .test_repair_run import mend
from .world import World


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_walk_that_is_gone_of_a_run_that_failed(world: World, leaves: bool) -> None:
    """Whoever was started to outlive it does."""
    await world.start("p")
    world.family(notify=False)
    world.server.hset(world.keys.run("p"), mapping={"status": "ready", "claims": 9})
    assert (await world.store.settle_run("p", "poison", "failed", b"why", bound=1))[0]
    if leaves:
        world.server.hset(world.keys.run("p/c"), "leave", "1")
    world.server.delete(world.keys.walks)
    world.server.hset(world.keys.walks, "ep", "0")
    await mend(world, *([] if leaves else ["p/c cancel_gone"]), ids=("p", "p/c"))
    assert world.walks() == ({"ep": "0"} if leaves else {"ep": "0", "op": "0"})
