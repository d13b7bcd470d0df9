"""Our workflows, as `benchmarks.systems.FLOWS` describes them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from benchmarks.bell import ring
from durable_async import call_workflow, map_workflow, sleep_until, step, wait_for_event, workflow


@step
async def work(n: int) -> int:
    """Nothing but the step itself."""
    return n


@step
async def slow(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


@step
async def woke(due: int) -> None:
    ring(due)


@workflow
async def noop(n: int) -> int:
    return await work(n)


@workflow
async def steps10(n: int) -> int:
    for _ in range(10):
        n = await work(n)
    return n


@workflow
async def slow10(n: int) -> int:
    for _ in range(10):
        n = await slow(n)
    return n


@workflow
async def parent(n: int) -> int:
    return await call_workflow(noop, n)


@workflow
async def fanout(n: int) -> int:
    return len(await asyncio.gather(*(call_workflow(noop, i) for i in range(n))))


@workflow
async def mapped(n: int) -> int:
    return len(await map_workflow(noop, range(n)))


@workflow
async def wait(n: int) -> int:
    for _ in range(n):
        await wait_for_event("go")
    return n


@workflow
async def timer(due: int) -> int:
    await sleep_until(datetime.fromtimestamp(due / 1000, UTC))
    await woke(due)
    return due


@workflow
async def long(n: int) -> int:
    for i in range(n):
        await work(i)
    await wait_for_event("go")
    await work(n)
    return n


ALL = [noop, steps10, slow10, parent, fanout, mapped, wait, timer, long]
BY_NAME = {each.name: each for each in ALL}
