"""Many children of one parent, and many parents in one slot."""

from __future__ import annotations

from durable_async import call_workflow, map_workflow, start_workflow, wait_for_event, workflow


@workflow
async def square(n: int) -> int:
    return n * n


@workflow
async def fans_out(count: int) -> list[int]:
    return await map_workflow(square, range(count))


@workflow
async def large(n: int) -> bytes:
    return bytes([n]) * 100_000


@workflow
async def fans_out_large(count: int) -> list[int]:
    """Gets outputs and events of a hundred kilobytes each; says which, in order."""
    outputs = await map_workflow(large, range(count))
    events = [await wait_for_event("large", bytes) for _ in range(count)]
    return [data[0] for data in (*outputs, *events) if len(data) == 100_000]


@workflow
async def starts_many(count: int) -> str:
    for n in range(count):
        await start_workflow(square, n)
    return str(await wait_for_event("end"))


@workflow
async def level_three(n: int) -> int:
    return n + 1


@workflow
async def level_two(n: int) -> int:
    return await call_workflow(level_three, n) + 1


@workflow
async def level_one(n: int) -> int:
    return await call_workflow(level_two, n) + 1
