"""watch: what happens to a run, as it happens, each entry of its history once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from durable_async import Durable, ErrorInfo, Event, Handle, RunNotFound, Status, StoreUnavailable
from durable_async.client import watching
from durable_async.client.listener import Listener
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows_watching as flows
from .harness import IS_CROWD, PATIENCE_S, MakeWorld, World

FLOWS = [flows]


async def watched(events: AsyncIterator[Event]) -> list[Event]:
    """All of them, with the patience of this mode."""
    async with asyncio.timeout(PATIENCE_S):
        return [event async for event in events]


def recorded(events: list[Event]) -> list[tuple[str, Any]]:
    """What the history holds: everything but what the run was seen to do in between."""
    return [(e.kind, dict(e.data)) for e in events if e.kind != "status"]


def statuses(events: list[Event]) -> list[Status]:
    return [e.data["status"] for e in events if e.kind == "status"]


async def lead_on(world: World, handle: Handle[Any]) -> None:
    """What `tells` waits for."""
    await handle.send_event("go")

    async def asked() -> bool:
        return bool(await world.durable.pending_inputs(handle.id))

    await world.until(asked, "it asks")
    await world.durable.provide_input(handle.id, "how", 4)


ALL = [
    ("progress", {"done": 0, "total": 3, "message": ""}),
    ("step", {"what": "step", "name": "add_one", "attempt": 1}),
    ("progress", {"done": 1, "total": 3, "message": "added"}),
    ("context", {"key": "n", "value": 1}),
    ("child", {"what": "child_started", "name": "r/kid", "workflow": "kid", "awaited": True}),
    ("child", {"what": "child_completed", "name": "r/kid"}),
    ("timer", {"what": "timer"}),
    ("progress", {"done": 2.5, "total": None, "message": ""}),
    ("event", {"what": "event", "name": "go"}),
    ("event", {"what": "input_asked", "name": "how", "kind": "number"}),
    ("event", {"what": "input_answered", "name": "how"}),
    ("progress", {"done": 3, "total": 3, "message": "done"}),
]


def check_all(events: list[Event]) -> None:
    """Everything that `tells` does, in its order. Where the event came before the wait, its place may differ."""
    found = recorded(events)
    for _, data in found:
        data.pop("duration", None)
    by_kind = sorted(found, key=repr)
    assert by_kind == sorted(ALL, key=repr)
    assert [f for f in found if f[1].get("name") != "go"] == [f for f in ALL if f[1].get("name") != "go"]
    assert [e.run_id for e in events] == ["r"] * len(events)
    assert statuses(events)[0] is Status.PENDING and statuses(events)[1] is Status.RUNNING
    assert events[-1].kind == "status" and events[-1].data == {"status": Status.COMPLETED}


async def test_everything_is_seen_once_in_order(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.tells, {}, id="r")
        task = asyncio.create_task(watched(handle.watch()))
        await lead_on(world, handle)
        assert await world.result(handle) == 6
        check_all(await task)
    # And again, once it is over.
    check_all(await watched(handle.watch()))


async def test_from_any_event_on_comes_the_rest(world: World) -> None:
    """`after=` neither loses nor repeats, in another client as well."""
    async with world.workers():
        handle = await world.durable.start(flows.tells, {}, id="r")
        task = asyncio.create_task(watched(handle.watch()))
        await lead_on(world, handle)
        events = await task
    async with Durable(world.url, namespace=world.namespace) as other:
        for n, event in enumerate(events):
            rest = await watched(other.run("r").watch(event.id))
            assert recorded(rest) == recorded(events[n + 1 :])
            assert (statuses(rest)[-1:] or [Status.COMPLETED]) == [Status.COMPLETED]
        assert await watched(other.run("r").watch(events[-1].id)) == []


async def test_broken_off_and_taken_up_again_all_the_way(world: World) -> None:
    """A watcher that leaves after every second event, while the run goes on, sees what one sees that stays."""
    async with world.workers():
        handle = await world.durable.start(flows.counts, {"n": 60}, id="r")
        seen: list[Event] = []
        async with asyncio.timeout(PATIENCE_S):
            while not seen or not statuses(seen)[-1].is_terminal:
                async with aclosing(handle.watch(seen[-1].id if seen else None)) as events:
                    for _ in range(2):
                        found = await anext(events, None)
                        seen += [found] if found is not None else []
    assert [d["done"] for kind, d in recorded(seen) if kind == "progress"] == list(range(60))
    assert [kind for kind, _ in recorded(seen)].count("step") == 12
    assert [s for s in statuses(seen) if s.is_terminal] == [Status.COMPLETED]


async def test_the_hint_comes_from_whoever_commits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No look by the clock is needed, but for what no commit tells."""
    monkeypatch.setattr(watching, "LOOK_S", 3600.0)
    if IS_CROWD:
        pytest.skip("a worker that dies between its commit and the hint leaves it to the next look")
    async with world.workers():
        handle = await world.durable.start(flows.says_and_waits, 1, id="r")
        async with aclosing(handle.watch()) as events:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    event = await anext(events)
                    if event.kind == "progress" or event.data.get("status") is Status.WAITING:
                        break
                await world.until_status("r", Status.WAITING)
                await handle.send_event("go", "x")
                rest = [event async for event in events]
    assert rest[-1].data == {"status": Status.COMPLETED}
    assert ("event", {"what": "event", "name": "go"}) in recorded(rest)


async def test_without_hints_it_looks_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.05)
    async with world.workers():
        handle = await world.durable.start(flows.tells, {}, id="r")
        # As if every hint were lost.
        monkeypatch.setattr(Listener, "watch", lambda listener, id: asyncio.Event())
        task = asyncio.create_task(watched(handle.watch()))
        await lead_on(world, handle)
        check_all(await task)


async def test_connections_that_break_lose_nothing(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.counts, {"n": 200}, id="r")
        events: list[Event] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in handle.watch():
                events.append(event)
                if len(events) % 40 == 0:
                    world.raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert [d["done"] for kind, d in recorded(events) if kind == "progress"] == list(range(200))


@pytest.fixture
async def lasting_server(anyio_backend: str) -> AsyncIterator[EphemeralServer]:
    """A server that keeps its data over a restart."""
    async with ephemeral_server(appendonly=True, fsync="always") as server:
        yield server


async def test_a_restart_of_the_server_loses_nothing(lasting_server: EphemeralServer, make_world: MakeWorld) -> None:
    world = await make_world(lasting_server.url)
    handle = await world.durable.start(flows.tells, {}, id="r")
    task = asyncio.create_task(watched(handle.watch()))
    await world.until(lambda: "~" in (world.raw.hget(world.keys.run("r"), "client") or ""), "it is watched")
    lasting_server.kill()
    lasting_server.restart()
    world.allow()
    async with world.workers():
        await lead_on(world, handle)
        check_all(await task)


async def test_a_run_of_several_attempts_is_told_to_the_end_of_the_last(world: World) -> None:
    """A life that begins anew begins with `pending`; what was not seen of the one before is gone."""
    async with world.workers():
        handle = await world.durable.start(flows.works_the_second_time, id="r")
        events = await watched(handle.watch())
    assert statuses(events)[-1] is Status.COMPLETED
    attempts = [e.data["attempt"] for e in events if e.data.get("status") is Status.PENDING]
    assert attempts in ([2], [1, 2])
    failed, said, _ = recorded(events)[-3:]
    assert (failed[0], failed[1]["what"], failed[1]["error"].message) == (
        "event",
        "run_attempt_failed",
        "the first time",
    )
    assert said == ("progress", {"done": 2, "total": None, "message": ""})
    assert events[-1].id.startswith("2-")
    # An id of the first life leads to the beginning of the second one.
    for after in ("1-1-running", "1-40-waiting"):
        assert recorded(await watched(handle.watch(after))) == recorded(events)[-3:]


async def test_a_run_that_goes_on_anew_is_told_to_its_end(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.goes_on_anew, 0, id="r")
        events = await watched(handle.watch())
    said = [d["done"] for kind, d in recorded(events) if kind == "progress"]
    assert said == sorted(set(said)) and said[-1] == 3
    assert statuses(events)[-1] is Status.COMPLETED


async def test_a_failure_says_why(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fails, id="r")
        events = await watched(handle.watch())
    steps = [e.data for e in events if e.kind == "step"]
    assert [(s["what"], s["attempt"], s["error"].message) for s in steps] == [
        ("attempt_failed", 1, "broken"),
        ("step_failed", 2, "broken"),
    ]
    assert steps[0]["retry_at"] > events[0].at
    last = events[-1].data
    assert last["status"] is Status.FAILED
    assert isinstance(last["error"], ErrorInfo) and (last["error"].type, last["error"].message) == (
        "ValueError",
        "broken",
    )


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_an_end_from_outside_ends_it(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.says_and_waits, 1, id="r")
        task = asyncio.create_task(watched(handle.watch()))
        await world.until_status("r", Status.WAITING)
        assert await getattr(world.durable, how)("r", "enough")
        events = await task
    last = events[-1].data
    assert last["status"] is Status.CANCELLED
    assert last["reason"] == ("enough" if how == "cancel" else "terminated: enough")


async def test_what_never_starts(world: World) -> None:
    handle = await world.durable.start(flows.dozes, 1, id="r", delay=3600)
    task = asyncio.create_task(watched(handle.watch()))
    await world.until(lambda: "~" in (world.raw.hget(world.keys.run("r"), "client") or ""), "it is watched")
    await handle.cancel("never mind")
    assert statuses(await task) == [Status.PENDING, Status.CANCELLED]


async def test_a_watcher_that_leaves_is_taken_off_the_list(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.says_and_waits, 1, id="r")

        def marks() -> int:
            return (world.raw.hget(world.keys.run("r"), "client") or "").count("~")

        async with aclosing(handle.watch()) as one, aclosing(handle.watch()) as two:
            await anext(one)
            await anext(two)
            assert marks() == 1
            await one.aclose()
            assert marks() == 1
        await world.until(lambda: not marks(), "nobody is listed")
        await handle.send_event("go", "x")
        assert await world.result(handle) == "x"


async def test_who_waits_for_the_result_is_not_disturbed(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.counts, {"n": 40}, id="r")
        watching_task = asyncio.create_task(watched(handle.watch()))
        assert await world.result(handle) == 40
        assert statuses(await watching_task)[-1] is Status.COMPLETED


async def test_an_unknown_run(world: World) -> None:
    with pytest.raises(RunNotFound, match="nobody"):
        await watched(world.durable.run("nobody").watch())


async def test_a_closed_client_ends_it(world: World) -> None:
    await world.durable.start(flows.dozes, 1, id="r", delay=3600)
    async with Durable(world.url, namespace=world.namespace) as other:
        events = other.run("r").watch()
        await anext(events)
        task = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(StoreUnavailable):
            await task
    await world.durable.terminate("r")


BAD_AFTER: list[Any] = [
    "",
    "1",
    "1-2",
    "0-1-running",
    "1-2-bogus",
    "1--2-running",
    "1-2-running ",
    "x" * 10_000,
    7,
    b"1",
]


@pytest.mark.parametrize("after", BAD_AFTER, ids=lambda a: repr(a)[:20])
async def test_what_is_no_id(world: World, after: Any) -> None:
    watch: Callable[..., Any] = world.durable.run("r").watch
    with pytest.raises(ValueError, match="after must be the id of an event"):
        watch(after=after)
