"""V5, V14: how long runs are kept, and what is left when they are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from durable_async import Durable, Handle, RunError, RunNotFound, Status

from . import flows_v as flows
from .harness import World

FLOWS = [flows]
SHORT_S = 0.3
LEASE_S = 0.5


@pytest.fixture
async def brief(world: World) -> AsyncIterator[Durable]:
    """A client that keeps what it has started for a moment only."""
    async with Durable(world.url, workflows=[flows], namespace=world.namespace, retention=SHORT_S) as durable:
        yield durable


async def until_gone(world: World, *ids: str) -> None:
    """Nothing knows these runs any more."""

    def traces() -> list[str]:
        kept = {id for id in ids if any(world.raw.exists(key(id)) for key in (world.keys.run, world.keys.journal))}
        kept |= {id for id in ids if world.raw.exists(world.keys.inbox(id), world.keys.children(id))}
        return sorted(kept | {id for id in ids if world.raw.zscore(world.keys.index, id) is not None})

    await world.until(lambda: not traces(), "no key and no entry of the index is left")
    for id in ids:
        with pytest.raises(RunNotFound, match="retention"):
            await world.durable.get(id)


async def end(world: World, handle: Handle[Any]) -> None:
    """Until it has ended; by the time that is looked at, it may be gone."""
    with suppress(RunError, RunNotFound):
        await world.result(handle)


async def a_moment(world: World, brief: Durable) -> None:
    """As long as a run is kept, by the server's clock."""
    handle = await brief.start(flows.echo, "a moment")
    await world.result(handle)

    async def is_gone() -> bool:
        with suppress(RunNotFound):
            await brief.get(handle.id)
            return False
        return True

    await world.until(is_gone, "a moment has passed")


def family_ids(level: int) -> list[str]:
    root = "r"
    ids = [root]
    for _ in range(level):
        ids += [f"{root}/started", f"{root}/called"]
        root += "/called"
    return ids


async def test_v05_nothing_of_a_tree_is_left_after_its_retention(world: World, brief: Durable) -> None:
    async with world.workers(lease=LEASE_S):
        handle = await brief.start(flows.family, 3, id="r")
        assert await world.result(handle) == 3
        await until_gone(world, *family_ids(3))
        assert (await world.durable.list()).items == []
        await world.settled()
    names = {name for name in world.look().keys if not name.startswith(("queue:", "worker:", "client:"))}
    assert names <= {key.removeprefix(world.keys.base) for key in world.keys.permanent()}


async def test_v05_failed_and_cancelled_trees_go_as_well(world: World, brief: Durable) -> None:
    async with world.workers(["default", "side", "kids"], lease=LEASE_S):
        failed = await brief.start(flows.fails, "boom", id="f")
        waiting = await brief.start(flows.calls_waits, "go", id="c")
        never_started = await brief.start(flows.echo, 1, id="n", delay=3600)
        await world.until_status("c/kid", Status.WAITING)
        for handle in (waiting, never_started):
            assert await handle.cancel()
        for handle in (failed, waiting, never_started):
            await end(world, handle)
        await until_gone(world, "f", "c", "c/kid", "n")


async def test_v05_child_that_outlives_its_root_is_kept_for_as_long_after_its_own_end(
    world: World, brief: Durable
) -> None:
    async with world.workers(lease=LEASE_S):
        handle = await brief.start(flows.has_leavers, ["a", "b"], id="r")
        assert await world.result(handle) == ["r/a", "r/b"]
        await until_gone(world, "r")
        for child in ("r/a", "r/b"):
            info = await world.until_status(child, Status.WAITING)
            assert info.parent_id == "r"
            await world.durable.send_event(child, child[-1], "bye")
        await until_gone(world, "r/a", "r/b")


async def test_v05_retention_of_a_workflow_and_of_a_start_go_before_the_clients(world: World, brief: Durable) -> None:
    async with world.workers(lease=LEASE_S):
        by_workflow = await world.durable.start(flows.short_lived, 1, id="w")
        by_start = await world.durable.start(flows.echo, 1, id="s", retention=SHORT_S)
        longer = await brief.start(flows.echo, 1, id="l", retention=3600)
        for handle in (by_workflow, by_start, longer):
            await end(world, handle)
        await until_gone(world, "w", "s")
        assert (await longer.info()).output == 1


async def test_v05_first_start_decides_and_zero_is_a_retention(world: World, brief: Durable) -> None:
    """start(retention=) before the workflow's, before the client's; 0 is not "none"; who joins changes nothing."""
    async with world.workers(lease=LEASE_S):
        longer = await brief.start(flows.short_lived, 1, id="l", retention=3600)
        joined = await brief.start(flows.short_lived, 1, id="l", retention=0)
        at_once = await world.durable.start(flows.short_lived, 1, id="z", retention=0)
        none = await brief.start(flows.echo, 1, id="n", retention=None)
        for handle in (longer, joined, at_once, none):
            await end(world, handle)
        await until_gone(world, "z", "n")
        assert (await longer.info()).output == 1


async def test_v05_tree_of_no_retention_is_gone_at_once(world: World) -> None:
    """The client that started it gets the result, which is pushed; nobody else can."""
    async with world.workers(lease=LEASE_S):
        handle = await world.durable.start(flows.family, 2, id="r", retention=0)
        assert await world.result(handle) == 2
        await until_gone(world, *family_ids(2))
        async with Durable(world.url, namespace=world.namespace) as other:
            with pytest.raises(RunNotFound):
                await other.run("r").result(timeout=5)


async def test_v05_tree_is_kept_as_its_root_says(world: World) -> None:
    """A child's own workflow says it is kept for a moment; that is for when it is a root."""
    async with world.workers(lease=LEASE_S):
        kept = await world.durable.start(flows.has_short_lived, id="k", retention=3600)
        brief = await world.durable.start(flows.has_short_lived, id="b", retention=SHORT_S)
        for handle in (kept, brief):
            await end(world, handle)
        await until_gone(world, "b", "b/kid")
        assert (await world.durable.get("k/kid")).output == 1
        await world.settled()
        ttls = world.look().keys
        assert ttls["run:k/kid"] > 3_000_000 and ttls["journal:k/kid"] > 3_000_000


async def test_v05_id_is_free_again_after_its_retention(world: World, brief: Durable) -> None:
    async with world.workers(lease=LEASE_S):
        first = await brief.start(flows.family, 1, id="r")
        assert await world.result(first) == 1
        await until_gone(world, *family_ids(1))
        # Another workflow, which would conflict.
        second = await brief.start(flows.echo, 2, id="r")
        assert await world.result(second) == 2
        assert await world.result(first) == 1


async def test_v05_active_runs_are_kept(world: World, brief: Durable) -> None:
    async with world.workers(lease=LEASE_S):
        waiting = await brief.start(flows.waits, "go", id="w")
        delayed = await brief.start(flows.echo, 1, id="d", delay=3600)
        await world.until_status("w", Status.WAITING)
        await a_moment(world, brief)
        assert {run.id for run in (await world.durable.list()).items} >= {"w", "d"}
        for handle in (waiting, delayed):
            assert await handle.cancel()
        await until_gone(world, "w", "d")


async def test_v14_child_is_readable_as_long_as_its_parent_lives(world: World, brief: Durable) -> None:
    async with world.workers(lease=LEASE_S):
        handle = await brief.start(flows.has_children, 3, id="p")
        for n in range(3):
            await world.until_status(f"p/c{n}", Status.COMPLETED)
        await a_moment(world, brief)
        assert [child.output for child in await handle.children()] == [0, 1, 2]
        await handle.send_event("go")
        assert await world.result(handle) == 3
        await until_gone(world, "p", "p/c0", "p/c1", "p/c2")


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_v14_timer_of_a_run_that_has_ended_is_gone(world: World, how: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.sleeps_long, 1, id="r")
        await world.until(lambda: "wr" in world.look().timers, "it sleeps")
        assert await getattr(world.durable, how)("r")
        await world.outcome(handle)
        assert world.look().timers == {}
