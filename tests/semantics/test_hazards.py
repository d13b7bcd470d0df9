"""Hazards E 32, 36, 37: floods, wide and nested fan-outs, bodies that catch everything."""

from __future__ import annotations

import asyncio

from durable_async import Durable, Limits, RunNotWaiting, Status

from . import flows_e as flows
from .harness import World

FLOWS = [flows]


async def test_e32_flood_of_events_is_capped(world: World) -> None:
    limits = Limits(inbox=100)
    async with Durable(world.url, workflows=[flows], namespace=world.namespace, limits=limits) as durable:
        handle = await durable.start(flows.waits, "go", id="r")
        sends = (handle.send_event("noise", n) for n in range(150))
        got = await asyncio.gather(*sends, return_exceptions=True)
        refused = [each for each in got if each is not None]
        assert len(refused) == 50 and all(isinstance(each, RunNotWaiting) for each in refused)
    assert world.look().inboxes == {"r": 100}
    async with world.workers():
        # Once they are taken there is room again.
        await world.until(lambda: world.look().inboxes == {}, "the noise is taken in")
        await world.durable.send_event("r", "go", 7)
        assert await world.result(world.durable.run("r")) == 7


async def test_e36_gather_of_a_thousand_and_one_calls(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.gathers_calls, 1001, id="r")
        assert await world.result(handle) == sum(range(1001))
    refs = {child.ref for child in await handle.children()}
    assert refs == {"echo", *(f"echo-{n}" for n in range(2, 1002))}


async def test_e36_branch_that_fails_in_a_nested_task_group(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fails_in_nested_group, {"ledger": world.ledger.path}, id="r")
        assert await world.result(handle) == ["ExceptionGroup", "a", "b", "c"]
        for name in "abc":
            await world.until_status(f"r/{name}", Status.CANCELLED)
    world.assert_ran("after")


async def test_e37_bare_except_does_not_see_that_its_run_leaves_memory(world: World) -> None:
    handle = await world.durable.start(flows.bare_except, {"ledger": world.ledger.path}, id="r")
    for name in "ab":
        async with world.workers():
            await world.until(lambda name=name: waits_for(world, name), f"it waits for {name}")
        # The worker has left, and the body was thrown out of memory at its await.
        await handle.send_event(name, name)
    async with world.workers():
        assert await world.result(handle) == ["a", "b", "end"]
    world.assert_ran("end")


def waits_for(world: World, name: str) -> bool:
    run = world.look().runs["r"]
    return run[0] == "parked" and run[7] == f"event {name}"
