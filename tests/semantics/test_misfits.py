"""V4, V9: what was stored under other annotations than those of today can be looked at."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from durable_async import InvalidInput

from . import flows_misfits as flows
from .harness import World

FLOWS = [flows]


async def test_v09_an_output_that_does_not_fit_spoils_no_listing(world: World) -> None:
    async with world.workers():
        good = await world.durable.start(flows.says_nothing_wrong, 1, id="good")
        bad = await world.durable.start(flows.says_int, id="bad")
        assert await world.result(good) == 1
        await world.until_status("bad", "completed", "failed")
    assert {run.id for run in (await world.durable.list()).items} == {"good", "bad"}
    if (await bad.info()).status == "completed":
        assert (await bad.info()).output == "not a number"
        with pytest.raises(InvalidInput, match="expected int"):
            await bad.result()


async def test_v02_a_wait_that_was_given_up_is_no_news(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.durable:
        handle = await world.durable.start(flows.says_nothing_wrong, 1, id="p")
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.01)
        waiting = asyncio.create_task(world.durable.run("p").result())
        await asyncio.sleep(0)
        waiting.cancel()
    with caplog.at_level(logging.ERROR, "asyncio"):
        handle._waiter.fail(RuntimeError("closed"))  # type: ignore[union-attr]  # what the client's end does
        del handle, waiting
        gc.collect()
    assert caplog.records == []
    await world.drive()
