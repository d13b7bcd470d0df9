"""fire_timer: a run whose time has come is made ready, once; a timer that nothing waits for goes."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, T0, Copy, World


async def asleep(world: World, due_ms: int = T0 + 100) -> Copy:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", [b"Rsleep"], due_ms=due_ms)
    world.ack(copy)
    return copy


@pytest.mark.parametrize("letter", ["w", "d"])
@pytest.mark.parametrize("state", STATES)
async def test_a_timer_that_nothing_waits_for_goes(world: World, state: str, letter: str) -> None:
    await world.bring(state)
    world.now = T0 + 1_000
    before = world.snapshot()
    world.server.zadd(world.keys.timers, {letter + "r": T0})
    await world.store.fire_timers([letter + "r"])
    if state == "delayed" and letter == "d":
        assert (world.status(), world.timers(), world.field("r", "timer")) == ("ready", {}, "")
        assert world.read("B") == [("r", world.entry())]
        after = world.snapshot()
        assert world.repeat() == [Answer.DONE]
        assert world.snapshot() == after
    else:
        assert world.snapshot() == before


async def test_a_sleeper_is_woken_where_it_lives(world: World) -> None:
    copy = await asleep(world)
    world.now = T0 + 100
    await world.store.fire_timers(["wr"])
    assert (world.status(), world.timers(), world.field("r", "timer")) == ("ready", {}, "")
    assert world.read("A") == [("r", world.entry())]
    after = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == after
    assert copy.resume() == [Answer.OK, []]


async def test_on_the_queue_if_its_worker_left(world: World) -> None:
    await asleep(world)
    world.server.delete(world.keys.worker("A"))
    world.now = T0 + 100
    await world.store.fire_timers(["wr"])
    assert world.read("B") == [("r", world.entry())]
    assert not world.server.exists(world.keys.worker("A"))


async def test_too_early_by_the_server_fires_nothing(world: World) -> None:
    await asleep(world)
    world.now = T0 + 99
    before = world.snapshot()
    await world.store.fire_timers(["wr"])
    assert world.snapshot() == before


async def test_parked_again_for_later_while_the_timer_was_handed_out(world: World) -> None:
    copy = await asleep(world)
    world.now = T0 + 100
    _, members, *_ = await world.store.poll_due(10)
    assert members == ["wr"]
    await world.store.send_event("r", "e", b"x", 10)
    copy.resume()
    copy.commit("park", take=1, due_ms=T0 + 900)
    await world.store.fire_timers(members)
    assert (world.status(), world.timers()) == ("parked", {"wr": T0 + 900})


async def test_parked_again_without_a_time(world: World) -> None:
    copy = await asleep(world)
    world.now = T0 + 100
    _, members, *_ = await world.store.poll_due(10)
    await world.store.send_event("r", "e", b"x", 10)
    copy.resume()
    copy.commit("park", take=1)
    await world.store.fire_timers(members)
    assert (world.status(), world.timers()) == ("parked", {})


async def test_fired_while_running_it_parks_for_the_same_time_again(world: World) -> None:
    """The timer went as void; the next park arms it anew, and it fires at once."""
    copy = await asleep(world)
    world.now = T0 + 100
    await world.store.send_event("r", "e", b"x", 10)
    copy.resume()
    await world.store.fire_timers(["wr"])
    assert world.timers() == {}
    copy.commit("park", take=1, due_ms=T0 + 100)
    await world.store.fire_timers((await world.store.poll_due(10))[1])
    assert world.status() == "ready"


async def test_a_worker_that_took_the_run_meanwhile_means_another_look(world: World) -> None:
    await asleep(world)
    world.now = T0 + 100
    before = world.snapshot()
    k = world.keys
    keys = [k.run("r"), k.timers, k.worker("Z"), k.queue("q")]
    assert world.eval("fire_timer", keys, (world.now, "wr", "Z")) == [Answer.RETRY]
    assert world.snapshot() == before


@pytest.mark.parametrize("timer", ["", "soon", "nan"])
async def test_a_damaged_time_is_void(world: World, timer: str) -> None:
    await asleep(world)
    world.server.hset(world.keys.run("r"), "timer", timer)
    await world.store.fire_timers(["wr"])
    assert world.timers() == {}


async def test_a_run_that_was_put_back_leaves_no_timer_of_its_last_park(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", due_ms=T0 + 9_000)
    await world.store.send_event("r", "e", b"x", 10)
    await world.store.release_entry("r", world.keys.worker("A"), "q", world.entry(), delay_ms=50)
    assert world.timers() == {"wr": T0 + 9_000, "dr": T0 + 50}
    world.now = T0 + 50
    await world.store.fire_timers(["dr"])
    assert (world.status(), world.timers()) == ("ready", {})


async def test_a_batch(world: World) -> None:
    for id in ("a", "b"):
        await world.start(id, delay_ms=5)
    world.now = T0 + 5
    await world.store.fire_timers(["da", "dgone", "db"])
    assert {world.status(id) for id in ("a", "b")} == {"ready"}
