"""The workflows of `flows_code_old`, after a change that fits their journals, or does not."""

from __future__ import annotations

from typing import Any

from durable_async import step, wait_for_event, workflow

from .flows_code_old import reserve, told
from .ledger import note

__all__ = ["appended", "changed", "changed_parent", "told"]


@step
async def book(ledger: str) -> str:
    note(ledger, "book")
    return "new"


@workflow(name="changed")
async def changed(given: dict[str, Any]) -> Any:
    first = await book(given["ledger"])
    return [first, await wait_for_event("go")]


@workflow(name="appended")
async def appended(given: dict[str, Any]) -> Any:
    first = await reserve(given["ledger"])
    return [first, await wait_for_event("go"), await book(given["ledger"])]


@workflow(name="changed_parent")
async def changed_parent(given: dict[str, Any]) -> Any:
    return await book(given["ledger"])
