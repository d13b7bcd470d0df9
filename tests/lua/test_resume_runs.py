"""resume_runs: a woken run goes on from the copy in memory, if that is the journal's."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, T0, Copy, World


def resume(world: World, copy: Copy, **other: object) -> list[object]:
    fence = {"entry": world.entry(), "epoch": copy.epoch, "nonce": copy.nonce, "seq": copy.seq, **other}
    reply = world.run(world.store.resume_runs, [("r", *fence.values())])
    return reply[1]


@pytest.mark.parametrize("state", STATES)
async def test_only_a_ready_run_is_resumed(world: World, state: str) -> None:
    copy = await world.bring(state) or Copy(world, "r", "A", 0, "n1", "", [])
    before = world.snapshot()
    reply = resume(world, copy, entry=world.entry() or "Q1-1")
    if state == "ready":
        assert reply == [Answer.OK, [b"M1 %d Enow" % T0]]
        assert world.status() == "running"
        after = world.snapshot()
        assert world.repeat()[1] == reply
        assert world.snapshot() == after
    else:
        # A running one with this very fence: the reply to the resume was lost. A pending one was never in memory.
        expected = {"absent": [Answer.GONE], "running": [Answer.OK, []], "pending": [Answer.RELOAD]}
        assert reply == expected.get(state, [Answer.STALE])
        assert world.snapshot() == before


@pytest.mark.parametrize("stale", [{"epoch": 7}, {"nonce": "n0"}, {"seq": 0}, {"seq": 2}])
@pytest.mark.parametrize("state", ["ready", "running"])
async def test_another_fence_means_reload(world: World, state: str, stale: dict[str, object]) -> None:
    """The entry counts, so it must be claimed and not acked."""
    copy = await world.bring(state)
    assert copy
    before = world.snapshot()
    if state == "running" and stale == {"seq": 0}:
        stale = {"seq": 1}
    assert resume(world, copy, **stale) == [Answer.RELOAD]
    assert world.snapshot() == before


async def test_another_entry_is_garbage(world: World) -> None:
    copy = await world.bring("ready")
    assert copy
    before = world.snapshot()
    assert resume(world, copy, entry="W1-1") == [Answer.STALE]
    assert world.snapshot() == before


@pytest.mark.parametrize("damaged", ["run", "inbox"])
async def test_a_damaged_run_spares_its_batch(world: World, damaged: str) -> None:
    copies = [await world.bring("ready", id) for id in "ab"]
    batch = [(c.id, world.entry(c.id), c.epoch, c.nonce, c.seq) for c in copies if c]
    key = getattr(world.keys, damaged)("a")
    world.server.delete(key)
    world.server.set(key, "damaged")
    _, first, second = world.run(world.store.resume_runs, batch)
    assert first[0] == Answer.CORRUPT
    assert second == [Answer.OK, [b"M1 %d Enow" % T0]]


async def test_a_resume_clears_the_nudge(world: World) -> None:
    """The note was for an owner that is reading its messages now."""
    copy = await world.bring("running")
    assert copy
    await world.store.send_event("r", "e1", b"x", 10)
    assert world.field("r", "nudged") == "1"
    copy.commit("park")  # does not park: a message waits
    copy.commit("park", take=1)
    await world.store.send_event("r", "e2", b"y", 10)
    assert copy.resume()[0] == Answer.OK
    assert world.field("r", "nudged") == ""
