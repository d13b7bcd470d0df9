"""Damage done by hand, one kind after the other: the workers mend it by themselves, and every run ends as it should."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import redis

from durable_async import RunCancelled, Status
from durable_async.engine.records import LETTERS

from . import flows_v
from .harness import World

FLOWS = [flows_v]
LEASE_S = 0.6


def clear_others(world: World) -> None:
    """What is listed nowhere is found by a scan of the whole server: what other tests left there takes its time."""
    with redis.Redis.from_url(world.admin_url) as server:
        left = [key for key in server.scan_iter(count=1000) if not key.startswith(world.keys.base.encode())]
        for at in range(0, len(left), 1000):
            server.unlink(*left[at : at + 1000])


@pytest.fixture
def world(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    world.is_damaged = True
    clear_others(world)
    caplog.set_level(logging.WARNING, "durable_async.worker")
    yield world
    # What is said is what was counted, unless it was said by another process.
    said = [r for r in caplog.records if r.getMessage().endswith("_gone)") and "mended" in r.getMessage()]
    assert len(said) <= sum(world.mended().values())


def record(world: World, id: str, *names: str) -> list[str]:
    return [value or "" for value in world.raw.hmget(world.keys.run(id), list(names))]  # type: ignore[union-attr]


async def parked(world: World, id: str) -> None:
    await world.until(lambda: record(world, id, "status") == ["parked"], f"{id} is parked")


@pytest.mark.parametrize("how", ["deleted", "acked", "trimmed", "renamed"])
async def test_d40_ready_without_its_entry(world: World, how: str) -> None:
    handle = await world.durable.start(flows_v.echo, 1, id="r")
    queue, (entry,) = world.keys.queue("default"), record(world, "r", "entry")
    if how == "deleted":
        world.raw.xdel(queue, entry[1:])
    elif how == "trimmed":
        world.raw.xtrim(queue, 0)
    elif how == "renamed":
        world.raw.hset(world.keys.run("r"), "entry", "Q1-1")
    else:
        world.raw.xgroup_create(queue, "workers", "0")
        world.raw.xreadgroup("workers", "gone", {queue: ">"})
        world.raw.xgroup_delconsumer(queue, "workers", "gone")
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == 1
        if how != "renamed":  # there, whoever reads the real one acks it as garbage first
            assert world.mended() == {"entry_gone": 1}


async def test_d40_running_without_its_entry(world: World) -> None:
    """Nobody but its owner would ever come back to it. It is fenced; its step may run again."""
    async with world.workers(lease=LEASE_S):
        handle = await world.durable.start(flows_v.holds, {"ledger": world.ledger.path, "line": "held"}, id="r")
        await world.until(lambda: "held" in world.ledger.lines(), "the step runs")
        (entry,) = record(world, "r", "entry")
        world.raw.xdel(world.keys.queue("default"), entry[1:])
        await world.until(lambda: world.mended().get("entry_gone"), "it is mended")
        world.ledger.note("release")
        assert await world.result(handle) == "held"


async def test_a_delay_without_its_timer(world: World) -> None:
    handle = await world.durable.start(flows_v.echo, 1, id="r", delay=0.3)
    world.raw.delete(world.keys.timers)
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == 1
    assert world.mended() == {"timer_gone": 1}


async def test_timers_and_blocked_runs_that_do_not_exist(world: World) -> None:
    world.raw.zadd(world.keys.timers, {"wnobody": 4e12, "gnobody": 4e12})
    world.raw.hset(world.keys.blocked, "nobody", "echo")
    async with world.workers(lease=LEASE_S):
        await world.until(lambda: world.mended().get("timer_left"), "they are gone")
    assert not world.raw.exists(world.keys.timers, world.keys.blocked)


@pytest.mark.parametrize("what", ["message", "message and wake-up"])
async def test_parked_on_a_child_that_has_ended(world: World, what: str) -> None:
    async with world.worker():
        parent = await world.durable.start(flows_v.calls_waits, "go", id="p")
        await parked(world, "p")
    async with world.worker(["kids"]):
        await parked(world, "p/kid")
        await world.durable.send_event("p/kid", "go", "told")
        await world.until_status("p/kid", Status.COMPLETED)
    world.raw.delete(world.keys.inbox("p"))
    if what != "message":
        world.raw.xtrim(world.keys.queue("default"), 0)
        world.raw.hset(world.keys.run("p"), mapping={"status": "parked", "entry": "", "mail": 0})
    async with world.workers(lease=LEASE_S):
        assert await world.result(parent) == "told"
        assert world.mended() == {"child_settled": 1}


async def test_parked_with_a_message(world: World) -> None:
    async with world.worker():
        handle = await world.durable.start(flows_v.waits, "go", id="r")
        await parked(world, "r")
    await world.durable.send_event("r", "go", 7)
    world.raw.xtrim(world.keys.queue("default"), 0)
    world.raw.hset(world.keys.run("r"), mapping={"status": "parked", "entry": ""})
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == 7
    assert world.mended() == {"message_left": 1}


async def test_a_walk_that_is_gone(world: World) -> None:
    """The client that cancelled is gone, and so is the list of what is to be done."""
    async with world.worker():
        handle = await world.durable.start(flows_v.has_leavers, ["one", "two"], id="p")
        await world.result(handle)
        await parked(world, "p/one")
        await parked(world, "p/two")
    world.raw.hset(world.keys.run("p"), mapping={"status": "cancelled", "cancel": "why", "cancel_kids": 1})
    async with world.workers(lease=LEASE_S):
        with pytest.raises(RunCancelled, match="ancestor p"):
            await world.result(world.durable.run("p/one"))
        await world.durable.send_event("p/two", "two", 2)
        assert await world.result(world.durable.run("p/two")) == 2, "it was not below the mark"
    assert world.mended()["cancel_gone"] == 1


async def test_a_stream_without_a_worker(world: World) -> None:
    """A worker that died, and nobody knows any more that it ever lived."""
    process = world.process(lease=LEASE_S)
    handle = await world.durable.start(flows_v.waits, "go", id="r")
    await parked(world, "r")
    process.kill()
    await world.until(lambda: not process.is_alive, "it is dead")
    await world.durable.send_event("r", "go", 7)
    assert record(world, "r", "entry")[0].startswith("W")
    world.raw.delete(world.keys.beats, world.keys.workers)
    world.raw.xgroup_delconsumer(world.keys.queue("default"), "workers", record(world, "r", "owner")[0])
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == 7
        (owner,) = record(world, "r", "owner")
    assert owner


async def test_a_run_that_no_list_names(world: World) -> None:
    handle = await world.durable.start(flows_v.echo, 1, id="r")
    world.raw.delete(world.keys.index, world.keys.queue("default"))
    async with world.workers(lease=LEASE_S):
        assert await world.result(handle) == 1
        await world.until(lambda: world.raw.zscore(world.keys.index, "r"), "it is listed")
    assert world.mended() == {"index_gone": 1, "entry_gone": 1}


async def test_what_is_kept_for_ever(world: World) -> None:
    async with world.workers(lease=LEASE_S):
        await world.result(await world.durable.start(flows_v.family, 2, id="p"))
        await world.settled()
        names = [world.keys.run(id) for id in ("p", "p/started", "p/called", "p/called/called")]
        for name in names:
            world.raw.persist(name)
        await world.until(lambda: all(world.raw.pttl(name) > 0 for name in names), "all of it ends some day")  # type: ignore[operator]
        world.raw.rpush(world.keys.journal("nobody"), "S")
        await world.until(lambda: world.raw.pttl(world.keys.journal("nobody")) > 0, "what is left of nobody, too")  # type: ignore[operator]


async def test_the_way_round_comes_to_every_run(world: World) -> None:
    """More runs than one chunk has closer looks."""
    for n in range(130):
        await world.durable.start(flows_v.waits, "go", id=f"r{n}", delay=3600)
    world.raw.delete(world.keys.timers)
    async with world.workers(lease=LEASE_S):
        await world.until(lambda: world.raw.zcard(world.keys.timers) == 130, "all have a timer")
        for n in range(130):
            assert await world.durable.cancel(f"r{n}")
    assert world.mended() == {"timer_gone": 130}
    assert {run[0] for run in world.look().runs.values()} <= set(LETTERS.values())
