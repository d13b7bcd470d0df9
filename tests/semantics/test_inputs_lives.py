"""W10 with the lives of a run: a question is of one life, and ends with it."""

from __future__ import annotations

import pytest

from durable_async import RunNotWaiting, Status

from . import flows_inputs as flows
from .harness import World
from .test_inputs import nothing_open, reply, until_asked

FLOWS = [flows]


async def test_each_attempt_of_a_workflow_asks_anew(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_until_it_is_yes, {}, id="r")
        for answer in (False, False, True):
            await reply(world, "yes?", answer)
        await reply(world, "aside", "done")
        assert await world.result(handle) == "done"
        assert (await handle.info()).attempt == 3
    await nothing_open(world)


async def test_an_answer_ends_a_life_that_goes_on_anew(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_for_ever, [], id="r")
        for n, answer in enumerate(["a", "b", "stop"]):
            await until_asked(world, "more?", "r", lambda found, n=n: any(f.prompt == f"number {n}" for f in found))
            await world.durable.provide_input("r", "more?", answer)
        assert await world.result(handle) == ["a", "b"]
    await nothing_open(world)


async def test_the_end_of_the_runs_own_time_closes_it(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.has_little_time, id="r")
        info = await world.outcome(handle)
        assert (info.status, info.error and info.error.type) == (Status.FAILED, "RunTimeout")
    await nothing_open(world)
    with pytest.raises(RunNotWaiting):
        await world.durable.provide_input("r", "q", "x")


async def test_a_parents_timeout_closes_the_childs_question(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.calls_who_asks, id="r")
        assert await world.result(handle) == "late"
        await world.until_status("r/kid", Status.CANCELLED)
    await nothing_open(world)
