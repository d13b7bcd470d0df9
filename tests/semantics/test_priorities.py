"""V7: priorities, delays and `at`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durable_async import Handle, Status

from . import flows_priorities as flows
from .harness import World

FLOWS = [flows]
MIXED = (0, -10, 5, 10, 0, -1, 5, 9, 0, 10, -10, 1)


def turn(world: World, line: str) -> dict[str, Any]:
    return {"ledger": world.ledger.path, "line": line}


async def start_turns(world: World, *priorities: int, prefix: str = "", **more: Any) -> list[Handle[str]]:
    return [
        await world.durable.start(
            flows.takes_turn, turn(world, f"{prefix}{priority} {n}"), id=f"{prefix}t{n}", priority=priority, **more
        )
        for n, priority in enumerate(priorities)
    ]


def in_order(*priorities: int) -> list[str]:
    """Higher first; of equal ones the one that was started first."""
    return [f"{priority} {n}" for n, priority in sorted(enumerate(priorities), key=lambda pair: (-pair[1], pair[0]))]


async def results(world: World, handles: list[Handle[str]]) -> None:
    for handle in handles:
        await world.result(handle)


async def test_v07_higher_comes_first_and_equals_in_order(world: World) -> None:
    handles = await start_turns(world, *MIXED)
    async with world.worker(concurrency=1):
        await results(world, handles)
    assert world.ledger.lines() == in_order(*MIXED)


async def test_v07_every_level_is_served_by_many_workers(world: World) -> None:
    """Whoever dies over them; the order is then not that of one worker."""
    priorities = [n % 21 - 10 for n in range(84)]
    async with world.workers():
        handles = await start_turns(world, *priorities)
        await results(world, handles)
        infos = [await handle.info() for handle in handles]
    assert {(info.status, info.queue) for info in infos} == {(Status.COMPLETED, "default")}
    world.assert_ran(*in_order(*priorities))


async def test_v07_overtakes_what_waits_already(world: World) -> None:
    """Also what comes with a priority that nobody had asked for when the worker started."""
    async with world.worker(concurrency=1):
        held = await world.durable.start(flows.holds, world.ledger.path)
        await world.until(lambda: "held" in world.ledger.lines(), "the only slot is taken")
        low = await start_turns(world, *[0] * 20)
        high = await start_turns(world, 3, 7, prefix="late-")
        await world.until(lambda: world.raw.xinfo_groups(world.keys.queue("default:7")), "it is known")
        world.ledger.note("release")
        await results(world, [*low, *high])
        await world.result(held)
    assert world.ledger.lines()[2:5] == ["late-7 1", "late-3 0", "0 0"]


async def test_v07_an_idle_worker_takes_the_first_of_a_priority(world: World) -> None:
    async with world.worker():
        await world.result(await world.durable.start(flows.takes_turn, turn(world, "first")))
        for priority in (4, -4):
            handle = await world.durable.start(flows.takes_turn, turn(world, str(priority)), priority=priority)
            assert await world.result(handle) == str(priority)


async def test_v07_children_are_as_urgent_as_their_parents(world: World) -> None:
    crowd = await start_turns(world, *[0] * 10, queue="busy")
    async with world.workers():
        parent = await world.durable.start(flows.asks, turn(world, "urgent"), id="p", priority=8)
        await world.until_status("p/kid", Status.PENDING)
    async with world.worker(["default", "busy"], concurrency=1):
        assert await world.result(parent) == "urgent"
        await results(world, crowd)
    assert world.ledger.lines()[0] == "urgent"
    assert (await world.durable.get("p/kid")).queue == "busy"
    assert "p/kid" in {run.id for run in (await world.durable.list(queue="busy")).items}


async def test_v07_a_woken_run_whose_worker_is_gone_keeps_its_priority(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.waits, turn(world, "begun"), id="w", priority=6)
        await world.until_status("w", Status.WAITING)
    low = await start_turns(world, *[0] * 5)
    await world.durable.send_event("w", "go", 1)
    assert len(world.raw.xrange(world.keys.queue("default:6"))) == 1  # type: ignore[arg-type]  # redis-py's own union
    async with world.worker():
        assert await world.result(handle) == 1
        await results(world, low)


async def test_v07_delays_and_times_with_priorities(world: World) -> None:
    start = world.durable.start
    past, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(seconds=0.3)
    late = datetime.now(UTC) + timedelta(days=1)
    delayed = await start(flows.takes_turn, turn(world, "delayed"), id="delayed", delay=0.2, priority=2)
    at = await start(flows.takes_turn, turn(world, "at"), id="at", at=soon, priority=-2)
    passed = await start(flows.takes_turn, turn(world, "passed"), id="passed", at=past)
    never = await start(flows.takes_turn, turn(world, "never"), id="never", at=late, priority=10)
    async with world.workers():
        await results(world, [passed, delayed, at])
        infos = {handle.id: await handle.info() for handle in (delayed, at, passed, never)}
        assert await world.durable.cancel("never")
    started = {id: info.started_at for id, info in infos.items()}
    assert started["never"] is None and infos["never"].status is Status.PENDING
    assert started["delayed"] and started["delayed"] - infos["delayed"].created_at >= timedelta(seconds=0.2)
    assert started["at"] and started["at"] >= soon - timedelta(seconds=0.05), "by the server's clock"
    assert started["passed"]


async def test_v07_a_paused_queue_is_paused_in_all_priorities(world: World) -> None:
    await world.durable.pause_queue("default")
    handles = await start_turns(world, 0, 5, -5)
    async with world.workers(["default", "other"]):
        await world.result(await world.durable.start(flows.takes_turn, turn(world, "other"), queue="other", priority=5))
        assert world.ledger.counts().keys() == {"other"}
        (queue,) = [q for q in await world.durable.queues() if q.name == "default"]
        assert (queue.ready, queue.paused) == (3, True)
        await world.durable.resume_queue("default")
        await results(world, handles)


async def test_v07_the_same_start_with_another_priority_joins(world: World) -> None:
    one = await world.durable.start(flows.takes_turn, turn(world, "one"), id="x", priority=1)
    two = await world.durable.start(flows.takes_turn, turn(world, "one"), id="x", priority=2)
    async with world.workers():
        assert await world.result(one) == await world.result(two) == "one"
    world.assert_ran("one")
