"""progress: what a run says of how far it is."""

from __future__ import annotations

from durable_async import Progress, Status

from . import flows_watching as flows
from .harness import World

FLOWS = [flows]


async def test_it_is_shown_while_the_run_waits_and_after(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.says_and_waits, 7, id="r")
        info = await world.until_status("r", Status.WAITING)
        assert info.progress == Progress(7, 10, "number 7")
        assert [r.progress for r in (await world.durable.list()).items] == [Progress(7, 10, "number 7")]
        await handle.send_event("go", "x")
        assert await world.result(handle) == "x"
    assert (await handle.info()).progress == Progress(7, 10, "number 7")


async def test_the_last_one_counts_and_each_is_in_the_history(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.counts, {"n": 23}, id="r")
        assert await world.result(handle) == 23
    assert (await handle.info()).progress == Progress(22, 23, "")
    assert [e.kind for e in await world.durable.history("r")].count("progress") == 23


async def test_a_run_that_fails_keeps_what_it_said(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fails, id="r")
        info = await world.outcome(handle)
    assert (info.status, info.progress) == (Status.FAILED, Progress(1, None, "soon"))


async def test_a_run_that_says_nothing_has_none(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.dozes, 0.01, id="r")
        await world.result(handle)
    assert (await handle.info()).progress is None
