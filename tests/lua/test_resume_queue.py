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
    assert world.repeat() == [Answer.OK]
    assert not await world.store.resume_queue("q")
    assert world.snapshot() == before


async def test_a_late_request_does_not_let_go_what_was_paused_again(world: World) -> None:
    await world.store.pause_queue("q")
    assert await world.store.resume_queue("q")
    late = world.caller.sent[-1]
    assert await world.store.pause_queue("q")
    before = world.snapshot()
    assert world.caller.execute(late) == [Answer.STALE]
    assert world.snapshot() == before
