"""W1-W3: durable timers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_async import Status
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows_waits as flows
from .harness import CROWD_SIZE, IS_CROWD, MODE, MakeWorld, World

FLOWS = [flows]
LATE = timedelta(milliseconds=50)
SLACK = timedelta(milliseconds=100)
"""For a machine that runs other tests beside these. The bound itself is measured in benchmarks."""


async def test_w01_waiting_says_until_when(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.naps, 3600, id="p")
        info = await world.until_status("p", Status.WAITING)
        assert info.waiting_for is not None and info.started_at is not None
        word, until, moment = info.waiting_for.split(" ")
        assert (word, until) == ("timer", "until")
        due = datetime.fromisoformat(moment)
        assert abs(due - info.started_at - timedelta(hours=1)) < timedelta(milliseconds=2)
        assert await world.durable.terminate("p")
        await world.outcome(handle)


@pytest.mark.parametrize("workflow", [flows.naps, flows.plain_asyncio_nap])
async def test_w01_wakes_in_time(world: World, workflow: Any) -> None:
    naptimes = [0.1 + n / 150 for n in range(150)]
    async with world.workers():
        handles = [await world.durable.start(workflow, nap, id=f"p{n}") for n, nap in enumerate(naptimes)]
        for handle in handles:
            await world.result(handle)
        lateness = []
        for handle, nap in zip(handles, naptimes, strict=True):
            started = (await handle.info()).started_at
            (woken,) = [e.at for e in await world.durable.history(handle.id) if e.kind == "timer"]
            assert started is not None
            lateness.append(woken - started - timedelta(seconds=nap))
    # Due times are rounded up to a millisecond.
    assert min(lateness) >= timedelta(milliseconds=-1)
    assert MODE != "plain" or sorted(lateness)[int(len(lateness) * 0.99)] <= LATE + SLACK


async def test_w01_sleep_until(world: World) -> None:
    async with world.workers():
        took = await world.result(await world.durable.start(flows.naps_until, 0.3))
    assert took >= 0.3


async def test_w01_what_is_over_does_not_wait(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.does_not_wait, id="p")
        assert await world.result(handle) < 60
    assert not [e for e in await world.durable.history("p") if e.kind == "waiting"]


async def test_w01_two_sleeps_are_two_timers(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.two_naps, {"ledger": world.ledger.path}, id="p")
        assert await world.result(handle) == ["first", "second"]
    history = await world.durable.history("p")
    assert [e.kind for e in history if e.kind in ("timer", "step")] == ["timer", "step", "timer", "step"]
    times = [e.at for e in history if e.kind == "timer"]
    assert times[1] - times[0] >= timedelta(seconds=0.1)
    world.assert_ran("first", "second")


async def test_w02_thirty_days_cost_one_member_and_no_slot(world: World) -> None:
    sleepers = 20
    async with world.workers(concurrency=1):
        for n in range(sleepers):
            await world.durable.start(flows.month, {}, id=f"p{n}")
        for n in range(sleepers):
            await world.until_status(f"p{n}", Status.WAITING)
        look = await world.settled()
        assert look.timers.keys() == {f"wp{n}" for n in range(sleepers)}
        assert not look.inboxes
        # The one slot is free, in a crowd that of each worker.
        for n in range(CROWD_SIZE):
            assert await world.result(await world.durable.start(flows.does_not_wait, id=f"free{n}")) < 60
        for n in range(sleepers):
            assert await world.durable.terminate(f"p{n}")


async def test_w03_workers_restarted_during_a_sleep(world: World) -> None:
    given = {"ledger": world.ledger.path, "seconds": 0.5}
    async with world.workers():
        handle = await world.durable.start(flows.nap_and_mark, given, id="p")
        await world.until_status("p", Status.WAITING)
    async with world.workers():
        assert await world.result(handle) == "after"
    world.assert_ran("before", "after")
    assert [e.kind for e in await world.durable.history("p")].count("timer") == 1


@pytest.fixture
async def lasting_server(anyio_backend: str) -> AsyncIterator[EphemeralServer]:
    """A server that keeps its data over a restart."""
    async with ephemeral_server(appendonly=True, fsync="always") as server:
        yield server


async def test_w03_everything_restarted_during_a_sleep(lasting_server: EphemeralServer, make_world: MakeWorld) -> None:
    world = await make_world(lasting_server.url)
    given = {"ledger": world.ledger.path, "seconds": 1.0}
    async with world.workers():
        handle = await world.durable.start(flows.nap_and_mark, given, id="p")
        await world.until_status("p", Status.WAITING)
    lasting_server.kill()
    lasting_server.restart()
    world.allow()
    async with world.workers():
        assert await world.result(handle) == "after"
        await world.settled()
    world.assert_ran("before", "after")
    history = await world.durable.history("p")
    (woken,) = [e.at for e in history if e.kind == "timer"]
    started = (await handle.info()).started_at
    assert started is not None and woken.tzinfo is UTC
    assert woken - started >= timedelta(seconds=1)
    assert IS_CROWD or woken - started <= timedelta(minutes=1)
