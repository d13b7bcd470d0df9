"""send_event: an event is put into the inbox once, and wakes or nudges its run."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .world import STATES, T0, TERMINAL, World


async def send(world: World, event_id: str = "e1", limit: int = 10, body: bytes = b"\x92x\nbody") -> Answer:
    return await world.store.send_event("r", event_id, body, limit)


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    await world.bring(state)
    world.read("A")
    before, entry, count = world.snapshot(), world.entry(), len(world.inbox())
    if state == "absent":
        with pytest.raises(RunNotFound):
            await send(world)
    else:
        assert await send(world) is (Answer.DONE if state in TERMINAL else Answer.OK)
    if state == "absent" or state in TERMINAL:
        assert world.snapshot() == before
        return
    assert world.inbox()[count:] == [b"M%d %d E\x92x\nbody" % (count + 1, T0)]
    if state == "parked":
        assert (world.status(), world.read("A")) == ("ready", [("r", world.entry())])
    else:
        assert (world.status(), world.entry()) == ("ready" if state == "pending" else state, entry)
        assert world.read("A") == ([("n", "r")] if state == "running" else [])
    after = world.snapshot()
    assert world.repeat() == [Answer.OK, T0]
    assert await send(world) is Answer.OK
    assert world.snapshot() == after


async def test_an_id_is_remembered_beyond_the_end(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await send(world)
    copy.inbox = world.inbox()
    copy.commit("completed", take=1)
    before = world.snapshot()
    assert await send(world) is Answer.OK
    assert await send(world, "e2") is Answer.DONE
    assert world.snapshot() == before


async def test_one_nudge_is_outstanding_at_most(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    for i in range(3):
        await send(world, f"e{i}")
    assert world.stream(world.keys.worker("A")) == [("n", "r")]
    copy.inbox = copy.commit("go")[2]
    copy.commit("go", take=3)
    await send(world, "e9")
    assert world.stream(world.keys.worker("A")) == [("n", "r"), ("n", "r")]


async def test_no_stream_no_nudge(world: World) -> None:
    """The owner is dead or leaving: whoever claims next gets the inbox. Its stream must not come back."""
    await world.bring("running")
    world.server.delete(world.keys.worker("A"))
    await send(world)
    assert not world.server.exists(world.keys.worker("A"))
    assert world.field("r", "nudged") == ""


async def test_a_full_inbox_refuses(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    for i in range(3):
        assert await send(world, f"e{i}", limit=3) is Answer.OK
    before = world.snapshot()
    assert await send(world, "e3", limit=3) is Answer.FULL
    assert await send(world, "e2", limit=3) is Answer.OK
    assert world.snapshot() == before
    copy.inbox = world.inbox()
    copy.commit("go", take=1)
    assert await send(world, "e3", limit=3) is Answer.OK


async def test_a_worker_that_took_the_run_meanwhile_means_another_look(world: World) -> None:
    await world.bring("parked")
    k = world.keys
    before = world.snapshot()
    keys = [k.run("r"), k.inbox("r"), k.worker("Z"), k.queue("q")]
    assert world.eval("send_event", keys, ("", "r", "e1", "b", "Z", 9)) == [Answer.RETRY]
    assert world.snapshot() == before
