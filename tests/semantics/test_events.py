"""W4, W6-W9: events."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import RunNotFound, RunNotWaiting, Status

from . import flows_waits as flows
from .harness import IS_CROWD, World

FLOWS = [flows]
PAYLOADS = [None, False, "", 0, [], {"a": 1}, "text", (1, 2), b"bytes"]
UNICODE = ["ä ö ü", "名前", "a-b_c.d:e", "🚚", "with space", "\u0301", "'quoted'\n", "/", "x" * 128, "{curly}*?[a]"]


async def test_w04_event_during_the_wait(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes, ["go"], id="p")
        info = await world.until_status("p", Status.WAITING)
        assert info.waiting_for == "event go"
        await handle.send_event("go", 1)
        assert await world.result(handle) == [1]


async def test_w04_event_before_the_run_starts(world: World) -> None:
    handle = await world.durable.start(flows.takes, ["go"], id="p")
    await handle.send_event("go", "early")
    async with world.workers():
        assert await world.result(handle) == ["early"]


async def test_w04_event_before_its_wait(world: World) -> None:
    async with world.workers():
        given = {"ledger": world.ledger.path, "names": ["a", "b", "a"]}
        handle = await world.durable.start(flows.takes_after, given, id="p")
        await world.until_status("p", Status.WAITING)
        for n, name in enumerate(["b", "a", "unrelated", "a"]):
            await handle.send_event(name, n)
        await world.settled()
        await handle.send_event("start")
        assert await world.result(handle) == [1, 0, 3]


async def test_w04_event_after_a_wait_goes_to_the_next_one(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes, ["go", "other", "go"], id="p")
        await handle.send_event("go", 1)
        await handle.send_event("go", 2)
        await handle.send_event("other", 3)
        assert await world.result(handle) == [1, 3, 2]


async def test_w04_two_waits_of_one_name_take_two_events_in_order(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes_together, ["go", "go", "go"], id="p")
        await world.until_status("p", Status.WAITING)
        for n in range(3):
            await handle.send_event("go", n)
        assert await world.result(handle) == [0, 1, 2]


async def test_w04_every_payload_is_a_payload(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes, ["go"] * len(PAYLOADS), id="p")
        for payload in PAYLOADS:
            await handle.send_event("go", payload)
        assert await world.result(handle) == PAYLOADS


@pytest.mark.parametrize("value", [None, False, "late", {"a": [1]}], ids=repr)
async def test_w06_timeout_returns_a_value(world: World, value: Any) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.impatient, {"value": value}, id="p")
        await world.until_status("p", Status.WAITING)
        await handle.send_event("end", "over")
        assert await world.result(handle) == [value, "over"]


async def test_w06_timeout_raises(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.impatient, {}, id="p")
        await handle.send_event("end", "over")
        assert await world.result(handle) == [["raised", True], "over"]


async def test_w06_event_at_the_deadline_has_one_outcome(world: World) -> None:
    runs = 200
    async with world.workers():
        # Deadlines pass about as fast as events are sent.
        handles = [
            await world.durable.start(flows.just_in_time, {"timeout": 0.1 + 0.002 * n}, id=f"p{n}") for n in range(runs)
        ]
        for handle in handles:
            await handle.send_event("go", "event")
        for handle in handles:
            assert await world.result(handle) in (["event", None], ["late", "event"])
            kinds = [e.kind for e in await world.durable.history(handle.id)]
            assert kinds.count("event") == 1


async def test_w07_same_event_id_twice_is_one_event(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes, ["go", "go", "end"], id="p")
        await handle.send_event("go", 1, event_id="one")
        await handle.send_event("go", "again", event_id="one")
        await world.settled()
        await handle.send_event("go", "and again", event_id="one")
        await handle.send_event("go", 2, event_id="two")
        await handle.send_event("end", 3)
        assert await world.result(handle) == [1, 2, 3]


async def test_w08_event_to_a_run_that_has_ended(world: World) -> None:
    async with world.workers():
        done = await world.durable.start(flows.takes, [], id="done")
        await world.result(done)
        with pytest.raises(RunNotWaiting, match="done"):
            await done.send_event("go")
        gone = await world.durable.start(flows.takes, ["go"], id="gone")
        await world.until_status("gone", Status.WAITING)
        assert await gone.cancel()
        await world.outcome(gone)
        with pytest.raises(RunNotWaiting, match="gone"):
            await gone.send_event("go")


async def test_w08_event_to_an_unknown_run(world: World) -> None:
    with pytest.raises(RunNotFound, match="nobody"):
        await world.durable.send_event("nobody", "go")


async def test_w09_names_of_any_text(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.takes, UNICODE, id="p")
        for n, name in enumerate(UNICODE):
            if not IS_CROWD and n == 0:
                info = await world.until_status("p", Status.WAITING)
                assert info.waiting_for == f"event {name}"
            await handle.send_event(name, n)
        assert await world.result(handle) == list(range(len(UNICODE)))
    names = [e.name for e in await world.durable.history("p") if e.kind == "event"]
    assert names == UNICODE


@pytest.mark.parametrize("name", ["", "x" * 129, "\ud800", 7, None])
async def test_w09_what_is_no_name(world: World, name: Any) -> None:
    with pytest.raises(ValueError, match="event name"):
        await world.durable.send_event("p", name)
