"""resume_queue: a paused queue goes on where it was."""

from __future__ import annotations

from durable_async.store.status import Answer

from .world import World


async def test_its_runs_are_claimed_again(world: World) -> None:
    await world.start()
    await world.store.pause_queue("q")
    await world.store.pause_queue("other")
    assert world.claim_reply("A", "r")[0] == Answer.HELD
    assert await world.store.resume_queue("q")
    assert await world.store.gates() == {"pother": str(world.now)}
    assert world.claim_reply("A", "r")[0] == Answer.OK


async def test_one_that_is_not_paused_is_left_alone(world: World) -> None:
    assert not await world.store.resume_queue("q")
    await world.store.pause_queue("q")
    assert await world.store.resume_queue("q")
    before = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == before
