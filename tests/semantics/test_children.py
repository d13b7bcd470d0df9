"""O2-O8, O12: a parent and its child, seen from outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

from durable_async import CrashLoop, RunFailed, Status

from . import flows_children as flows
from .harness import Process, World

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


@pytest.mark.parametrize("moment", ["pending", "waiting"])
@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_o05_parent_of_a_child_that_is_ended_directly_is_told_at_once(
    world: World, how: str, moment: str
) -> None:
    workflow = flows.calls_never_served if moment == "pending" else flows.calls_waits
    async with world.workers():
        handle = await world.durable.start(workflow, *([] if moment == "pending" else ["go"]), id="p")
        await world.until_status("p", Status.WAITING)
        await world.until_status("p/kid", moment)
        assert await getattr(world.durable, how)("p/kid", "no stock")
        got = await world.result(handle)
    assert got["cancelled"] == ("no stock" if how == "cancel" else "terminated: no stock")
    child = await world.durable.get("p/kid")
    assert (child.status, child.reason) == (Status.CANCELLED, got["cancelled"])


async def test_o05_parent_of_a_running_child_that_is_cancelled_is_told(world: World) -> None:
    async with world.workers(concurrency=2):
        handle = await world.durable.start(flows.calls_stuck, {"ledger": world.ledger.path}, id="p")
        await world.until(lambda: "stuck" in world.ledger.lines(), "the child's step runs")
        assert await world.durable.cancel("p/kid", "no stock")
        assert await world.result(handle) == {"cancelled": "no stock"}


async def test_o05_parent_of_a_crash_looping_child_is_told(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_poison, {"ledger": world.ledger.path}, id="p")

        async def victim_died() -> bool:
            # Theirs alone: in a crowd two of the others may well die over the parent before it has called its child.
            process = world.process(["poison"], lease=0.4, limits={"crash_loop": 2})
            await world.until(lambda: not process.is_alive or ended(), "poison kills its worker, or is ended")
            return ended()

        def ended() -> bool:
            return world.raw.hget(world.keys.run("p/kid"), "status") == "failed"

        await world.until(victim_died, "the child is a CrashLoop")
        got = await world.result(handle)
    assert got == {"failed": "CrashLoop"}
    # One whose heartbeat comes too late lets its claim go before the step has begun: it counts.
    assert 1 <= world.ledger.counts()["poison"] <= 2
    with pytest.raises(CrashLoop):
        await world.durable.run("p/kid").result(timeout=5)


async def test_o06_child_that_ends_before_its_parent_knows_that_it_has_parked(world: World) -> None:
    """The wake-up overtakes the reply to the commit that made the child."""
    async with world.worker() as parents, world.worker(["kids"]):
        commit_run = parents.runner.store.commit_run

        def held_back(commit: Any, on_reply: Any) -> None:
            def replied(reply: Any) -> None:
                waiters.append(asyncio.create_task(when_child_ended(on_reply, reply)))

            commit_run(commit, replied if commit.children else on_reply)

        async def when_child_ended(on_reply: Any, reply: Any) -> None:
            await world.until_status("p/kid", Status.COMPLETED)
            # Also the wake-up has been written, and most likely read.
            on_reply(reply)

        waiters: list[asyncio.Task[None]] = []
        parents.runner.store.commit_run = held_back  # type: ignore[method-assign]
        handle = await world.durable.start(flows.calls_double, {"ledger": world.ledger.path, "n": 1}, id="p")
        assert await world.result(handle) == {"got": 2, "steps": ["before", "after"]}
    assert world.ledger.counts() == {"before": 1, "child": 1, "after": 1}
    kinds = [e.kind for e in await world.durable.history("p")]
    assert kinds.count("child_completed") == 1


async def test_o06_child_that_ends_while_its_parent_runs_a_step(world: World) -> None:
    async with world.workers(), world.workers(["kids"]):
        handle = await world.durable.start(flows.calls_beside_step, {"ledger": world.ledger.path, "n": 3}, id="p")
        await world.until_status("p/kid", Status.COMPLETED)
        world.ledger.note("release")
        assert await world.result(handle) == [6, "released"]
    kinds = [e.kind for e in await world.durable.history("p")]
    assert kinds.count("child_completed") == 1


@pytest.mark.parametrize("workflow", [flows.calls_instant, flows.starts_instant])
async def test_o07_worker_killed_around_every_transition(world: World, workflow: Any) -> None:
    """Each of many runs has a queue and a doomed worker of its own, which dies around its nth transition."""
    cases = [(at, after) for at in range(1, 12) for after in (False, True)]
    names = [f"{workflow.name}-{at}-{'after' if after else 'before'}" for at, after in cases]
    doomed = [
        world.process([name], lease=1.0, die_at=at, die_after_reply=after)
        for name, (at, after) in zip(names, cases, strict=True)
    ]
    given = {"ledger": world.ledger.path}
    handles = [await world.durable.start(workflow, {**given, "queue": name}, id=name, queue=name) for name in names]
    for process, handle in zip(doomed, handles, strict=True):
        await world.until(
            partial(dead_or_done, world, process, handle.id), f"the worker of {handle.id} dies, or is not needed"
        )
    died = sum(not process.is_alive for process in doomed)
    assert died >= 8
    for process in doomed:
        process.kill()
    async with world.workers(names, lease=1.0):
        for handle in handles:
            # Not through the handle: a worker that dies between the end and its push leaves the client to its own look.
            run = await world.until_status(handle.id, Status.COMPLETED)
            assert run.output == ([1, 2] if workflow is flows.calls_instant else f"{handle.id}/one")
        await world.settled()
    for handle in handles:
        children = {c.ref: (c.status, c.output) for c in await handle.children()}
        assert children["one"] == (Status.COMPLETED, 1)
        assert len(children) == (2 if workflow is flows.calls_instant else 1)
        kinds = Counter(e.kind for e in await world.durable.history(handle.id))
        assert kinds["child_started"] == len(children)


def dead_or_done(world: World, process: Process, id: str) -> bool:
    return not process.is_alive or world.raw.hget(world.keys.run(id), "status") == "completed"


@pytest.mark.parametrize("child_queue", ["default", "kids"])
async def test_o08_worker_killed_while_the_parent_is_parked(world: World, child_queue: str) -> None:
    first = world.process()
    given = {"ledger": world.ledger.path, "queue": child_queue}
    handle = await world.durable.start(flows.steps_and_a_child, given, id="p")
    await world.until_status("p", Status.WAITING)
    if child_queue == "default":
        await world.until_status("p/kid", Status.WAITING)
        first.kill()
        await world.until(lambda: not first.is_alive, "the worker is dead")
        await world.durable.send_event("p/kid", "go", "late")
    else:
        first.kill()
        await world.until(lambda: not first.is_alive, "the worker is dead")
        async with world.workers(["kids"]):
            await world.until_status("p/kid", Status.WAITING)
            await world.durable.send_event("p/kid", "go", "late")
            await world.until_status("p/kid", Status.COMPLETED)
    async with world.workers(lease=1.0):
        assert await world.result(handle) == ["first", "second", "late", "third"]
    world.assert_ran("first", "second", "third")
    assert [c.id for c in await handle.children()] == ["p/kid"]


async def test_o12_started_children_live_alone(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.two_starts, {"ledger": world.ledger.path}, id="p")
        assert await world.result(handle) == ["p/one", "p/two"]
        assert (await handle.info()).status is Status.COMPLETED
        for id in ("p/one", "p/two"):
            await world.until_status(id, Status.WAITING)
        await world.durable.send_event("p/two", "go")
        await world.until_status("p/two", Status.COMPLETED)
        children = await handle.children()
        assert [(c.id, c.status, c.parent_id) for c in children] == [
            ("p/one", Status.WAITING, "p"),
            ("p/two", Status.COMPLETED, "p"),
        ]
        one, several = Status.WAITING, ["completed", "waiting"]
        assert [c.ref for c in await handle.children(status=one)] == ["one"]
        assert [c.ref for c in await world.durable.list_children("p", status=several)] == ["one", "two"]
        assert await world.durable.list_children("p", status="failed") == []
        await world.durable.send_event("p/one", "go")
        await world.until_status("p/one", Status.COMPLETED)
    world.assert_ran("one", "two")


async def test_o12_started_children_can_be_awaited_later(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.starts_then_awaits, {}, id="p")
        assert await world.result(handle) == [1, 2]


async def test_o13_child_that_ended_is_not_run_again_for_what_fails_after_it(world: World) -> None:
    async with world.workers(["default", "kids"]):
        handle = await world.durable.start(flows.stumbles_after_child, {"ledger": world.ledger.path, "n": 5}, id="p")
        assert await world.result(handle) == [10, 3]
    world.assert_ran("child")
    assert [e.attempt for e in await world.durable.history("p") if e.kind == "attempt_failed"] == [1, 2]


async def test_o15_three_levels(world: World) -> None:
    async with world.workers():
        assert await world.result(await world.durable.start(flows.top, 1)) == 112
