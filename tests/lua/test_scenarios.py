"""Transitions in the order in which a life, or an accident, brings them: the rules of the protocol, one test each."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import T0, Copy, World


async def waiting_parent(world: World) -> Copy:
    """A parent on worker A, parked on its child, whose entry is in the queue."""
    await world.start("p", client="c1")
    parent = world.claim("A", "p")
    assert parent.commit("park", [b"Rcall"], children=[world.child()])[0] == Answer.PARKED
    world.ack(parent)
    return parent


def is_quiet(world: World) -> bool:
    """No entry, timer or walk is left: every run is over or parked."""
    k = world.keys
    streams = [world.stream(key) for key in (k.queue("q"), k.worker("A"), k.worker("B"))]
    return not any(streams) and not world.timers() and not world.walks()


async def test_the_life_of_a_call(world: World) -> None:
    parent = await waiting_parent(world)
    child = world.claim("B", "p/c")
    assert child.commit("completed", [b"Rstep"], payload=b"out")[0] == Answer.ENDED
    world.ack(child)
    assert world.read("A") == [("p", world.entry("p"))]
    assert parent.resume() == [Answer.OK, [b"M1 %d Ccp/c\nout" % T0]]
    reply = parent.commit("completed", take=1, payload=b"done")
    assert reply[:4] == [Answer.ENDED, T0, [], b"c1"]
    world.ack(parent)
    assert world.journal("p") == [b"Sinput", b"Rcall", b"M1 %d Ccp/c\nout" % T0, b"Z%d completed\ndone" % T0]
    assert world.walks() == {"ep": "0"}
    await world.store.expire_children("ep", "0", "", ["p/c"], 1)
    assert is_quiet(world)


async def test_the_child_ends_before_the_parent_parks(world: World) -> None:
    """The parent's first commit created it; its second one would park, but the result waits."""
    await world.start("p")
    parent = world.claim("A", "p")
    parent.commit("go", [b"Rcall"], children=[world.child()])
    world.claim("B", "p/c").commit("completed", payload=b"out")
    reply = parent.commit("park")
    assert reply[:3] == [Answer.OK, T0, [b"M1 %d Ccp/c\nout" % T0]]
    assert world.status("p") == "running"


async def test_the_parents_worker_died_while_it_was_parked(world: World) -> None:
    parent = await waiting_parent(world)
    assert await world.store.close_worker("A", "")
    world.claim("B", "p/c").commit("completed", payload=b"out")
    again = world.claim("B", "p", nonce="b")
    assert (again.epoch, len(again.inbox)) == (2, 1)
    assert parent.commit("go")[0] == Answer.FENCED
    assert again.commit("completed", take=1)[0] == Answer.ENDED


async def test_woken_on_a_stream_whose_worker_dies_then(world: World) -> None:
    """The entry lies in the stream of the dead: its stream can not be closed before the entry is put back."""
    await waiting_parent(world)
    world.claim("B", "p/c").commit("completed", payload=b"out")
    entry, stream = world.entry("p"), world.keys.worker("A")
    assert not await world.store.close_worker("A", "")
    assert await world.store.release_entry("p", stream, "q", entry, is_crash=True)
    assert await world.store.close_worker("A", "")
    assert world.read("B")[-1] == ("p", world.entry("p"))


async def test_a_frozen_worker_wakes_up(world: World) -> None:
    """Reaped while it lived: whatever it still says changes nothing."""
    await world.start()
    zombie = world.claim("A")
    await world.store.release_entry("r", world.keys.queue("q"), "q", zombie.entry, is_crash=True)
    alive = world.claim("B", nonce="b")
    alive.commit("go", [b"R1"])
    before = world.snapshot()
    assert zombie.commit("completed", [b"Rlate"])[0] == Answer.FENCED
    assert world.claim_reply("A", "r", zombie.entry) == [Answer.STALE]
    assert not await world.store.release_entry("r", world.keys.queue("q"), "q", zombie.entry, epoch=zombie.epoch)
    fence = (zombie.entry, zombie.epoch, zombie.nonce, zombie.seq)
    assert world.run(world.store.resume_runs, [("r", *fence)])[1] == [Answer.STALE]
    assert world.snapshot() == before
    assert alive.commit("completed")[0] == Answer.ENDED


async def test_a_claim_that_arrives_after_its_own_retry(world: World) -> None:
    await world.start()
    copy = world.claim("A")
    ghost = world.caller.sent[-1]
    copy.commit("go", [b"R1"])
    before = world.snapshot()
    assert world.caller.execute(ghost)[1][:2] == [Answer.OK, 1]
    assert world.snapshot() == before
    copy.commit("park")
    before = world.snapshot()
    assert world.caller.execute(ghost)[1] == [Answer.STALE]
    assert world.snapshot() == before


async def test_a_commit_that_arrives_after_its_own_retry(world: World) -> None:
    """By then the run has gone on, parked and been woken: it must not park again."""
    copy = await world.bring("running")
    assert copy
    copy.commit("park", [b"R1"])
    ghost = world.caller.sent[-1]
    await world.store.send_event("r", "e", b"x", 10)
    copy.resume()
    copy.commit("go", take=1)
    before = world.snapshot()
    assert world.caller.execute(ghost) == [Answer.FENCED, T0]
    assert world.snapshot() == before


async def test_a_resume_that_arrives_after_its_own_retry(world: World) -> None:
    copy = await world.bring("ready")
    assert copy
    copy.resume()
    ghost = world.caller.sent[-1]
    copy.commit("park", take=1)
    await world.store.send_event("r", "e2", b"x", 10)
    before = world.snapshot()
    assert world.caller.execute(ghost)[1] == [Answer.STALE]
    assert world.snapshot() == before


async def test_a_cancel_that_arrives_after_its_own_retry(world: World) -> None:
    copy = await world.bring("parked")
    assert copy
    await world.store.cancel_run("r", "why", "t1", 5)
    ghost = world.caller.sent[-1]
    copy.resume()
    copy.commit("cancelled", take=1)
    before = world.snapshot()
    assert world.caller.execute(ghost)[0] == Answer.OK
    assert world.snapshot() == before


async def test_the_number_of_a_message_is_used_again_after_a_loss(world: World) -> None:
    """The server lost the tail of its writes, and another message has the number of the one that was fed."""
    copy = await world.bring("running")
    assert copy
    lost = b"M1 %d Elost" % T0
    world.now = T0 + 1
    await world.store.send_event("r", "e", b"other", 10)
    copy.inbox = [lost]
    before = world.snapshot()
    assert copy.commit("completed", take=1)[0] == Answer.FENCED
    assert world.snapshot() == before


async def test_the_epoch_is_used_again_after_a_loss(world: World) -> None:
    """The nonce tells the two owners apart."""
    await world.start()
    record = world.server.hgetall(world.keys.run("r"))
    old = world.claim("A", nonce="before")
    world.server.delete(world.keys.run("r"))
    world.server.hset(world.keys.run("r"), mapping=record)  # type: ignore[arg-type]
    new = world.claim("B", nonce="after")
    assert (old.epoch, old.entry) == (new.epoch, new.entry)
    before = world.snapshot()
    assert old.commit("completed")[0] == Answer.FENCED
    assert world.snapshot() == before


@pytest.mark.parametrize("first", ["end", "cancel"])
async def test_an_end_races_a_cancel(world: World, first: str) -> None:
    """The first one wins, and whoever asked is told the truth."""
    copy = await world.bring("running")
    assert copy
    if first == "end":
        copy.commit("completed")
        assert not (await world.store.cancel_run("r", "why", "t1", 5))[0]
        assert world.status() == "completed"
    else:
        assert (await world.store.cancel_run("r", "why", "t1", 5))[0]
        copy.inbox = copy.commit("completed")[2]
        copy.commit("cancelled", take=1)
        assert world.status() == "cancelled"


async def test_a_cancel_of_a_parent_reaches_each_generation(world: World) -> None:
    """Marked first, listed second: a child made in between is born cancelled."""
    parent = await waiting_parent(world)
    child = world.claim("B", "p/c")
    await world.store.cancel_run("p", "why", "t1", 50)
    parent.resume()
    parent.commit("go", [b"Rtoo late"], children=[world.child("p/d")])
    assert world.status("p/d") == "cancelled"
    standing = await world.store.standing("p")
    assert (standing.reason, standing.cancel_kids) == ("why", 1)
    listed = world.server.zrange(world.keys.children("p"), 0, standing.cancel_kids - 1)
    assert listed == [b"p/c"]
    assert (await world.store.cancel_run("p/c", standing.reason, "walk", 50))[0]
    await world.store.advance_walk("xp", "0", "")
    child.inbox = world.inbox("p/c")
    child.commit("cancelled", take=1)
    assert [m.split(b" ", 2)[2][:5] for m in world.inbox("p")] == [b"Xwhy", b"Cxp/d", b"Cxp/c"]
    parent.inbox = world.inbox("p")
    parent.commit("cancelled", take=3)
    assert world.timers() == {}


async def test_grace_ends_a_run_that_swallows_its_cancel(world: World) -> None:
    parent = await waiting_parent(world)
    await world.store.cancel_run("p/c", "why", "t1", 50)
    assert world.status("p/c") == "cancelled", "it never started"
    assert parent.resume()[0] == Answer.OK
    await world.store.cancel_run("p", "why", "t2", 50)
    world.now = T0 + 50
    _, due, *_ = await world.store.poll_due(10)
    assert due == ["gp"]
    assert (await world.store.settle_run("p", "grace", "cancelled", b"why"))[0]
    before = world.snapshot()
    assert parent.commit("completed", take=1) == [Answer.FENCED, T0 + 50]
    assert world.snapshot() == before


async def test_an_event_races_a_park(world: World) -> None:
    for order in ("event first", "park first"):
        id = order.replace(" ", "-")
        await world.start(id)
        copy = world.claim("A", id)
        if order == "event first":
            await world.store.send_event(id, "e", b"x", 10)
            assert copy.commit("park")[0] == Answer.OK
        else:
            assert copy.commit("park")[0] == Answer.PARKED
            await world.store.send_event(id, "e", b"x", 10)
            assert copy.resume()[0] == Answer.OK
        assert copy.inbox == [b"M1 %d Ex" % T0]


async def test_an_event_races_a_timer(world: World) -> None:
    """Whichever comes second finds the run ready and adds no second entry."""
    for first in ("event", "timer"):
        copy = await world.bring("running", first)
        assert copy
        copy.commit("park", due_ms=T0)
        world.ack(copy)
        for what in (first, "timer", "event"):
            if what == "event":
                await world.store.send_event(first, "e", b"x", 10)
            else:
                await world.store.fire_timers(["w" + first])
        assert world.status(first) == "ready"
        assert world.stream(world.keys.worker("A")) == [("r", first)]
        world.read("A")
        copy.resume()
        copy.commit("completed")
        world.ack(copy)
    assert is_quiet(world)


async def test_a_run_claimed_through_a_read_after_it_was_reaped(world: World) -> None:
    """A dead worker's blocked read is served late: the entry it gets is nobody else's, and is put back."""
    await world.start()
    world.read("dead")
    assert await world.store.release_entry("r", world.keys.queue("q"), "q", world.entry(), is_crash=True)
    world.read("dead")
    late = world.entry()
    assert await world.store.release_entry("r", world.keys.queue("q"), "q", late, is_crash=True)
    assert world.read("B") == [("r", world.entry())]
    assert await world.store.drop_consumer("q", "dead")


async def test_a_parked_run_is_one_key_of_many_and_costs_no_entry(world: World) -> None:
    copy = await world.bring("parked")
    assert copy
    assert set(world.snapshot()) == {"run:r", "journal:r", "index", "queue:q", "worker:A", "worker:B"}
    assert is_quiet(world)


async def test_nothing_is_left_but_what_has_a_time_to_live(world: World) -> None:
    parent = await waiting_parent(world)
    child = world.claim("B", "p/c")
    await world.store.send_event("p/c", "e", b"x", 10)
    await world.store.send_event("p", "e", b"x", 10)
    child.commit("failed", payload=b"boom")
    world.ack(child)
    parent.resume()
    parent.commit("failed", take=2)
    world.ack(parent)
    await world.store.expire_children("ep", "0", "", ["p/c"], 1_000)
    left = {name for name, (_, expires) in world.snapshot().items() if expires == -1}
    assert left == {"index", "queue:q", "worker:A", "worker:B"}
