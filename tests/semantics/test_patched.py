"""V4: `patched` lets code of workflows that have runs change before what is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async import Status

from . import flows_code_bad as bad
from . import flows_code_new as new
from . import flows_code_old as old
from .harness import IS_CROWD, World

FLOWS = [new]


async def kinds(world: World, id: str) -> list[tuple[str, str]]:
    return [(event.kind, event.name) for event in await world.durable.history(id) if event.kind == "patched"]


async def until_waiting_for(world: World, id: str, words: str) -> None:
    async def does() -> bool:
        return words in str((await world.durable.get(id)).waiting_for)

    await world.until(does, f"{id} waits for {words}")


async def test_v04_a_run_of_the_new_code_goes_the_new_way(world: World) -> None:
    async with world.workers(flows=[new]):
        handle = await world.durable.start("mended", {"ledger": world.ledger.path}, id="m")
        await until_waiting_for(world, "m", "event go")
        await handle.send_event("go", 1)
        await until_waiting_for(world, "m", "child m/twice")
        await world.until_status("m/twice", Status.WAITING)
        await world.durable.send_event("m/twice", "go", 2)
        assert await world.result(handle) == ["new", [1, ["twice", 2]], "old", True]
    assert await kinds(world, "m") == [("patched", "book-first"), ("patched", "go-twice")]
    world.assert_ran("book", "reserve")


async def test_v04_a_run_that_went_past_the_first_place_meets_the_second_one(world: World) -> None:
    """And one that the change without it had blocked goes on with it."""
    async with world.workers(flows=[old]):
        handle = await world.durable.start("mended", {"ledger": world.ledger.path}, id="m")
        await until_waiting_for(world, "m", "event go")
        await world.settled()
    await world.durable.send_event("m", "go", 1)
    async with world.workers(flows=[bad]):
        await until_waiting_for(world, "m", "code: ")
        assert world.raw.hgetall(world.keys.blocked) == {"m": "mended"}
    async with world.workers(flows=[new]):
        await until_waiting_for(world, "m", "child m/twice")
        await world.until_status("m/twice", Status.WAITING)
        await world.durable.send_event("m/twice", "go", 2)
        assert await world.result(handle) == ["old", [1, ["twice", 2]], "old", False]
    assert world.raw.hgetall(world.keys.blocked) == {}
    assert await kinds(world, "m") == [("patched", "go-twice")]
    assert IS_CROWD or world.ledger.counts() == {"reserve": 2}


@pytest.mark.parametrize(("before", "way"), [((), True), (("a",), False), (("a", "b"), False)])
async def test_v04_branches_go_one_way(world: World, before: tuple[str, ...], way: bool) -> None:
    """A branch that has gone the old way takes the other one along, wherever that is."""
    async with world.workers(flows=[old]):
        handle = await world.durable.start("spread", {}, id="s")
        await world.until_status("s", Status.WAITING)
        for name in before:
            await handle.send_event(name, name)
            await world.until_status(f"s/{name}", Status.WAITING)
        await world.settled()
    async with world.workers(flows=[new]):
        for name in "ab":
            if name not in before:
                await handle.send_event(name, name)
            kid = f"s/new-{name}" if way else f"s/{name}"
            await world.until_status(kid, Status.WAITING)
            await world.durable.send_event(kid, "go", name)
        expected: list[Any] = [[name, [name, name], way] for name in "ab"]
        assert await world.result(handle) == expected
    assert await kinds(world, "s") == ([("patched", "kids")] if way else [])
    assert len(await handle.children()) == 2
