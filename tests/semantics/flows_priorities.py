"""What runs with priorities: each says when it was its turn."""

from __future__ import annotations

from typing import Any

from durable_async import call_workflow, step, wait_for_event, workflow

from .ledger import note, noted


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@step
async def hold(ledger: str, line: str) -> None:
    """Until the test releases it."""
    note(ledger, line)
    await noted(ledger, "release")


@workflow
async def takes_turn(given: dict[str, Any]) -> str:
    return await mark(given["ledger"], given["line"])


@workflow
async def holds(ledger: str) -> None:
    await hold(ledger, "held")


@workflow
async def waits(given: dict[str, Any]) -> Any:
    await mark(given["ledger"], given["line"])
    return await wait_for_event("go")


@workflow
async def asks(given: dict[str, Any]) -> str:
    """A child in a queue where others wait."""
    return await call_workflow(takes_turn, given, ref="kid", queue="busy")
