"""A worker inside of another program: whose errors and whose cancels are whose."""

from __future__ import annotations

import asyncio
import sys

import pytest

from durable_async.worker.worker import Worker

from . import flows_v as flows
from .harness import World

FLOWS = [flows]


class LoopDiedError(Exception):
    pass


def kill_a_loop(worker: Worker) -> None:
    async def die() -> None:
        raise LoopDiedError

    worker._timers.run = die  # type: ignore[method-assign]
    (timers,) = (task for task in worker._tasks if task.get_name() == "durable-timers")
    worker._tasks.remove(timers)
    timers.cancel()
    worker._tasks.append(asyncio.get_running_loop().create_task(die()))


async def test_a_loop_that_dies_ends_the_body(world: World) -> None:
    with pytest.raises(LoopDiedError):  # noqa: PT012  # the whole of it is what is tested
        async with world.worker() as worker:
            kill_a_loop(worker)
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test is a task
    assert not world.raw.exists(world.keys.worker(worker.id)), "it has left nevertheless"


async def test_a_loop_that_dies_while_the_body_ends(world: World) -> None:
    with pytest.raises(LoopDiedError) as raised:  # noqa: PT012  # as above
        async with world.worker() as worker:
            kill_a_loop(worker)
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("of the body")
    assert isinstance(raised.value.__cause__, ValueError)


async def test_the_bodys_own_error_is_its_own(world: World) -> None:
    with pytest.raises(ValueError, match="of the body"):
        async with world.worker():
            raise ValueError("of the body")


async def test_somebody_elses_cancel_is_theirs(world: World) -> None:
    is_in = asyncio.Event()

    async def serve() -> None:
        async with world.worker():
            is_in.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await is_in.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_worker_that_was_stopped_early_is_no_failure(world: World) -> None:
    async with world.worker() as worker:
        await worker.stop()
        await asyncio.sleep(0.05)
        assert await world.durable.start(flows.echo, 1, id="r")
    await world.drive()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are never eager there")
async def test_a_program_whose_tasks_start_eagerly_gets_the_outcomes_of_its_steps(world: World) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]  # since 3.12
    try:
        async with world.worker():
            world.ledger.note("at once may end")  # so that the step awaits nothing
            given = {"ledger": world.ledger.path, "line": "at once"}
            handle = await world.durable.start(flows.stuck_once, given, id="eager")
            assert await world.result(handle) == "at once"
    finally:
        loop.set_task_factory(None)
