"""O21: what reaches a run whose step is in flight.

Times are the server's, as the history has them. In the plain mode what follows a message is recorded within 250 ms of
it; that includes the step which the body runs next.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from durable_async import Handle, Status
from durable_async.shapes import HistoryEvent

from . import flows_in_flight as flows
from .harness import IS_CROWD, MODE, World

FLOWS = [flows]
SOON = timedelta(milliseconds=250)


async def start(world: World, workflow: Any) -> Handle[Any]:
    handle = await world.durable.start(workflow, {"ledger": world.ledger.path}, id="p")
    await world.until(lambda: "in flight" in world.ledger.lines(), "the step is in flight")
    return handle


def at(history: list[HistoryEvent], kind: str, name: str = "") -> datetime:
    found = [e.at for e in history if e.kind == kind and (not name or e.name == name)]
    assert len(found) == 1, [(e.kind, e.name) for e in history]
    return found[0]


def assert_soon(earlier: datetime, later: datetime) -> None:
    assert earlier <= later
    assert MODE != "plain" or later - earlier <= SOON


async def test_o21_event(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.beside_an_event)
        await world.durable.send_event("p", "go", 1)
        # The step is still in flight: nobody has released it.
        await world.until(lambda: "went on" in world.ledger.lines(), "the body has gone on")
        world.ledger.note("release")
        assert await world.result(handle) == [1, "released"]
    history = await world.durable.history("p")
    assert_soon(at(history, "event"), at(history, "step", "mark"))


async def test_o21_child_result_and_the_step_that_is_given_up(world: World) -> None:
    async with world.workers(concurrency=2):
        handle = await start(world, flows.beside_a_child)
        await world.until_status("p/kid", Status.WAITING)
        await world.durable.send_event("p/kid", "go", 1)
        assert await world.result(handle) == [1, True]
        await world.until(lambda: "step cancelled" in world.ledger.lines(), "the step is cancelled")
    history = await world.durable.history("p")
    assert_soon(at(history, "child_completed"), at(history, "step", "mark"))
    assert not [e for e in history if e.name == "in_flight"]


async def test_o21_timeout_around_the_step(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.beside_a_timeout)
        assert await world.result(handle) == ["went on"]
        # A worker that was killed over the step cancels nothing any more.
        if not IS_CROWD:
            await world.until(lambda: "step cancelled" in world.ledger.lines(), "the step is cancelled")
    history = await world.durable.history("p")
    started = (await handle.info()).started_at
    assert started is not None
    due = started + timedelta(seconds=0.3)
    assert_soon(due, at(history, "timer"))
    assert_soon(due, at(history, "step", "mark"))


async def test_o21_timeout_of_a_call_beside_the_step(world: World) -> None:
    async with world.workers(concurrency=2):
        handle = await start(world, flows.beside_a_call_that_times_out)
        assert await world.result(handle) == ["late", "went on"]
        await world.until_status("p/kid", Status.CANCELLED)
    history = await world.durable.history("p")
    assert_soon(at(history, "child_started") + timedelta(seconds=0.3), at(history, "timer"))


async def test_o21_cancel(world: World) -> None:
    async with world.workers():
        handle = await start(world, flows.until_cancelled)
        assert await handle.cancel("enough")
        assert (await world.outcome(handle)).status is Status.CANCELLED
        await world.until(lambda: "step cancelled" in world.ledger.lines(), "the step is cancelled")
    history = await world.durable.history("p")
    assert_soon(at(history, "cancel"), at(history, "cancelled"))
    world.assert_ran("cleaned up")
