"""V9: `queues()` and `workers()`, right in every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durable_async import QueueInfo, Status

from . import flows_v as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


async def overview(world: World) -> dict[str, QueueInfo]:
    return {queue.name: queue for queue in await world.durable.queues()}


def counts(queue: QueueInfo) -> tuple[int, int, int]:
    return queue.ready, queue.running, queue.waiting


async def test_v09_nothing_is_there(world: World) -> None:
    assert await world.durable.queues() == []
    assert await world.durable.workers() == []


async def test_v09_queues_are_counted_in_every_state(world: World) -> None:
    start = world.durable.start
    ledger = world.ledger.path
    async with world.workers(concurrency=5):
        await start(flows.echo, 1, id="completed")
        await start(flows.waits, "go", id="waiting")
        await start(flows.sleeps_long, 1, id="asleep")
        await start(flows.calls_waits, "go", id="parent")
        await start(flows.holds, {"ledger": ledger, "line": "held"}, id="running")
        await start(flows.echo, 1, id="delayed", delay=3600)
        await start(flows.echo, 1, id="old", queue="nobody")
        await start(flows.echo, 1, id="new", queue="nobody")
        await start(flows.echo, 1, id="at", queue="later", at=datetime.now(UTC) + timedelta(hours=1))
        await world.until_status("completed", Status.COMPLETED)
        for id in ("waiting", "asleep", "parent"):
            await world.until_status(id, Status.WAITING)

        async def right() -> bool:
            return {name: counts(queue) for name, queue in (await overview(world)).items()} == {
                "default": (0, 1, 4),
                "kids": (1, 0, 0),
                "nobody": (2, 0, 0),
                "later": (0, 0, 1),
            }

        await world.until(right, "every run is counted where it is")
        found = await overview(world)
        assert [q.name for q in await world.durable.queues()] == sorted(found)
        assert not any(queue.paused for queue in found.values())
        assert found["nobody"].workers == found["later"].workers == 0
        assert found["default"].workers >= 1 and (IS_CROWD or found["default"].workers == 1)
        age, created = found["nobody"].oldest_ready_age, (await world.durable.get("old")).created_at
        now = datetime.fromtimestamp(world.look().now_ms / 1000, UTC)
        assert age is not None and timedelta() <= age <= now - created
        assert found["later"].oldest_ready_age is None
        world.ledger.note("release")
        for id in ("waiting", "asleep", "parent", "delayed", "old", "new", "at"):
            await world.durable.cancel(id)
        await world.until(lambda: not world.look().active(), "all have ended")
    assert await overview(world) == {} or IS_CROWD


async def test_v09_workers_say_what_they_do(world: World) -> None:
    before = datetime.now(UTC)
    async with world.worker(["default", "side"], concurrency=7, lease=0.5) as worker:
        await world.durable.start(flows.holds, {"ledger": world.ledger.path, "line": "held"}, id="running")
        await world.durable.start(flows.waits, "go", id="waiting")
        await world.until_status("waiting", Status.WAITING)

        async def told() -> bool:
            return [(w.running, w.resident) for w in await world.durable.workers()] in ([(1, 2)], [(1, 1)])

        await world.until(told, "the next heartbeat tells it")
        (info,) = await world.durable.workers()
        assert (info.id, info.queues, info.concurrency) == (worker.id, ("default", "side"), 7)
        assert info.host and info.pid > 0
        assert before - timedelta(seconds=5) <= info.since <= info.last_seen
        world.ledger.note("release")
        await world.durable.send_event("waiting", "go", 1)
        await world.until(lambda: not world.look().active(), "all have ended")
    assert await world.durable.workers() == []


async def test_v09_a_dead_worker_is_listed_and_not_counted_until_another_one_clears_it_away(world: World) -> None:
    process = world.process(lease=0.5)
    await world.until(lambda: world.durable.workers(), "it is there")
    process.kill()

    async def silent() -> bool:
        return len(await world.durable.workers()) == 1 and await overview(world) == {}

    await world.until(silent, "its heartbeats are too old to count it")
    async with world.worker(lease=0.5) as worker:

        async def cleared() -> bool:
            return [w.id for w in await world.durable.workers()] == [worker.id]

        await world.until(cleared, "it is cleared away")
