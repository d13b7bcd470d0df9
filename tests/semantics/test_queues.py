"""O19: children whose code other processes have."""

from __future__ import annotations

from durable_async import Status

from . import flows_elsewhere, flows_queues
from .harness import World

FLOWS = [flows_queues]


async def test_o19_child_in_a_queue_served_by_another_process_with_other_code(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows_queues.calls_elsewhere, 4, id="p")
        await world.until_status("p/kid", Status.PENDING)
        world.process(["elsewhere"], [flows_elsewhere])
        assert await world.result(handle) == 40
    child = await world.durable.get("p/kid")
    assert (child.queue, child.status) == ("elsewhere", Status.COMPLETED)


async def test_o19_unknown_workflow_is_handed_back_and_runs_once_somebody_knows_it(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows_queues.calls_later, 4, id="p")

        async def reported() -> bool:
            if (await world.durable.list_children("p")) == []:
                return False
            child = await world.durable.get("p/kid")
            return child.waiting_for is not None and "'known_later'" in child.waiting_for

        await world.until(reported, "the child says what it waits for")
        parent, child = await handle.info(), await world.durable.get("p/kid")
        assert parent.status is Status.WAITING
        assert not child.status.is_terminal
    async with world.workers(flows=[flows_queues, flows_elsewhere]):
        assert await world.result(handle) == 80
