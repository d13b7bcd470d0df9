"""V1, V2, V10: starting runs by id, getting results, namespaces."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from durable_async import Durable, RunFailed, RunNotFound, Status, WorkflowIdConflict

from . import flows_v as flows
from .harness import PATIENCE_S, World

FLOWS = [flows]
ELSEWHERE = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[5])
from durable_async import Durable
from semantics import codecs

codecs.install("new", "old")

async def main():
    async with Durable(sys.argv[1], namespace=sys.argv[2]) as durable:
        print("waits", flush=True)
        print(json.dumps(await durable.run(sys.argv[3]).result(timeout=float(sys.argv[4]))), flush=True)

asyncio.run(main())
"""


# ---------------------------------------------------------------------- V1


async def test_v01_same_id_same_input_is_joined_whatever_the_state(world: World) -> None:
    first = await world.durable.start(flows.waits, "go", id="r")
    assert (await world.durable.start(flows.waits, "go", id="r")).id == "r"
    async with world.workers():
        await world.until_status("r", Status.WAITING)
        second = await world.durable.start(flows.waits, "go", id="r")
        await second.send_event("go", 7)
        assert await world.result(first) == await world.result(second) == 7
        third = await world.durable.start(flows.waits, "go", id="r")
        assert await world.result(third) == 7
    assert [run.id for run in (await world.durable.list()).items] == ["r"]


@pytest.mark.parametrize("state", ["pending", "completed"])
async def test_v01_another_workflow_or_input_conflicts(world: World, state: str) -> None:
    handle = await world.durable.start(flows.echo, 1, id="r")
    if state == "completed":
        async with world.workers():
            await world.result(handle)
    with pytest.raises(WorkflowIdConflict, match="another input"):
        await world.durable.start(flows.echo, 2, id="r")
    with pytest.raises(WorkflowIdConflict, match="'echo', not 'other'"):
        await world.durable.start(flows.other, 1, id="r")
    assert (await handle.info()).input == 1
    await handle.cancel()


@pytest.mark.parametrize("state", ["pending", "completed"])
async def test_v01_raise_refuses_any_id_that_exists(world: World, state: str) -> None:
    handle = await world.durable.start(flows.echo, 1, id="r", on_conflict="raise")
    if state == "completed":
        async with world.workers():
            await world.result(handle)
    with pytest.raises(WorkflowIdConflict, match="'r' exists"):
        await world.durable.start(flows.echo, 1, id="r", on_conflict="raise")
    await handle.cancel()


async def test_v01_hundred_racing_starts_of_one_id_are_one_run(world: World) -> None:
    clients = [Durable(world.url, namespace=world.namespace) for _ in range(4)]
    given = {"ledger": world.ledger.path, "n": 1, "steps": 1}
    for client in clients:
        await client.__aenter__()
    async with world.workers():
        handles = await asyncio.gather(*(clients[n % 4].start(flows.steps, given, id="r") for n in range(100)))
        results = await asyncio.gather(*(world.result(handle) for handle in handles))
    assert results == [["1.0"]] * 100
    for client in clients:
        await client.__aexit__(None, None, None)
    world.assert_ran("1.0")
    assert [run.id for run in (await world.durable.list()).items] == ["r"]


async def test_v01_racing_starts_of_one_id_with_different_inputs_have_one_winner(world: World) -> None:
    async with world.workers():
        starts = (world.durable.start(flows.echo, n, id="r") for n in range(50))
        got = await asyncio.gather(*starts, return_exceptions=True)
        (winner,) = (n for n, each in enumerate(got) if not isinstance(each, BaseException))
        assert all(isinstance(each, WorkflowIdConflict) for n, each in enumerate(got) if n != winner)
        assert await world.result(world.durable.run("r")) == winner


# ---------------------------------------------------------------------- V2


async def test_v02_result_before_and_after_completion(world: World) -> None:
    handle = await world.durable.start(flows.waits, "go", id="r")
    early = asyncio.create_task(handle.result(timeout=PATIENCE_S))
    async with world.workers():
        await world.until_status("r", Status.WAITING)
        waiting = asyncio.create_task(world.durable.run("r").result(timeout=PATIENCE_S))
        await handle.send_event("go", {"a": [1, None]})
        assert await early == await waiting == {"a": [1, None]}
    assert await world.durable.run("r", flows.waits).result(timeout=5) == {"a": [1, None]}
    assert await handle == {"a": [1, None]}


async def test_v02_result_of_a_failed_run_before_and_after(world: World) -> None:
    handle = await world.durable.start(flows.fails, "boom", id="r")
    async with world.workers(["side"]):
        for each in (handle, world.durable.run("r")):
            with pytest.raises(RunFailed, match="boom"):
                await world.result(each)


async def test_v02_result_of_an_unknown_run(world: World) -> None:
    with pytest.raises(RunNotFound, match="'nobody'"):
        await world.durable.run("nobody").result(timeout=5)


async def test_v02_result_in_another_process(world: World) -> None:
    handle = await world.durable.start(flows.waits, "go", id="r")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ELSEWHERE,
        world.url,
        world.namespace,
        "r",
        str(PATIENCE_S),
        str(Path(__file__).parents[1]),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"waits\n"
    async with world.workers():
        await handle.send_event("go", [1, 2])
        assert json.loads(await process.stdout.readline()) == [1, 2]
    assert await process.wait() == 0


async def test_v02_large_result_is_read_by_the_client(world: World) -> None:
    """It does not travel with the hint."""
    async with world.workers():
        handle = await world.durable.start(flows.echo, "x" * 500_000)
        assert await world.result(handle) == "x" * 500_000


async def test_v02_result_after_a_client_has_lost_its_connections(world: World) -> None:
    handle = await world.durable.start(flows.waits, "go", id="r")
    task = asyncio.create_task(handle.result(timeout=PATIENCE_S))
    async with world.workers():
        await world.until_status("r", Status.WAITING)

        def connections() -> list[Any]:
            return [c for c in world.raw.client_list() if c["name"].startswith("durable:client")]  # type: ignore[union-attr]

        lost = {c["id"] for c in connections()}
        assert lost
        for id in lost:
            world.raw.client_kill_filter(_id=id)
        await world.until(lambda: not lost & {c["id"] for c in connections()}, "the connections are gone")
        await handle.send_event("go", 7)
        assert await task == 7
        assert await world.durable.run("r").result(timeout=PATIENCE_S) == 7


async def test_v02_dropped_waiter_harms_nobody(world: World) -> None:
    handle = await world.durable.start(flows.waits, "go", id="r")
    dropped = [asyncio.create_task(handle.result()) for _ in range(3)]
    kept = asyncio.create_task(handle.result(timeout=PATIENCE_S))
    async with world.workers():
        await world.until_status("r", Status.WAITING)
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)
        with pytest.raises(TimeoutError, match="it goes on"):
            await handle.result(timeout=0)
        assert (await handle.info()).status is Status.WAITING
        await handle.send_event("go", 7)
        assert await kept == 7
        assert await world.result(handle) == 7


# ---------------------------------------------------------------------- V10


async def test_v10_namespaces_do_not_see_each_other(world: World) -> None:
    other = world.namespace + "-b"
    async with Durable(world.allow(other), workflows=[flows], namespace=other) as elsewhere:
        one = await world.durable.start(flows.waits, "go", id="r")
        with pytest.raises(RunNotFound):
            await elsewhere.get("r")
        two = await elsewhere.start(flows.waits, "other", id="r")
        assert (await elsewhere.list()).items[0].input == "other"
        async with world.workers(), elsewhere.worker():
            await world.until_status("r", Status.WAITING)
            await one.send_event("go", "one")
            assert await world.result(one) == "one"
            assert not (await two.info()).status.is_terminal
            assert await elsewhere.cancel("r")
            await world.outcome(two)
        assert (await one.info()).output == "one"
        assert [run.status for run in (await elsewhere.list()).items] == [Status.CANCELLED]
        assert [run.status for run in (await world.durable.list()).items] == [Status.COMPLETED]
    assert not world.raw.keys(f"durable:{{{world.namespace}-b.0}}:worker:*")
