"""admit_runs: time has passed, or there is more to do; the starts per period are in test_enter_queue.py."""

from __future__ import annotations

from .test_enter_queue import enter, slots, starts, waiting
from .world import World


async def test_many_are_let_in_in_pieces(world: World) -> None:
    await world.store.limit_queue("q", "1 0 0 0")
    ids = [f"r{n:03}" for n in range(250)]
    await starts(world, *ids)
    for id in ids:
        enter(world, id)
    await world.store.limit_queue("q", "1000 0 0 0")
    assert len(slots(world)) == 101 and world.timers() == {"qq": world.now}
    await world.store.admit_runs("q")
    await world.store.admit_runs("q")
    assert (len(slots(world)), waiting(world), world.timers()) == (250, [], {})
    before = world.snapshot()
    await world.store.admit_runs("q")
    assert world.snapshot() == before


async def test_of_a_queue_without_limits_nothing_happens(world: World) -> None:
    await starts(world, "a")
    before = world.snapshot()
    await world.store.admit_runs("q")
    assert world.snapshot() == before
