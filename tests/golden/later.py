"""More of `flows`: what came after them."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    call_workflow,
    continue_as_new,
    get_context,
    info,
    progress,
    put_context,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .flows import QUICK, SOON, double, echo, waits


@step(at_most_once=True, retry=QUICK)
async def once(text: str) -> str:
    return text


@workflow
async def at_most_once() -> list[str]:
    return [await once("a"), await echo("between"), await once("b")]


@workflow
async def says_how_far(total: int) -> Any:
    for n in range(total):
        progress(n, total, message="on its way")
        await echo(n)
    progress(total)
    return total


@workflow(retry=QUICK)
async def third_time(n: int) -> list[Any]:
    put_context("attempts", [*get_context("attempts", []), info().attempt])
    await echo(n)
    if info().attempt < 3:
        raise ConnectionError(f"attempt {info().attempt}")
    return [get_context("attempts"), await wait_for_event("late")]


@workflow
async def continues(n: int) -> list[Any]:
    put_context("n", n)
    await echo(n)
    if n:
        continue_as_new(n - 1)
    return [get_context("n"), await wait_for_event("late")]


@workflow(timeout=5 * SOON)
async def timed_out() -> None:
    try:
        await call_workflow(waits, "never", ref="kid")
    finally:
        await echo("cleaned")


@step
async def asks_children(n: int) -> list[Any]:
    called = await call_workflow(double, n, ref="called")
    started = await start_workflow(double, n + 1, ref="started")
    late = await call_workflow(waits, "never", ref="late", timeout=SOON)
    left = await call_workflow(double, 50, ref="left", timeout=0, on_timeout="leave", timeout_value="left")
    return [called, started.id, await started.result(), late is CHILD_TIMEOUT, left]


@workflow
async def step_calls(n: int) -> list[Any]:
    return [await asks_children(n), await call_workflow(double, n, ref="called"), await echo("end")]


mended: set[str] = set()
"""Of the process that records; a replay runs no step."""


@step
async def until_mended(name: str) -> str:
    if name not in mended:
        raise ConnectionError(f"{name} is closed")
    return f"{name} is open"


@workflow
async def taken_up(n: int) -> list[Any]:
    first, kid = await echo(n), await call_workflow(double, n, ref="kid")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(call_workflow(waits, "go", ref="waits"))
        opened = group.create_task(until_mended("shop"))
    return [first, kid, waiting.result(), opened.result(), await echo("end")]
