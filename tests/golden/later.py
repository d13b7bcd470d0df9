"""More of `flows`: what came after them."""

from __future__ import annotations

from typing import Any

from durable_async import (
    call_workflow,
    continue_as_new,
    get_context,
    info,
    progress,
    put_context,
    step,
    wait_for_event,
    workflow,
)

from .flows import QUICK, SOON, echo, waits


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
