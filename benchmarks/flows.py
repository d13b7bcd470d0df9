"""The workflows that are measured: the least each case can be."""

from __future__ import annotations

from durable_async import call_workflow, map_workflow, step, wait_for_event, workflow


@step
async def work(n: int) -> int:
    """Nothing but the step itself."""
    return n


@workflow
async def noop(n: int) -> int:
    """One step."""
    return await work(n)


@workflow
async def steps10(n: int) -> int:
    """Ten steps, one after the other."""
    for _ in range(10):
        n = await work(n)
    return n


@workflow
async def parent(n: int) -> int:
    """One child of one step."""
    return await call_workflow(noop, n)


@workflow
async def fanout(n: int) -> int:
    """`n` children at once."""
    import asyncio

    return len(await asyncio.gather(*(call_workflow(noop, i) for i in range(n))))


@workflow
async def mapped(n: int) -> int:
    """The same through `map_workflow`."""
    return len(await map_workflow(noop, range(n)))


@workflow
async def parked(n: int) -> int:
    """Waits for an event that does not come."""
    await wait_for_event("never")
    return n


ALL = [noop, steps10, parent, fanout, mapped, parked]
