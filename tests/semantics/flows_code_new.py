"""The workflows of `flows_code_old`, after a change that fits their journals, or does not."""

from __future__ import annotations

from asyncio import gather
from typing import Any

from durable_async import call_workflow, patched, step, wait_for_event, workflow

from .flows_code_old import reserve, told
from .ledger import note

__all__ = ["appended", "changed", "changed_parent", "mended", "spread", "told"]


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


@workflow(name="mended")
async def mended(given: dict[str, Any]) -> Any:
    """As `changed` it would block; so it does not."""
    first = await (book if patched("book-first") else reserve)(given["ledger"])
    last = await wait_for_event("go")
    if patched("go-twice"):
        last = [last, await call_workflow(told, "twice", ref="twice")]
    return [first, last, await reserve(given["ledger"]), patched("book-first")]


@workflow(name="spread")
async def spread(given: dict[str, Any]) -> Any:
    async def branch(name: str) -> list[Any]:
        got = await wait_for_event(name)
        kid = await call_workflow(told, name, ref=f"new-{name}" if patched("kids") else name)
        return [got, kid, patched("kids")]

    return await gather(branch("a"), branch("b"))
