"""O16, P1, P4-P7: `map_workflow`."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import RunFailed, Status

from . import flows_parallel as flows
from .harness import World

FLOWS = [flows]


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_o16_results_in_input_order(world: World, count: int) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.maps, count, id="p")
        assert await world.result(handle) == [n * n for n in range(count)]
        refs = [child.ref for child in await world.durable.list_children("p")]
        assert refs == [f"sq-{n + 1}" for n in range(count)]


async def test_p06_as_many_children_as_allowed_in_input_order(world: World) -> None:
    count, limit = 7, 3
    async with world.workers():
        handle = await world.durable.start(flows.maps_bounded, {"count": count, "limit": limit}, id="p")
        there = [f"p/waits-{n + 1}" for n in range(limit)]
        for id in there:
            await world.until_status(id, Status.WAITING)
        # The last one of those there ends first: the next in the order of the inputs takes its place.
        for nth in range(count):
            await world.settled()
            children = await world.durable.list_children("p")
            assert [c.id for c in children] == [f"p/waits-{n + 1}" for n in range(min(count, limit + nth))]
            last = [c.id for c in children if c.status is Status.WAITING][-1]
            await world.durable.send_event(last, f"n{int(last.rpartition('-')[2]) - 1}", last)
            await world.until_status(last, Status.COMPLETED)
        assert await world.result(handle) == [f"p/waits-{n + 1}" for n in range(count)]


async def test_p03_complete_all(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.maps_all, 4, id="p")
        assert await world.result(handle) == [0, "failed: 1 is odd", 2, "failed: 3 is odd"]


@pytest.mark.parametrize(("tolerate", "is_too_many"), [({"failures": 2}, False), ({"ratio": 0.39}, True)], ids=str)
async def test_p05_tolerate(world: World, tolerate: dict[str, Any], is_too_many: bool) -> None:
    async with world.workers():
        handle = await world.durable.start(
            flows.maps_tolerating, {"inputs": [0, 1, 2, 3, 4], "tolerate": tolerate}, id="p"
        )
        if is_too_many:
            with pytest.raises(RunFailed, match="is odd"):
                await world.result(handle)
        else:
            assert await world.result(handle) == [0, "failed: 1 is odd", 2, "failed: 3 is odd", 4]


async def test_p04_fail_fast(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.maps_fast, {}, id="p")
        for n in (1, 2, 3):
            await world.until_status(f"p/kid-{n}", Status.WAITING)
        await world.durable.send_event("p/kid-2", "fail")
        for n in (1, 3):
            await world.until_status(f"p/kid-{n}", Status.CANCELLED)
        await handle.send_event("end", "over")
        assert await world.result(handle) == ["p/kid-2", "over"]


async def test_o11_same_inputs_are_the_same_children(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.maps_twice, {}, id="p")
        first, again, clash, other = await world.result(handle)
        assert (first, again, other) == ([1, 4], [1, 4], [1, 9])
        assert clash[0] == "1" and clash[1].startswith("RefConflict: ref 'square-2' already names a child")
        assert len(await world.durable.list_children("p")) == 4
