"""O2-O8, O12: a parent and its child, seen from outside."""

from __future__ import annotations

import pytest

from durable_async import RunFailed, Status

from . import flows_children as flows
from .harness import World

FLOWS = [flows]


async def test_o02_parent_waits_for_a_child_whose_queue_nobody_serves(world: World) -> None:
    given = {"ledger": world.ledger.path, "n": 21}
    handle = await world.durable.start(flows.calls_double, given, id="p")
    await world.drive()
    parent = await handle.info()
    assert parent.status is Status.WAITING
    assert parent.waiting_for == "child p/kid"
    assert [e.name for e in await world.durable.history("p") if e.kind == "step"] == ["mark"]
    world.assert_ran("before")
    (child,) = await handle.children()
    assert (child.id, child.parent_id, child.root_id, child.ref) == ("p/kid", "p", "p", "kid")
    assert (child.status, child.workflow, child.queue) == (Status.PENDING, "double", "kids")

    # O3: a worker of the child's queue alone lets the child end; the parent goes on when its own queue is served.
    await world.drive("kids")
    child = await world.durable.get("p/kid")
    assert (child.status, child.output) == (Status.COMPLETED, 42)
    await world.drive()
    assert await world.result(handle) == {"got": 42, "steps": ["before", "after"]}
    world.assert_ran("before", "child", "after")


async def test_o03_parent_gets_the_output_and_nothing_else(world: World) -> None:
    async with world.workers(["default", "kids"]):
        handle = await world.durable.start(flows.calls_double, {"ledger": world.ledger.path, "n": 4}, id="p")
        assert await world.result(handle) == {"got": 8, "steps": ["before", "after"]}
    parent, child = await handle.info(), await world.durable.get("p/kid")
    assert child.context == {"secret": "child's own"}
    assert parent.context == {}
    world.assert_ran("before", "child", "after")


async def test_o04_caught_failure_of_a_child(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.catches, "boom", id="p")
        got = await world.result(handle)
    assert (got["id"], got["workflow"], got["type"], got["message"]) == ("p/bad", "fails", "ValueError", "boom")
    assert "raise ValueError(message)" in got["traceback"]
    child = await world.durable.get("p/bad")
    assert child.status is Status.FAILED
    assert child.error is not None and child.error.message == "boom"


async def test_o04_uncaught_failure_of_a_child_fails_the_parent_with_it_as_the_cause(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.lets_fail, "boom", id="p")
        with pytest.raises(RunFailed) as caught:
            await world.result(handle)
    error = caught.value.error
    assert error.type == "ChildFailed"
    assert error.cause is not None and (error.cause.type, error.cause.message) == ("ValueError", "boom")
    assert (await handle.info()).status is Status.FAILED
