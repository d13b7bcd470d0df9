"""C1, C2, C4-C6: what a cancel does to a run and its tree, and what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Durable, Limits, RunCancelled, RunNotFound, Status

from . import flows_c as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


def given(world: World, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, **more}


async def assert_cancelled(world: World, id: str, reason: str) -> None:
    info = await world.durable.get(id)
    assert (info.status, info.reason) == (Status.CANCELLED, reason)
    last = (await world.durable.history(id))[-1]
    assert (last.kind, last.detail["reason"]) == ("cancelled", reason)


async def until_noted(world: World, line: str) -> None:
    await world.until(lambda: line in world.ledger.lines(), f"{line!r} is noted")


# ---------------------------------------------------------------------- C1


async def test_c01_pending_run_is_cancelled_at_once(world: World) -> None:
    handle = await world.durable.start(flows.stuck_in_step, given(world), id="r")
    assert await handle.cancel("changed my mind") is True
    await assert_cancelled(world, "r", "changed my mind")
    with pytest.raises(RunCancelled, match="changed my mind"):
        await handle.result(timeout=5)
    await world.drive()
    await assert_cancelled(world, "r", "changed my mind")
    assert world.ledger.lines() == []


async def test_c01_delayed_run_is_cancelled_at_once(world: World) -> None:
    await world.durable.start(flows.plain, 1, id="r", delay=3600)
    assert await world.durable.cancel("r", "changed my mind")
    await assert_cancelled(world, "r", "changed my mind")
    assert world.look().timers == {}


async def test_c01_waiting_run_is_told_and_cleans_up_with_durable_steps(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.waits_and_cleans, given(world), id="r")
        await world.until_status("r", Status.WAITING)
        assert await handle.cancel("no stock") is True
        with pytest.raises(RunCancelled) as caught:
            await world.result(handle)
    assert caught.value.reason == "no stock"
    await assert_cancelled(world, "r", "no stock")
    world.assert_ran("told no stock", "cleanup", "cleanup after a sleep")


@pytest.mark.parametrize("how", ["swallows", "raises"])
async def test_c01_cancel_is_kept_whatever_the_body_makes_of_it(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(getattr(flows, f"waits_and_{how}"), given(world), id="r")
        await world.until_status("r", Status.WAITING)
        assert await handle.cancel("no stock") is True
        await world.outcome(handle)
    await assert_cancelled(world, "r", "no stock")


async def test_c01_running_step_is_cancelled_and_no_further_one_starts(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.stuck_in_step, given(world), id="r")
        await until_noted(world, "step 0")
        assert await handle.cancel("no stock") is True
        await world.outcome(handle)
    await assert_cancelled(world, "r", "no stock")
    counts = world.ledger.counts()
    assert set(counts) <= {"step 0", "step 0 cancelled"}
    assert IS_CROWD or (set(counts.values()) == {1} and len(counts) == 2)


async def test_c01_step_that_completes_all_the_same_is_ignored(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.late_step, given(world), id="r")
        await until_noted(world, "begun")
        assert await handle.cancel("no stock") is True
        await world.outcome(handle)
        if not IS_CROWD:
            await until_noted(world, "swallowed")
    await assert_cancelled(world, "r", "no stock")
    assert [e.kind for e in await world.durable.history("r")] == ["started", "cancel", "cancelled"]


async def test_c01_thread_that_ends_late_is_ignored(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.late_thread, given(world), id="r")
        await until_noted(world, "begun")
        assert await handle.cancel("no stock") is True
        await world.outcome(handle)
        world.ledger.note("release")
        if not IS_CROWD:
            await until_noted(world, "thread ends")
    await assert_cancelled(world, "r", "no stock")
    assert [e.kind for e in await world.durable.history("r")] == ["started", "cancel", "cancelled"]


# ---------------------------------------------------------------------- C2

KINDS = {"pending": "pending", "delayed": "pending", "waiting": "waiting"}
BOTH = ("p", "p/family")


async def grown_family(world: World) -> None:
    """A tree of which every run is where it is going to stay."""
    await world.durable.start(flows.family, given(world, level=1), id="p")
    for parent in BOTH:
        await world.until_status(parent, Status.WAITING)
        await world.until_status(f"{parent}/done", Status.COMPLETED)
        for kind, status in KINDS.items():
            await world.until_status(f"{parent}/{kind}", status)
    await world.until(lambda: world.ledger.counts()["step 0"] >= 2, "both running children are in their steps")


async def family_ended(world: World) -> None:
    for parent in reversed(BOTH):
        for kind in (*KINDS, "running"):
            await world.until_status(f"{parent}/{kind}", Status.CANCELLED)
        await world.until_status(parent, Status.CANCELLED)


async def test_c02_whole_subtree_is_cancelled(world: World) -> None:
    async with world.workers(concurrency=20):
        await grown_family(world)
        assert await world.durable.cancel("p", "storm") is True
        await family_ended(world)
    await assert_cancelled(world, "p", "storm")
    for parent in BOTH:
        done = await world.durable.get(f"{parent}/done")
        assert (done.status, done.output) == (Status.COMPLETED, int(parent == "p"))
        for child in await world.durable.list_children(parent, status=Status.CANCELLED):
            assert child.reason is not None and child.reason.endswith("p was cancelled: storm"), child
        assert len(await world.durable.list_children(parent, status=Status.CANCELLED)) == (5 if parent == "p" else 4)


async def test_c03_canceller_that_dies_once_the_root_is_marked_leaves_nothing_active(world: World) -> None:
    """Everything after the mark is durable work of whoever lives."""
    async with world.workers(concurrency=20):
        await grown_family(world)
    async with Durable(world.url, namespace=world.namespace) as canceller:
        assert await canceller.cancel("p", "storm") is True
    async with world.workers(concurrency=20):
        await family_ended(world)
    assert world.look().active() == {}


# ---------------------------------------------------------------------- C4


@pytest.mark.parametrize("kind", ["immortal", "endless"])
async def test_c04_body_that_never_ends_is_cut_after_the_grace(world: World, kind: str) -> None:
    world.limits = {"cancel_grace": 0.3}
    async with world.workers(concurrency=2):
        parent = await world.durable.start(flows.calls, given(world, kind=kind), id="p")
        await world.until_status("p/kid", Status.WAITING)
        impatient = Durable(world.url, namespace=world.namespace, limits=Limits(cancel_grace=0.3))
        async with impatient:
            assert await impatient.cancel("p/kid", "enough") is True
        assert await world.result(parent) == {"error": "ChildCancelled", "reason": "enough"}
    await assert_cancelled(world, "p/kid", "enough")
    if not IS_CROWD:  # there, the grace may be over before anybody has come to run the cleanup
        world.assert_ran("swallowed" if kind == "immortal" else "cleanup")


# ---------------------------------------------------------------------- C5


async def test_c05_pending_run_is_terminated(world: World) -> None:
    handle = await world.durable.start(flows.plain, 1, id="r")
    assert await world.durable.terminate("r", "stop") is True
    with pytest.raises(RunCancelled, match="terminated: stop"):
        await handle.result(timeout=5)
    assert await world.durable.terminate("r") is False
    await assert_cancelled(world, "r", "terminated: stop")


@pytest.mark.parametrize("kind", ["waiting", "running"])
async def test_c05_no_user_code_runs_after_terminate(world: World, kind: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.terminated, given(world, kind=kind), id="r")
        if kind == "waiting":
            await world.until_status("r", Status.WAITING)
        else:
            await until_noted(world, "begun")
        assert await world.durable.terminate("r", "stop") is True
        await assert_cancelled(world, "r", "terminated: stop")
        with pytest.raises(RunCancelled):
            await world.result(handle)
        # Whatever the worker had in hand of it is dropped by the time it has done something else.
        other = await world.durable.start(flows.plain, 7)
        assert await world.result(other) == 7
    assert "user code" not in world.ledger.lines()
    await assert_cancelled(world, "r", "terminated: stop")


async def test_c05_terminate_of_a_tree(world: World) -> None:
    async with world.workers(concurrency=20):
        await grown_family(world)
        assert await world.durable.terminate("p", "stop") is True
        await assert_cancelled(world, "p", "terminated: stop")
        await family_ended(world)
        for parent in BOTH:
            for child in await world.durable.list_children(parent, status=Status.CANCELLED):
                assert child.reason is not None and "terminated: stop" in child.reason, child


# ---------------------------------------------------------------------- C6


async def test_c06_second_cancel_is_false_and_changes_nothing(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.waits_and_cleans, given(world), id="r")
        await world.until_status("r", Status.WAITING)
        assert await handle.cancel("first") is True
        assert await handle.cancel("second") is False
        await world.outcome(handle)
        assert await handle.cancel("third") is False
    await assert_cancelled(world, "r", "first")


async def test_c06_completed_run_is_not_cancelled(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.plain, 1, id="r")
        assert await world.result(handle) == 1
    assert await handle.cancel() is False
    assert await world.durable.terminate("r") is False
    info = await handle.info()
    assert (info.status, info.output, info.reason) == (Status.COMPLETED, 1, None)


async def test_c06_unknown_run(world: World) -> None:
    with pytest.raises(RunNotFound, match="'nobody'"):
        await world.durable.cancel("nobody")
    with pytest.raises(RunNotFound, match="'nobody'"):
        await world.durable.terminate("nobody")


async def test_c06_run_that_cancels_itself_from_a_step(world: World) -> None:
    """The step is cancelled by its own doing; cleanup runs; the run ends cancelled."""
    async with world.workers():
        more = {"url": world.url, "namespace": world.namespace, "id": "r"}
        handle = await world.durable.start(flows.cancels_itself, given(world, **more), id="r")
        await world.outcome(handle)
    await assert_cancelled(world, "r", "from inside")
    world.assert_ran("cancels", "cleanup")


async def test_c06_run_that_cancels_itself_is_cancelled_for_its_parent(world: World) -> None:
    async with world.workers(concurrency=2):
        more = {"url": world.url, "namespace": world.namespace, "kind": "self"}
        handle = await world.durable.start(flows.calls, given(world, **more), id="p")
        assert await world.result(handle) == {"error": "ChildCancelled", "reason": "from inside"}


async def test_c06_child_that_cancels_its_ancestor_from_a_step(world: World) -> None:
    async with world.workers(concurrency=2):
        more = {"url": world.url, "namespace": world.namespace}
        handle = await world.durable.start(flows.has_rebel, given(world, **more), id="p")
        await world.outcome(handle)
        rebel = await world.until_status("p/rebel", Status.CANCELLED)
    await assert_cancelled(world, "p", "from inside")
    assert rebel.reason is not None and rebel.reason.endswith("p was cancelled: from inside")
