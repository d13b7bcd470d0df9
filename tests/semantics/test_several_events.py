"""W5, W6: waiting for events of several names."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Handle, Status

from . import flows_several as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


async def send(handle: Handle[Any], *events: tuple[str, Any]) -> None:
    for name, payload in events:
        await handle.send_event(name, payload)


async def test_w05_any_takes_the_first_to_arrive_and_leaves_the_others(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.any_of, [["a", "b", "c"]] * 3 + [["a"]], id="p")
        info = await world.until_status("p", Status.WAITING)
        assert IS_CROWD or info.waiting_for == "event a, event b, event c"
        await send(handle, ("c", 1), ("a", 2), ("unrelated", 0), ("b", 3), ("a", 4))
        assert await world.result(handle) == [["c", 1], ["a", 2], ["b", 3], ["a", 4]]


async def test_w05_any_of_what_was_there_before_takes_the_oldest(world: World) -> None:
    rounds = [["a", "b"], ["a", "b"], ["b", "a"], ["a", "b"]]
    async with world.workers():
        handle = await world.durable.start(flows.any_after, {"ledger": world.ledger.path, "rounds": rounds}, id="p")
        await send(handle, ("b", 1), ("a", 2), ("a", 3), ("b", 4))
        await world.settled()
        await handle.send_event("start")
        assert await world.result(handle) == [["b", 1], ["a", 2], ["a", 3], ["b", 4]]


async def test_w05_any_payload_is_a_payload(world: World) -> None:
    payloads = [None, False, "", 0, []]
    async with world.workers():
        handle = await world.durable.start(flows.any_of, [["x", "go"]] * len(payloads), id="p")
        await send(handle, *(("go", payload) for payload in payloads))
        assert await world.result(handle) == [["go", payload] for payload in payloads]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_w05_all_in_any_order(world: World, when: str) -> None:
    handle = await world.durable.start(flows.all_of, ["a", "b", "c"], id="p")
    if when == "before":
        await send(handle, ("c", 1), ("b", 2), ("c", 3), ("a", 4))
    async with world.workers():
        if when == "after":
            await world.until_status("p", Status.WAITING)
            await send(handle, ("c", 1), ("b", 2))
            if not IS_CROWD:
                info = await world.until(lambda: _waits_for(world, "event a"), "one is missing")
                assert info
            await send(handle, ("c", 3), ("a", 4))
        assert await world.result(handle) == [["a", 4], ["b", 2], ["c", 1]]


async def _waits_for(world: World, what: str) -> bool:
    return (await world.durable.get("p")).waiting_for == what


async def test_w05_all_of_nothing(world: World) -> None:
    async with world.workers():
        assert await world.result(await world.durable.start(flows.all_of, [])) == []


async def test_w05_waits_that_share_names_take_turns(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.beside_others, {}, id="p")
        await world.until_status("p", Status.WAITING)
        await send(handle, *(("a", n) for n in range(3)), *(("b", n) for n in range(10, 12)))
        assert await world.result(handle) == {"a": 0, "any": ("a", 1), "all": {"a": 2, "b": 10}, "b": 11}


@pytest.mark.parametrize("value", [None, False, "late"], ids=repr)
async def test_w06_any_timeout_returns_a_value(world: World, value: Any) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.any_in_time, {"timeout": 0.1, "value": value}, id="p")
        await send(handle, ("end", "over"))
        assert await world.result(handle) == [value, "over"]


async def test_w06_any_timeout_raises(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.any_in_time, {"timeout": 0}, id="p")
        await send(handle, ("end", "over"))
        assert await world.result(handle) == [["raised", True], "over"]


@pytest.mark.parametrize("value", [{"value": "late"}, {}], ids=["returns", "raises"])
async def test_w06_all_timeout_leaves_what_had_arrived(world: World, value: dict[str, Any]) -> None:
    given = {"ledger": world.ledger.path, "timeout": 0.3, "left": 4, **value}
    handle = await world.durable.start(flows.all_in_time, given, id="p")
    await send(handle, ("b", 1), ("a", 2), ("b", 3))
    async with world.workers():
        await world.until(lambda: "over" in world.ledger.lines(), "the time is over")
        await send(handle, ("a", 4), ("end", None))
        got, *rest = await world.result(handle)
    assert got == ("late" if value else "of the events 'c' none reached run p in time")
    assert rest == [["b", 1], ["a", 2], ["b", 3], ["a", 4]]


async def test_w06_events_at_the_deadline_have_one_outcome(world: World) -> None:
    runs = 100
    async with world.workers():
        handles = [
            await world.durable.start(flows.just_in_time, {"timeout": 0.05 + 0.002 * n}, id=f"p{n}")
            for n in range(runs)
        ]
        for handle in handles:
            await send(handle, ("a", 1), ("b", 2))
        for handle in handles:
            assert await world.result(handle) in ([{"a": 1, "b": 2}], ["late", 1, 2])
            kinds = [e.kind for e in await world.durable.history(handle.id)]
            assert kinds.count("event") == 2


async def test_w04_what_a_cancelled_wait_had_taken_goes_to_who_waits(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.gives_back, {}, id="p")
        await world.until_status("p", Status.WAITING)
        await send(handle, ("a", 1), ("cut", None), ("a", 2))
        assert await world.result(handle) == [1, 2]


async def test_types(world: World) -> None:
    async with world.workers():
        good = await world.durable.start(flows.typed, {"type": "int"}, id="good")
        await send(good, ("b", 1), ("c", 2))
        assert await world.result(good) == ["b", 1, 2]
        bad = await world.durable.start(flows.typed, {"type": "int"}, id="bad")
        await send(bad, ("b", "text"))
        assert await world.result(bad) == ["misfit"]
