"""settle_run: an end that the owner did not ask for."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .world import STATES, T0, TERMINAL, World


async def settle(world: World, cause: str, id: str = "r", status: str = "cancelled") -> bool:
    return (await world.store.settle_run(id, cause, status, b"why", bound=1))[0]


@pytest.mark.parametrize("state", STATES)
async def test_terminate_ends_whatever_is_active(world: World, state: str) -> None:
    copy = await world.bring(state)
    before = world.snapshot()
    if state == "absent":
        with pytest.raises(RunNotFound):
            await settle(world, "terminate")
    else:
        assert await settle(world, "terminate") == (state not in TERMINAL)
    if state == "absent" or state in TERMINAL:
        assert world.snapshot() == before
        return
    assert (world.status(), world.entry(), world.inbox(), world.timers()) == ("cancelled", "", [], {})
    assert world.journal()[-1] == b"Z%d cancelled\nwhy" % T0
    assert world.server.pttl(world.keys.run("r")) > 0
    assert world.stream(world.keys.queue("q")) == []
    after = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == after
    if copy:
        assert copy.commit("completed", [b"Rlate"]) == [Answer.FENCED, T0]
        assert world.snapshot() == after


async def test_the_owner_is_nudged_to_look(world: World) -> None:
    await world.bring("running")
    await settle(world, "terminate")
    assert world.read("A") == [("n", "r")]


@pytest.mark.parametrize("cause", ["grace", "poison"])
@pytest.mark.parametrize("state", [s for s in STATES if s != "absent"])
async def test_a_cause_that_does_not_hold_is_void(world: World, state: str, cause: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    if cause == "poison":
        world.server.hset(world.keys.run("r"), "claims", 0)
        before = world.snapshot()
    assert not await settle(world, cause, status="failed")
    assert world.snapshot() == before


@pytest.mark.parametrize("state", ["ready", "running", "parked", "blocked"])
async def test_grace_is_over(world: World, state: str) -> None:
    copy = await world.bring(state)
    await world.store.cancel_run("r", "why", "t1", 1_000)
    world.now = T0 + 999
    before = world.snapshot()
    assert not await settle(world, "grace")
    assert world.snapshot() == before
    world.now = T0 + 1_000
    assert await settle(world, "grace")
    assert (world.status(), world.timers()) == ("cancelled", {})
    assert copy and copy.commit("completed")[0] == Answer.FENCED


@pytest.mark.parametrize("state", ["running", "completed"])
async def test_a_grace_timer_that_nothing_answers_to_goes(world: World, state: str) -> None:
    """It would be handed out for ever."""
    await world.bring(state)
    world.server.zadd(world.keys.timers, {"gr": T0, "gx": T0})
    assert not await settle(world, "grace")
    assert world.timers() == {"gx": T0}


async def test_the_grace_timer_of_a_run_that_is_gone_goes(world: World) -> None:
    world.server.zadd(world.keys.timers, {"gr": T0})
    k = world.keys
    keys = [k.run("r"), k.journal("r"), k.inbox("r"), k.timers, k.walks, k.worker(""), k.queue("q"), k.blocked]
    keys += [k.inputs, k.questions]
    assert world.eval("settle_run", keys, ("", "r", "grace", "cancelled", "", "", "", "", 0, "")) == [Answer.GONE]
    assert world.timers() == {}


@pytest.mark.parametrize(("cause", "item"), [("terminate", "tp"), ("grace", "xp")])
async def test_children_are_walked(world: World, cause: str, item: str) -> None:
    await world.start("p")
    world.family()
    if cause == "grace":
        await world.store.cancel_run("p", "why", "t1", 0)
    assert await settle(world, cause, "p")
    assert set(world.walks()) == {item, "ep"}
    assert (world.field("p", "cancel"), world.field("p", "cancel_kids")) == ("why", "1")


@pytest.mark.parametrize("saga", ["", "pending", "undoing"])
async def test_children_of_a_run_that_failed_are_walked_by_their_policy(world: World, saga: str) -> None:
    await world.start("p")
    copy, _ = world.family()
    world.server.hset(world.keys.run("p"), mapping={"status": "ready", "claims": 9, "saga": saga})
    assert copy and await settle(world, "poison", "p", "failed")
    assert set(world.walks()) == {"op", "ep"}
    assert world.field("p", "cancel_kids") == "1"
    # What it had begun to undo is left half done.
    assert world.status("p") == ("compensation_failed" if saga == "undoing" else "failed")


async def test_children_are_told_a_reason_not_a_packed_failure(world: World) -> None:
    await world.start("p")
    world.family()
    assert (await world.store.settle_run("p", "terminate", "failed", b"\x93\xff"))[0]
    assert world.field("p", "cancel") == "parent p ended: failed"


async def test_a_child_tells_its_parent(world: World) -> None:
    await world.start("p")
    parent, _ = world.family()
    parent.commit("park")
    assert await settle(world, "terminate", "p/c")
    assert (world.status("p"), world.inbox("p")) == ("ready", [b"M1 %d Cxp/c\nwhy" % T0])


async def test_a_worker_that_took_the_run_meanwhile_means_another_look(world: World) -> None:
    await world.bring("running")
    k = world.keys
    keys = [k.run("r"), k.journal("r"), k.inbox("r"), k.timers, k.walks, k.worker("Z"), k.queue("q"), k.blocked]
    keys += [k.inputs, k.questions]
    before = world.snapshot()
    reply = world.eval("settle_run", keys, ("", "r", "terminate", "cancelled", "", "Z", "", "", 0, ""))
    assert reply == [Answer.RETRY]
    assert world.snapshot() == before


@pytest.mark.parametrize("saga", ["pending", "undoing"])
@pytest.mark.parametrize("state", ["ready", "running", "parked", "blocked"])
async def test_no_grace_ends_a_run_with_something_to_undo(world: World, state: str, saga: str) -> None:
    """Its owner cuts what is left of the body, and compensates."""
    await world.bring(state)
    await world.store.cancel_run("r", "why", "t1", 1_000)
    world.server.hset(world.keys.run("r"), "saga", saga)
    world.now = T0 + 1_000
    status = world.status()
    assert not await settle(world, "grace")
    assert (world.status(), world.timers()) == (status, {})
    assert await settle(world, "terminate")
