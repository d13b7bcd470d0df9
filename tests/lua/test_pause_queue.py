"""pause_queue: from here on no run of the queue is claimed or resumed; whatever else comes to it is kept."""

from __future__ import annotations

import pytest
import redis

from durable_async.store.commands import Claimed
from durable_async.store.keys import Keys
from durable_async.store.status import Answer

from .world import STATES, World

HELD = [Answer.HELD, b"q", b"p"]


def paused(world: World) -> dict[str, str]:
    found = world.server.hgetall(world.keys.gates)
    return {k.decode(): v.decode() for k, v in found.items()}  # type: ignore[union-attr]


async def test_it_is_noted_with_its_time_and_a_repeat_changes_nothing(world: World) -> None:
    assert await world.store.pause_queue("q")
    assert paused(world) == {"pq": str(world.now)} == await world.store.gates()
    before = world.snapshot()
    world.now += 1
    assert not await world.store.pause_queue("q")
    assert world.snapshot() == before


async def test_a_repeat_gets_its_answer_and_a_late_request_changes_nothing(world: World) -> None:
    """The first request was lost and its retry executed; it arrives when somebody has let the queue go since."""
    assert await world.store.pause_queue("q")
    late = world.caller.sent[-1]
    assert world.caller.execute(late) == [Answer.OK]
    assert await world.store.resume_queue("q")
    before = world.snapshot()
    assert world.caller.execute(late) == [Answer.STALE]
    assert world.snapshot() == before
    assert await world.store.pause_queue("q")


@pytest.mark.parametrize("state", STATES)
async def test_v06_nothing_is_claimed(world: World, state: str) -> None:
    """Only a running run is: it is being worked on, and whoever asks again has lost a reply."""
    await world.bring(state)
    await world.store.pause_queue("q")
    before = world.snapshot()
    reply = world.claim_reply("B", "r", world.entry() or "Q1-1", nonce="other")
    if state in ("pending", "ready"):
        assert reply == HELD
    elif state == "running":
        assert Claimed.from_reply(reply).epoch == 2
        return
    else:
        assert reply == [Answer.GONE if state == "absent" else Answer.STALE]
    assert world.snapshot() == before


async def test_v06_nothing_is_resumed(world: World) -> None:
    copy = await world.bring("ready")
    assert copy
    await world.store.pause_queue("q")
    before = world.snapshot()
    assert copy.resume() == HELD
    assert world.snapshot() == before
    # Put back, it waits in the queue; the copy is as good as before.
    source = world.store.source_key(copy.entry, "A", "q")
    world.read("A")
    assert await world.store.release_entry("r", source, "q", copy.entry)
    assert copy.resume() == HELD
    await world.store.resume_queue("q")
    assert copy.resume()[0] == Answer.OK


async def test_a_repeat_of_what_was_done_before_gets_its_answer(world: World) -> None:
    """The replies were lost, and the queue was paused before they were asked for again."""
    await world.start()
    world.read("A")
    claimed = world.claim_reply("A", "r")
    await world.store.pause_queue("q")
    del world.caller.sent[-2:]  # the pause, and its read
    assert world.repeat()[1] == claimed


async def test_a_repeated_resume_gets_its_answer(world: World) -> None:
    copy = await world.bring("ready")
    assert copy
    resumed = copy.resume()
    command = world.caller.sent[-1]
    await world.store.pause_queue("q")
    assert world.caller.execute(command)[1] == resumed


async def test_other_queues_go_on_in_the_same_batch(world: World) -> None:
    await world.start("r")
    await world.start("s", queue="other")
    await world.store.pause_queue("q")
    entries = [("r", world.entry("r")), ("s", world.entry("s")), ("r", "Q1-1")]
    replies = world.run(world.store.claim_runs, "A", "n", 5, entries)[1:]
    assert replies[0] == HELD and replies[1][0] == Answer.OK and replies[2] == [Answer.STALE]
    assert (world.status("r"), world.status("s")) == ("ready", "running")


async def test_messages_still_reach_inboxes_and_owners_still_commit(world: World) -> None:
    parked = await world.bring("parked")
    running = await world.bring("running", "s")
    assert parked and running
    await world.store.pause_queue("q")
    assert await world.store.send_event("r", "e", b"body", 10) == Answer.OK
    assert (world.status("r"), len(world.inbox("r"))) == ("ready", 1)
    assert running.commit("completed", payload=b"out")[0] == Answer.ENDED
    assert (await world.store.cancel_run("r", "why", "token", 1000))[0]


async def test_a_poisoned_run_waits_as_well(world: World) -> None:
    await world.start()
    world.server.hset(world.keys.run("r"), mapping={"claims": 9, "epoch": 9})
    await world.store.pause_queue("q")
    assert world.claim_reply("A", "r") == HELD


@pytest.mark.parametrize("plant", ["string", "list"])
async def test_a_damaged_key_stands_in_nobodys_way(world: World, plant: str) -> None:
    copy = await world.bring("ready")
    await world.start("s")
    key = world.keys.gates
    world.server.set(key, "x") if plant == "string" else world.server.rpush(key, "x")
    assert copy and copy.resume()[0] == Answer.OK
    assert world.claim_reply("A", "s")[0] == Answer.OK
    assert (await world.store.poll_due(10))[4] == {}
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await world.store.pause_queue("q")


async def test_namespaces_do_not_see_each_other(world: World) -> None:
    other = World(world.server, Keys("other" + world.keys.base[-9:-4].strip(".:{}")))
    try:
        await world.store.pause_queue("q")
        await other.start()
        assert other.claim_reply("A", "r")[0] == Answer.OK
    finally:
        world.server.delete(*world.server.scan_iter(match=other.keys.base + "*", count=1000))
