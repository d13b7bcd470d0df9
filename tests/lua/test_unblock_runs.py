"""The list of blocked runs: written and emptied with the status; unblock_runs has them tried again."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .world import STATES, T0, TERMINAL, World


def listed(world: World) -> dict[str, str]:
    found = world.server.hgetall(world.keys.blocked)
    return {id.decode(): workflow.decode() for id, workflow in found.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("state", STATES)
async def test_listed_is_who_is_blocked(world: World, state: str) -> None:
    copy = await world.bring(state)
    assert listed(world) == ({"r": "w"} if state == "blocked" else {})
    if state == "blocked" and copy:
        after = world.snapshot()
        copy.commit("block", seq=copy.seq, entry="Q1-1")
        assert world.snapshot() == after


@pytest.mark.parametrize("how", ["cancel", "terminate", "grace"])
async def test_who_is_ended_or_cancelled_is_listed_no_more(world: World, how: str) -> None:
    await world.bring("blocked")
    await world.bring("blocked", "other")
    if how == "cancel":
        assert (await world.store.cancel_run("r", "why", "t1", 1_000))[0]
        assert world.read("A") == [("r", world.entry())]
    elif how == "terminate":
        assert (await world.store.settle_run("r", "terminate", "cancelled", b"why"))[0]
    else:
        world.server.hset(world.keys.run("r"), "grace", T0)
        assert (await world.store.settle_run("r", "grace", "cancelled", b"why"))[0]
    assert listed(world) == {"other": "w"}


@pytest.mark.parametrize("worker", ["B", "gone", ""])
@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str, worker: str) -> None:
    await world.bring(state)
    world.server.hset(world.keys.run("r"), "waiting", "code: x") if state == "blocked" else None
    world.read("A")
    before = world.snapshot()
    (answer,) = await world.store.unblock_runs(["r"], worker=worker)
    if state != "blocked":
        assert answer is (Answer.GONE if state == "absent" else Answer.STALE)
        assert world.snapshot() == before
        return
    assert answer is Answer.OK
    assert (world.status(), listed(world), world.field("r", "waiting")) == ("ready", {}, "")
    assert world.field("r", "owner") == ("B" if worker == "B" else "A")
    assert world.entry().startswith("W" if worker == "B" else "Q")
    after = world.snapshot()
    assert world.repeat() == [Answer.OK, [Answer.STALE]]
    assert world.snapshot() == after
    assert world.read("B") == [("r", world.entry())]
    again = world.claim("B", nonce="b")
    assert again.epoch == 2
    assert again.commit("completed", payload=b"out")[0] == Answer.ENDED


async def test_blocked_again_is_listed_again(world: World) -> None:
    await world.bring("blocked")
    for n in range(7):
        assert await world.store.unblock_runs(["r"], worker="A") == [Answer.OK]
        copy = world.claim("A", nonce=f"again{n}")
        assert copy.commit("block")[0] == Answer.PARKED
        world.ack(copy)
    assert listed(world) == {"r": "w"}
    assert world.field("r", "claims") == "0", "to try again is no crash"
    assert world.stream(world.keys.worker("A")) == []


async def test_what_came_meanwhile_is_there(world: World) -> None:
    await world.bring("blocked")
    await world.store.send_event("r", "e", b"x", 10)
    assert world.status() == "blocked", "an event mends no code"
    await world.store.unblock_runs(["r"])
    assert world.claim("B", nonce="b").inbox == [b"M1 %d Ex" % T0]


async def test_by_hand(world: World) -> None:
    await world.bring("blocked")
    assert await world.store.unblock_run("r")
    assert world.repeat() == [Answer.OK, [Answer.OK]], "the reply was lost"
    assert not await world.store.unblock_run("r")
    assert world.read("B") == [("r", world.entry())]
    with pytest.raises(RunNotFound):
        await world.store.unblock_run("nobody")


async def test_a_batch_with_others_among_them(world: World) -> None:
    for id, state in (("a", "blocked"), ("b", "parked"), ("d", "blocked"), ("e", "blocked")):
        await world.bring(state, id)
    world.server.hset(world.keys.blocked, mapping={"b": "w", "c": "w"})
    world.server.delete(world.keys.run("d"))
    world.server.set(world.keys.run("d"), "planted")
    k = world.keys
    keys = [k.blocked, k.worker(""), *(key for id in "abcde" for key in (k.run(id), k.queue("q")))]
    answers = world.eval("unblock_runs", keys, ("", "", *(arg for id in "abcde" for arg in (id, "q"))))[1]
    assert answers == [Answer.OK, Answer.STALE, Answer.GONE, Answer.CORRUPT, Answer.OK]
    assert listed(world) == {"d": "w"}
    assert (world.status("a"), world.status("b"), world.status("e")) == ("ready", "parked", "ready")


async def test_a_queue_of_a_wrong_type_spares_the_batch(world: World) -> None:
    await world.start("a", queue="broken")
    world.server.delete(world.keys.queue("broken"))
    world.server.set(world.keys.queue("broken"), "planted")
    await world.bring("blocked", "b")
    world.server.hset(world.keys.run("a"), "status", "blocked")
    k = world.keys
    keys = (k.blocked, k.worker(""), k.run("a"), k.queue("broken"), k.run("b"), k.queue("q"))
    reply = world.eval("unblock_runs", keys, ("", "", "a", "broken", "b", "q"))
    assert reply == [Answer.OK, [Answer.CORRUPT, Answer.OK]]
    assert (world.status("a"), world.status("b")) == ("blocked", "ready")


async def test_an_id_that_lives_in_another_queue_since_the_read(world: World) -> None:
    await world.bring("blocked")
    k = world.keys
    before = world.snapshot()
    reply = world.eval("unblock_runs", (k.blocked, k.worker(""), k.run("r"), k.queue("old")), ("", "", "r", "old"))
    assert reply == [Answer.OK, [Answer.RETRY]]
    assert world.snapshot() == before


@pytest.mark.parametrize("state", TERMINAL)
async def test_an_ended_run_is_taken_out_of_the_list(world: World, state: str) -> None:
    await world.bring(state)
    world.server.hset(world.keys.blocked, "r", "w")
    assert await world.store.unblock_runs(["r"]) == [Answer.STALE]
    assert listed(world) == {}
