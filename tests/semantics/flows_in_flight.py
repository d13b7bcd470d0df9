"""Steps in flight while something else reaches their run."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import call_workflow, step, wait_for_event, workflow

from .ledger import note, noted


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@step
async def in_flight(ledger: str) -> str:
    """Until it is cancelled."""
    note(ledger, "in flight")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note(ledger, "step cancelled")
        raise
    return "never"


@step
async def released(ledger: str) -> str:
    note(ledger, "in flight")
    await noted(ledger, "release")
    return "released"


@workflow
async def leaf(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def beside_an_event(given: dict[str, Any]) -> list[Any]:
    """The event's branch goes on while the step runs, and the step is left to its end."""

    async def branch() -> Any:
        got = await wait_for_event("go")
        await mark(given["ledger"], "went on")
        return got

    return list(await asyncio.gather(branch(), released(given["ledger"])))


@workflow
async def beside_a_child(given: dict[str, Any]) -> list[Any]:
    """The child's result makes the body give the step up."""
    running = asyncio.create_task(in_flight(given["ledger"]))
    got = await call_workflow(leaf, "go", ref="kid")
    running.cancel()
    await mark(given["ledger"], "went on")
    return [got, running.cancelled()]


@workflow
async def beside_a_timeout(given: dict[str, Any]) -> list[Any]:
    try:
        async with asyncio.timeout(0.3):
            await in_flight(given["ledger"])
    except TimeoutError:
        return [await mark(given["ledger"], "went on")]
    return []


@workflow
async def beside_a_call_that_times_out(given: dict[str, Any]) -> list[Any]:
    running = asyncio.create_task(in_flight(given["ledger"]))
    got = await call_workflow(leaf, "go", ref="kid", timeout=0.3, timeout_value="late")
    running.cancel()
    return [got, await mark(given["ledger"], "went on")]


@workflow
async def until_cancelled(given: dict[str, Any]) -> None:
    try:
        await in_flight(given["ledger"])
    finally:
        await mark(given["ledger"], "cleaned up")
