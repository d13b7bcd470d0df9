"""cancel_run: marks a run once; one that never started ends, any other one is told."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .world import STATES, T0, TERMINAL, World


async def cancel(world: World, id: str = "r", token: str = "t1") -> bool:
    return (await world.store.cancel_run(id, "why", token, 1_000))[0]


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    copy = await world.bring(state)
    before = world.snapshot()
    if state == "absent":
        with pytest.raises(RunNotFound):
            await cancel(world)
    else:
        assert await cancel(world) == (state not in TERMINAL)
    if state == "absent" or state in TERMINAL:
        assert world.snapshot() == before
        return
    if state in ("pending", "delayed"):
        assert world.status() == "cancelled"
        assert world.journal()[-1] == b"Z%d cancelled\nwhy" % T0
        assert world.timers() == {}
        assert world.stream(world.keys.queue("q")) == []
    else:
        assert world.inbox()[-1].endswith(b" Xwhy")
        assert world.timers() == {"gr": T0 + 1_000}
        assert world.field("r", "cancel_at") == ("2" if state == "ready" else "1")
        assert world.status() == {"running": "running"}.get(state, "ready")
    if state == "running":
        assert copy and world.read("A") == [("n", "r")]
    if state in ("parked", "blocked"):
        assert world.read("A") == [("r", world.entry())]


@pytest.mark.parametrize("state", ["pending", "delayed", "ready", "running", "parked", "blocked"])
async def test_a_repeat_gets_the_first_answer(world: World, state: str) -> None:
    await world.bring(state)
    assert await cancel(world)
    before = world.snapshot()
    assert await cancel(world)
    assert world.repeat()[0] == Answer.OK
    assert not await cancel(world, token="another")
    assert world.snapshot() == before


async def test_the_repeat_of_a_cancel_that_has_been_obeyed(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await cancel(world)
    copy.inbox = world.inbox()
    copy.commit("cancelled", take=1)
    before = world.snapshot()
    assert await cancel(world)
    assert not await cancel(world, token="another")
    assert world.snapshot() == before


async def test_a_worker_that_took_the_run_meanwhile_means_another_look(world: World) -> None:
    await world.bring("parked")
    k = world.keys
    keys = [k.run("r"), k.journal("r"), k.inbox("r"), k.timers, k.walks, k.worker("Z"), k.queue("q"), k.blocked]
    before = world.snapshot()
    reply = world.eval("cancel_run", keys, ("", "r", "why", "t1", 5, "Z", "", "", ""))
    assert reply == [Answer.RETRY]
    assert world.snapshot() == before


async def test_for_a_walk_that_is_to_be_done_only(world: World) -> None:
    await world.bring("running")
    before = world.snapshot()
    assert await world.store.cancel_run("r", "why", "t1", 5, walk="cr") == (False, "")
    assert world.snapshot() == before
    world.server.hset(world.keys.walks, "cr", "why")
    assert await world.store.cancel_run("r", "why", "t1", 5, walk="cr") == (True, "")
    assert world.walks() == {}
    assert world.repeat()[0] == Answer.OK
    world.server.hset(world.keys.walks, "cr", "why")
    assert await world.store.cancel_run("r", "why", "t1", 5, walk="cr") == (True, "")
    assert world.walks() == {}


@pytest.mark.parametrize("state", ["pending", "running", "parked", "blocked", "cancelled", "completed"])
async def test_a_walk_of_one_is_out_when_the_run_is_told(world: World, state: str) -> None:
    """Were it taken out by a call of its own, a late one would take out that of the run's next life."""
    await world.bring(state)
    world.server.hset(world.keys.walks, mapping={"cr": "why", "cother": "why"})
    assert (await world.store.cancel_run("r", "why", "t1", 5, walk="cr"))[0] == (state not in TERMINAL)
    assert world.walks() == {"cother": "why"}


async def test_a_walk_of_one_stays_until_its_run_was_found(world: World) -> None:
    await world.bring("parked")
    k = world.keys
    world.server.hset(k.walks, "cr", "why")
    keys = [k.run("r"), k.journal("r"), k.inbox("r"), k.timers, k.walks, k.worker("Z"), k.queue("q"), k.blocked]
    assert world.eval("cancel_run", keys, ("", "r", "why", "t1", 5, "Z", "", "", "cr")) == [Answer.RETRY]
    assert world.walks() == {"cr": "why"}


@pytest.mark.parametrize("state", ["pending", "running"])
async def test_a_walk_over_many_is_not_done_with_one_of_them(world: World, state: str) -> None:
    await world.bring(state)
    for _ in range(2):
        world.server.hset(world.keys.walks, "xp", "0")
        assert await world.store.cancel_run("r", "ancestor p", "walk:p", 5, walk="xp") == (True, "")
        assert world.walks() == {"xp": "0"}
    assert await world.store.cancel_run("r", "ancestor p", "another", 5, walk="xp") == (False, "")
    assert world.walks() == {"xp": "0"}


async def test_waiting_clients_are_named(world: World) -> None:
    await world.start(client="c1")
    assert await world.store.cancel_run("r", "why", "t1", 5) == (True, "c1")


async def test_a_repeat_names_who_waits_only_if_the_run_has_ended_by_it(world: World) -> None:
    """The reply was lost, or another worker does the same walk: whoever is named is told that the run is cancelled."""
    await world.start(client="c1")
    for _ in range(2):
        assert await world.store.cancel_run("r", "why", "t1", 5) == (True, "c1")
    await world.start("s", client="c1")
    copy = world.claim("A", "s")
    for _ in range(2):
        assert await world.store.cancel_run("s", "why", "t1", 5) == (True, "")
    copy.inbox = world.inbox("s")
    assert copy.commit("compensation_failed", take=1)[0] == Answer.ENDED
    assert await world.store.cancel_run("s", "why", "t1", 5) == (True, "")


async def test_a_claim_in_flight_of_a_run_that_never_started(world: World) -> None:
    await world.start()
    entry = world.entry()
    world.read("A")
    await cancel(world)
    assert world.claim_reply("A", "r", entry) == [Answer.STALE]


async def test_children_known_now_are_walked(world: World) -> None:
    await world.start("p")
    copy, _ = world.family()
    copy.commit("park")
    await cancel(world, "p")
    assert world.walks() == {"xp": "0"}
    assert (world.field("p", "cancel_kids"), world.field("p", "cancel")) == ("1", "why")


@pytest.mark.parametrize("parent_state", ["running", "parked"])
async def test_a_child_that_never_started_tells_its_parent(world: World, parent_state: str) -> None:
    await world.start("p")
    copy = world.claim("A", "p")
    copy.commit("go" if parent_state == "running" else "park", [b"R1"], children=[world.child()])
    world.read("A")
    assert await cancel(world, "p/c")
    assert world.inbox("p") == [b"M1 %d Cxp/c\nwhy" % T0]
    read = world.read("A")
    assert read == ([("n", "p")] if parent_state == "running" else [("p", world.entry("p"))])


async def test_an_entry_in_a_queue_that_was_destroyed_holds_up_nothing(world: World) -> None:
    await world.start()
    world.server.delete(world.keys.queue("q"))
    assert await cancel(world)
    assert world.status() == "cancelled"


@pytest.mark.parametrize("state", ["ready", "running", "parked", "blocked"])
async def test_a_run_that_compensates_has_nothing_left_to_cancel(world: World, state: str) -> None:
    await world.bring(state)
    world.server.hset(world.keys.run("r"), "saga", "undoing")
    before = world.snapshot()
    assert not await cancel(world)
    assert world.snapshot() == before
    world.server.hset(world.keys.run("r"), "saga", "pending")
    assert await cancel(world)
