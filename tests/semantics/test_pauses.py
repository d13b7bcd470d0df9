"""V6: pausing and resuming a queue is cluster-wide and immediate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_async import Durable, Handle, Limits, RunCancelled, Status

from . import flows_pauses as flows
from .harness import World

FLOWS = [flows]
BOTH = ("default", "mail")


def of_mail(world: World) -> dict[str, Any]:
    return {id: run for id, run in world.look().runs.items() if run[3] == "mail"}


def begun(world: World) -> set[str]:
    """The runs of the queue that were claimed at least once."""
    return {id for id, run in of_mail(world).items() if run[8]}


def running(world: World) -> set[str]:
    return {id for id, run in of_mail(world).items() if run[0] == "running"}


async def others_go_on(world: World, n: int = 30) -> None:
    """Whatever the workers have been about to do, they have done it when this returns."""
    handles = [await world.durable.start(flows.other, i) for i in range(n)]
    assert [await world.result(handle) for handle in handles] == list(range(n))


async def test_v06_nothing_is_started_once_pause_has_returned(world: World) -> None:
    """Three workers and more that take runs as fast as they can."""
    handles: list[Handle[int]] = []

    async def keep_starting() -> None:
        while True:
            handles.append(await world.durable.start(flows.send, len(handles)))

    async with world.workers(BOTH):
        for _ in range(2):
            world.process(BOTH)
        starting = asyncio.create_task(keep_starting())
        await world.until(lambda: len(begun(world)) > 100, "many have begun")
        await world.durable.pause_queue("mail")
        then = begun(world)
        before = len(handles)
        await world.until(lambda: len(handles) > before + 100, "many more are there")
        await others_go_on(world)
        await world.until(lambda: not running(world), "those that had begun have ended")
        await others_go_on(world)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert begun(world) == then
        assert not running(world)
        await world.durable.resume_queue("mail")
        assert [await world.result(handle) for handle in handles] == list(range(len(handles)))


async def test_v06_waiting_runs_stay_where_they_are_and_lose_nothing(world: World) -> None:
    ledger = world.ledger.path
    async with world.workers(BOTH):
        got = [await world.durable.start(flows.gets, ledger, id=f"got{n}") for n in range(3)]
        for handle in got:
            await world.until_status(handle.id, Status.WAITING)
        await world.durable.pause_queue("mail")
        nap = await world.durable.start(flows.naps, ledger, id="nap", delay=0.05)
        for n, handle in enumerate(got):
            await world.durable.send_event(handle.id, "go", n, event_id="e")
        await world.until(lambda: of_mail(world)["nap"][0] == "ready", "its time has come")
        await others_go_on(world)
        assert {run[0] for run in of_mail(world).values()} == {"ready"}
        statuses = [(await handle.info()).status for handle in got]
        assert statuses == [Status.WAITING] * 3
        assert world.ledger.lines() == []
        await world.durable.resume_queue("mail")
        assert [await world.result(handle) for handle in got] == ["got 0", "got 1", "got 2"]
        assert await world.result(nap) == "awake"


async def test_v06_running_runs_go_on_to_their_end(world: World) -> None:
    async with world.worker(BOTH):
        handle = await world.durable.start(flows.works, world.ledger.path)
        await world.until(lambda: "begun" in world.ledger.lines(), "it has begun")
        await world.durable.pause_queue("mail")
        world.ledger.note("release")
        assert await world.result(handle) == "more"
        await world.durable.resume_queue("mail")


async def test_v06_cancels_of_a_paused_queue(world: World) -> None:
    async with world.workers(BOTH):
        started = await world.durable.start(flows.tidies, world.ledger.path, id="started")
        await world.until_status("started", Status.WAITING)
        await world.durable.pause_queue("mail")
        fresh = await world.durable.start(flows.send, 1, id="fresh")
        assert await world.durable.cancel("fresh") and await world.durable.cancel("started", "enough")
        assert (await world.outcome(fresh)).status is Status.CANCELLED
        await others_go_on(world)
        assert (await started.info()).status is Status.WAITING
        assert world.ledger.lines() == []
        await world.durable.resume_queue("mail")
        with pytest.raises(RunCancelled, match="enough"):
            await world.result(started)
        world.assert_ran("tidied")


async def test_v06_the_grace_of_a_cancel_ends_in_a_paused_queue_too(world: World) -> None:
    world.limits = {"cancel_grace": 0.1}
    async with world.workers(BOTH):
        started = await world.durable.start(flows.tidies, world.ledger.path)
        await world.until_status(started.id, Status.WAITING)
        await world.durable.pause_queue("mail")
        short = Durable(world.url, namespace=world.namespace, limits=Limits(**world.limits))
        async with short:
            assert await short.cancel(started.id, "enough")
        assert (await world.outcome(started)).status is Status.CANCELLED
        assert world.ledger.lines() == []
        await world.durable.resume_queue("mail")


async def test_v06_a_child_in_a_paused_queue_holds_its_parent_up(world: World) -> None:
    await world.durable.pause_queue("mail")
    async with world.workers(BOTH):
        handle = await world.durable.start(flows.orders, 5, id="p")
        await world.until_status("p/kid", Status.PENDING)
        await others_go_on(world)
        assert (await world.durable.get("p")).waiting_for == "child p/kid"
        assert (await world.durable.get("p/kid")).status is Status.PENDING
        await world.durable.resume_queue("mail")
        assert await world.result(handle) == 5


async def test_v06_workers_that_come_and_go_meanwhile(world: World) -> None:
    """Also one that serves nothing but the paused queue, and one that is to leave when nothing is runnable."""
    handles = [await world.durable.start(flows.send, n) for n in range(5)]
    await world.durable.pause_queue("mail")
    async with world.worker(BOTH):
        await others_go_on(world)
    async with world.worker(["mail"]):
        assert not begun(world)
    assert await world.durable.run_worker(["mail"], burst=True)
    process = world.process(["mail"])
    await world.until(lambda: world.durable.workers(), "it is there")
    process.terminate()
    await world.until(lambda: not process.is_alive, "it leaves")
    assert not begun(world)
    assert len(world.raw.xrange(world.keys.queue("mail"))) == 5  # type: ignore[arg-type]  # redis-py's own union
    await world.durable.resume_queue("mail")
    async with world.workers(["mail"]):
        assert [await world.result(handle) for handle in handles] == list(range(5))


async def test_v06_again_and_again(world: World) -> None:
    async def paused() -> dict[str, bool]:
        return {queue.name: queue.paused for queue in await world.durable.queues()}

    await world.durable.resume_queue("mail")
    assert await paused() == {}
    await world.durable.pause_queue("mail")
    await world.durable.pause_queue("mail")
    assert await paused() == {"mail": True}
    async with world.workers(BOTH):
        for n in range(5):
            handle = await world.durable.start(flows.send, n)
            await others_go_on(world, 3)
            assert (await handle.info()).status is Status.PENDING
            await world.durable.resume_queue("mail")
            assert await world.result(handle) == n
            await world.durable.pause_queue("mail")
        await world.durable.resume_queue("mail")
        assert not any((await paused()).values())
