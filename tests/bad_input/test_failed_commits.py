"""A commit that the store refuses: the run is blocked, once, holds no slot and no entry, and goes on when mended."""

from __future__ import annotations

from . import flows
from .bench import PATIENCE_S, Bench

QUEUES = ["default", "nobody"]


async def test_a_damaged_key_of_another_run_blocks_the_one_that_needs_it(bench: Bench) -> None:
    """The parent's inbox cannot be written, so its child cannot end."""
    async with bench.worker(queues=QUEUES) as worker:
        handle = await bench.durable.start(flows.calls, id="p")
        await bench.until_status("p", "parked")
        await bench.until_status("p/kid", "parked")
        bench.server.set(bench.keys.inbox("p"), "planted")
        await bench.durable.send_event("p/kid", "go", 7)
        await bench.until_status("p/kid", "blocked")
        assert bench.field("p/kid", "waiting").startswith("data: a commit failed: WRONGTYPE")
        assert len(bench.errors("run p/kid of workflow 'waits' is blocked")) == 1
        await bench.alive()
        await bench.until(lambda: not worker.runner.intake.held, "no entry is held")
        assert worker.runner.intake.slots.active == 0
    assert bench.server.hget(bench.keys.blocked, "p/kid") == b"waits"
    bench.server.delete(bench.keys.inbox("p"))
    async with bench.worker(queues=QUEUES):
        assert await handle.result(timeout=PATIENCE_S) == 7


async def test_a_block_that_is_refused_as_well_leaves_the_worker_alive(bench: Bench) -> None:
    """The run's entry stays until somebody else comes, or this worker looks again."""
    async with bench.worker(queues=QUEUES) as worker:
        await bench.durable.start(flows.calls, id="p")
        await bench.until_status("p/kid", "parked")
        await bench.until_status("p", "parked")
        bench.server.set(bench.keys.inbox("p"), "planted")
        bench.server.set(bench.keys.blocked, "planted")
        await bench.durable.send_event("p/kid", "go", 7)
        await bench.until(lambda: bench.errors("run p/kid: a commit failed"), "it is said")
        await bench.alive()
        assert worker.runner.intake.slots.active == 0
    bench.server.delete(bench.keys.inbox("p"), bench.keys.blocked)
    async with bench.worker(queues=QUEUES):
        assert await bench.durable.run("p").result(timeout=PATIENCE_S) == 7
