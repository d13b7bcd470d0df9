"""release_entry: an entry goes back to the queue; its old holder is fenced, garbage is acked."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, T0, World


async def release(world: World, entry: str | None = None, **more: object) -> bool:
    found = world.entry() if entry is None else entry
    source = world.store.source_key(found or "Q", "A", "q")
    return await world.store.release_entry("r", source, "q", found, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    copy = await world.bring(state)
    world.read("A")
    before, old = world.snapshot(), world.entry()
    released = await release(world, old or "Q1-1", is_crash=True)
    assert released == (state in ("pending", "ready", "running"))
    if not released:
        assert world.snapshot() == before
        return
    assert world.status() == "ready"
    assert world.entry() != old and world.entry().startswith("Q")
    assert world.read("B") == [("r", world.entry())]
    assert world.stream(world.keys.queue("q")) == [("r", "r")]
    assert world.stream(world.keys.worker("A")) == []
    assert world.field("r", "epoch") == {"pending": "", "ready": "1", "running": "2"}[state]
    after = world.snapshot()
    assert world.repeat() == [Answer.STALE]
    assert world.snapshot() == after
    if state == "running" and copy:
        assert copy.commit("completed") == [Answer.FENCED, T0]
        assert world.snapshot() == after


async def test_a_woken_run_that_found_no_slot_keeps_its_copy_good(world: World) -> None:
    """Put back and read again by the same worker: nobody else had it, so the copy goes on."""
    copy = await world.bring("ready")
    assert copy
    world.read("A")
    assert await release(world)
    assert copy.resume()[0] == Answer.OK


@pytest.mark.parametrize("state", STATES)
async def test_garbage_is_acked_and_the_run_left_alone(world: World, state: str) -> None:
    await world.bring(state)
    garbage = world.server.xadd(world.keys.queue("q"), {"r": "r"})
    world.read("B")
    run = world.server.hgetall(world.keys.run("r"))
    assert not await release(world, "Q" + garbage.decode())
    assert world.server.hgetall(world.keys.run("r")) == run
    left = [id for id, _ in world.server.xrange(world.keys.queue("q"))]
    assert garbage not in left


async def test_a_fenced_owner_puts_nothing_back(world: World) -> None:
    """Its run was taken again through the same entry, by the worker's own reconciliation."""
    copy = await world.bring("running")
    assert copy
    assert world.claim_reply("A", "r", copy.entry, nonce="n2")[1] == 2
    before = world.snapshot()
    assert not await release(world, epoch=copy.epoch)
    assert world.snapshot() == before


async def test_a_fenced_owner_whose_entry_went_back_acks_only_its_own(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    assert await release(world, is_crash=True)
    again = world.claim("B", nonce="n2")
    before = world.snapshot()
    assert not await release(world, copy.entry, epoch=copy.epoch)
    assert world.snapshot() == before
    assert again.commit("go", [b"R1"])[0] == Answer.OK


async def test_an_unknown_workflow_waits_a_while_and_is_not_counted(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    assert await release(world, epoch=copy.epoch, delay_ms=500, waiting="code: no worker knows w")
    assert (world.status(), world.entry(), world.timers()) == ("delayed", "", {"dr": T0 + 500})
    assert world.field("r", "claims") == "0"
    assert world.field("r", "waiting") == "code: no worker knows w"
    before = world.snapshot()
    assert world.repeat() == [Answer.STALE]
    assert world.snapshot() == before
    world.now = T0 + 500
    await world.store.fire_timers(["dr"])
    assert (world.status(), world.field("r", "waiting")) == ("ready", "")
    assert copy.commit("go") == [Answer.FENCED, T0 + 500]


@pytest.mark.parametrize(("is_crash", "claims"), [(True, "1"), (False, "0")])
async def test_only_a_crash_is_counted(world: World, is_crash: bool, claims: str) -> None:
    await world.bring("running")
    await release(world, is_crash=is_crash)
    assert world.field("r", "claims") == claims


async def test_a_hand_back_takes_off_its_own_claim_and_no_crash(world: World) -> None:
    """One that does not know the workflow has it again and again, between workers that die over it."""
    await world.bring("pending")
    for crashes in range(1, 4):
        world.claim("A" * crashes)
        await release(world, is_crash=True)
        for _ in range(3):
            stranger = world.claim("stranger", nonce="n2")
            await release(world, epoch=stranger.epoch)
        assert world.field("r", "claims") == str(crashes)
