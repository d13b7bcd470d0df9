"""Bodies that do what they should not, or a lot of it."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    ChildFailed,
    call_workflow,
    step,
    wait_for_event,
    workflow,
)

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def echo(given: Any) -> Any:
    return given


@workflow
async def fails(given: Any) -> None:
    raise ValueError(given)


@workflow
async def waits(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def gathers_calls(n: int) -> int:
    return sum(await asyncio.gather(*(call_workflow(echo, i) for i in range(n))))


@workflow
async def fails_in_nested_group(given: dict[str, Any]) -> list[str]:
    """The inner branch that fails takes its siblings, and the outer ones, with it."""
    seen: list[str] = []

    async def branch(name: str) -> None:
        try:
            await call_workflow(waits, name, ref=name)
        except asyncio.CancelledError:
            seen.append(name)
            raise

    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(branch("a"))
            group.create_task(branch("b"))
            await call_workflow(fails, "boom", ref="bad")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
            group.create_task(branch("c"))
    except* ChildFailed as group_error:
        seen.append(str(type(group_error.exceptions[0]).__name__))
    await mark(given["ledger"], "after")
    return sorted(seen)


@workflow
async def bare_except(given: dict[str, Any]) -> list[str]:
    """Catches everything everywhere, and is dropped from memory in between."""
    seen = []
    for name in ("a", "b"):
        try:
            seen.append(await wait_for_event(name))
        except:  # noqa: E722  # that is the point
            seen.append("caught")
    seen.append(await mark(given["ledger"], "end"))
    return seen
