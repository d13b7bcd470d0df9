"""V9: lists, histories and trees, right in every state."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest

from durable_async import RunInfo, RunNotFound, RunTree, Status

from . import flows_v as flows
from .harness import World

FLOWS = [flows]
CHILDREN = int(os.environ.get("DURABLE_TEST_CHILDREN", "2000"))


def ids(runs: Any) -> list[str]:
    return [run.id for run in runs]


async def one_of_each(world: World) -> dict[str, Status]:
    """Runs in every state that a run can be in; none of them moves until the caller does something."""
    start = world.durable.start
    ledger = world.ledger.path
    await start(flows.echo, 1, id="completed")
    await start(flows.fails, "boom", id="failed")
    await start(flows.waits, "go", id="cancelled")
    await start(flows.waits, "go", id="waiting")
    await start(flows.calls_waits, "go", id="parent")
    await start(flows.sleeps_long, 1, id="asleep")
    await start(flows.holds, {"ledger": ledger, "line": "held"}, id="running")
    for id, status in (("completed", "completed"), ("failed", "failed"), ("cancelled", "waiting")):
        await world.until_status(id, status)
    await world.durable.cancel("cancelled", "enough")
    await world.until_status("cancelled", Status.CANCELLED)
    await start(flows.echo, 1, id="pending", queue="nobody")
    await start(flows.echo, 1, id="delayed", delay=3600)
    for id in ("waiting", "parent", "asleep"):
        await world.until_status(id, Status.WAITING)
    await world.until_status("running", Status.RUNNING)
    return {
        "completed": Status.COMPLETED,
        "failed": Status.FAILED,
        "cancelled": Status.CANCELLED,
        "waiting": Status.WAITING,
        "parent": Status.WAITING,
        "asleep": Status.WAITING,
        "running": Status.RUNNING,
        "pending": Status.PENDING,
        "delayed": Status.PENDING,
        "parent/kid": Status.PENDING,
    }


async def end_them(world: World) -> None:
    world.ledger.note("release")
    for id in ("waiting", "parent", "asleep", "pending", "delayed"):
        await world.durable.cancel(id)
    await world.until(lambda: not world.look().active(), "all have ended")


async def test_v09_every_state_is_told_by_get_list_and_children(world: World) -> None:
    list_runs = world.durable.list
    async with world.workers(["default", "side"], concurrency=5):
        states = await one_of_each(world)
        assert {run.id: run.status for run in (await list_runs()).items} == states
        for status in Status:
            expected = {id for id, each in states.items() if each is status}
            assert set(ids((await list_runs(status=status)).items)) == expected
        both = (await list_runs(status=["failed", Status.COMPLETED])).items
        assert set(ids(both)) == {"failed", "completed"}
        for id, status in states.items():
            info = await world.durable.get(id)
            assert info.status is status
            check_fields(info)
        assert ids(await world.durable.list_children("parent", status="pending")) == ["parent/kid"]
        assert await world.durable.list_children("parent", status=["running", "failed"]) == []
        await end_them(world)
        assert all(run.status.is_terminal for run in (await list_runs()).items)


WAITING_FOR = {"waiting": "event go", "parent": "child parent/kid"}


def check_fields(info: RunInfo) -> None:
    """What goes with which status."""
    assert (info.finished_at is not None) == info.status.is_terminal
    assert (info.started_at is None) == (info.status is Status.PENDING)
    assert (info.error is not None) == (info.status is Status.FAILED)
    assert (info.reason is not None) == (info.status is Status.CANCELLED)
    assert (info.waiting_for is not None) == (info.status is Status.WAITING)
    if info.id in WAITING_FOR:
        assert info.waiting_for == WAITING_FOR[info.id]
    assert info.root_id == info.id.partition("/")[0]
    assert info.parent_id == (info.root_id if "/" in info.id else None)
    if info.id == "completed":
        assert (info.input, info.output) == (1, 1)
    if info.finished_at and info.started_at:
        assert info.created_at <= info.started_at <= info.finished_at


async def test_v09_filters(world: World) -> None:
    async def listed(**filters: Any) -> set[str]:
        return set(ids((await world.durable.list(**filters)).items))

    async with world.workers(["default", "side"], concurrency=5):
        states = await one_of_each(world)
        assert await listed(workflow="waits") == {"waiting", "cancelled", "parent/kid"}
        assert await listed(workflow="nothing") == set()
        assert await listed(queue="side") == {"failed"}
        assert await listed(queue="kids") == {"parent/kid"}
        assert await listed(id_prefix="p") == {"parent", "pending", "parent/kid"}
        assert await listed(parent="parent") == {"parent/kid"}
        assert await listed(parent="waiting") == set()
        assert await listed(top_level=True) == set(states) - {"parent/kid"}
        assert await listed(workflow="waits", status="waiting", top_level=True) == {"waiting"}
        await end_them(world)
    moment = (await world.durable.get("pending")).created_at
    assert await listed(since=moment) >= {"pending", "delayed"}
    assert "completed" not in await listed(since=moment)
    assert "delayed" not in await listed(until=moment - timedelta(milliseconds=1))
    assert await listed(since=moment, until=moment) >= {"pending"}
    assert await listed(since=moment + timedelta(hours=1)) == set()


async def test_v09_pages(world: World) -> None:
    for n in range(25):
        await world.durable.start(flows.echo, n, id=f"r{n:02}", delay=3600)
    expected = [f"r{n:02}" for n in reversed(range(25))]
    created = [(await world.durable.get(id)).created_at for id in expected]
    assert created == sorted(created, reverse=True)
    for limit in (1, 7, 25, 100):
        found, cursor, sizes = [], None, []
        while True:
            page = await world.durable.list(limit=limit, cursor=cursor)
            found += ids(page.items)
            sizes.append(len(page.items))
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(found) == sorted(expected)
        assert all(size == limit for size in sizes[:-1])
    first = await world.durable.list(limit=5)
    for wrong in ({"limit": 0}, {"limit": 1001}, {"cursor": "nonsense"}, {"cursor": first.cursor, "parent": "r00"}):
        with pytest.raises(ValueError, match=r"limit|cursor"):
            await world.durable.list(**wrong)
    for id in expected:
        assert await world.durable.cancel(id)


async def test_v09_history_tells_everything_in_order(world: World) -> None:
    given = {"ledger": world.ledger.path, "n": 1}
    async with world.workers():
        handle = await world.durable.start(flows.busy, given, id="r")
        await world.result(handle)
    history = await world.durable.history("r")
    assert [event.index for event in history] == list(range(len(history)))
    # What the body asked for when a timer fired bears the time for which that was set.
    times = [event.at for event in history if event.kind != "child_started"]
    assert times == sorted(times)
    kinds = [event.kind for event in history]
    assert kinds[0] == "started" and kinds[-1] == "completed"
    assert kinds.count("step") == 2
    assert [event.name for event in history if event.kind == "child_started"] == ["r/kid"]
    assert [event.name for event in history if event.kind == "child_completed"] == ["r/kid"]
    (told,) = (event for event in history if event.kind == "child_completed")
    assert told.at <= history[-1].at
    for event in history:
        if event.kind == "step":
            assert event.attempt == 1 and event.duration is not None and event.duration >= timedelta(0)
    with pytest.raises(RunNotFound):
        await world.durable.history("nobody")


async def test_v09_tree(world: World) -> None:
    def shape(tree: RunTree) -> Any:
        return {tree.run.ref: [shape(child) for child in tree.children]}

    async with world.workers():
        handle = await world.durable.start(flows.family, 2, id="r")
        await world.result(handle)
        await world.settled()
    tree = await world.durable.tree("r")
    assert tree.run.id == "r"
    inner = [{"started": []}, {"called": []}]
    assert shape(tree) == {None: [{"started": []}, {"called": inner}]}
    assert tree.children[1].run.context == {"level": 1}
    assert shape(await world.durable.tree("r/called")) == {"called": inner}
    with pytest.raises(RunNotFound):
        await world.durable.tree("nobody")


async def test_v09_tree_of_thousands_of_children_is_paged(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.has_children, CHILDREN, id="p")
        await world.until_status("p", Status.WAITING)
        await world.settled()
        await handle.send_event("go")
        assert await world.result(handle) == CHILDREN
    expected = [f"p/c{n}" for n in range(CHILDREN)]
    found, cursor, pages = [], None, 0
    with world.counting() as commands:
        while True:
            page = await world.durable.list(parent="p", limit=500, cursor=cursor)
            found += page.items
            cursor, pages = page.cursor, pages + 1
            if cursor is None:
                break
    assert ids(found) == expected[::-1], "newest first"
    assert {run.status for run in found} == {Status.COMPLETED}
    assert [run.output for run in found] == list(range(CHILDREN))[::-1]
    assert pages <= CHILDREN // 500 + 1
    assert commands["zrange"] <= CHILDREN // 200 + 2 * pages
    assert ids(await handle.children()) == expected
    assert ids(await world.durable.list_children("p", status=["pending", "failed"])) == []
    everything = await world.durable.list(limit=1000)
    assert len(everything.items) == min(1000, CHILDREN + 1)
    assert everything.cursor is not None or CHILDREN < 1000
