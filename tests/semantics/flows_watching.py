"""Runs that say what they do."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    Retry,
    call_workflow,
    continue_as_new,
    info,
    progress,
    put_context,
    sleep,
    step,
    wait_for_event,
    wait_for_input,
    workflow,
)


@step
async def add_one(n: int) -> int:
    return n + 1


@step(retry=Retry(max_attempts=2, initial=0.01, jitter=0.0))
async def breaks() -> None:
    raise ValueError("broken")


@workflow
async def kid(n: int) -> int:
    return await add_one(n)


@workflow
async def tells(given: dict[str, Any]) -> int:
    """One of everything that can be watched."""
    progress(0, 3)
    n = await add_one(0)
    progress(1, 3, "added")
    put_context("n", n)
    n = await call_workflow(kid, n, ref="kid")
    await sleep(0.02)
    progress(2.5)
    await wait_for_event("go")
    answer = await wait_for_input("how", kind="number")
    progress(3, 3, "done")
    return n + int(answer)


@workflow
async def fails() -> None:
    progress(1, None, "soon")
    await breaks()


@workflow
async def counts(given: dict[str, Any]) -> int:
    """Many events, some of them with progress only."""
    for n in range(given["n"]):
        progress(n, given["n"])
        if n % 5 == 0:
            await add_one(n)
    return int(given["n"])


@workflow
async def says_and_waits(n: int) -> str:
    progress(n, 10, f"number {n}")
    return await wait_for_event("go")


@workflow
async def dozes(seconds: float) -> None:
    async with asyncio.timeout(None):
        await sleep(seconds)


@workflow(retry=Retry(max_attempts=2, initial=0.01, jitter=0.0))
async def works_the_second_time() -> int:
    attempt = info().attempt
    progress(attempt)
    if attempt == 1:
        raise ValueError("the first time")
    return await add_one(attempt)


@workflow
async def goes_on_anew(n: int) -> int:
    progress(n)
    await add_one(n)
    if n < 3:
        continue_as_new(n + 1)
    return n
