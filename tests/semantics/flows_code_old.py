"""The workflows of `flows_code_new`, before they were changed."""

from __future__ import annotations

from asyncio import gather
from typing import Any

from durable_async import call_workflow, step, wait_for_event, workflow

from .ledger import note


@step
async def reserve(ledger: str) -> str:
    note(ledger, "reserve")
    return "old"


@workflow(name="changed")
async def changed(given: dict[str, Any]) -> Any:
    first = await reserve(given["ledger"])
    return [first, await wait_for_event("go")]


@workflow(name="appended")
async def appended(given: dict[str, Any]) -> Any:
    first = await reserve(given["ledger"])
    return [first, await wait_for_event("go")]


@workflow(name="told")
async def told(text: str) -> Any:
    return [text, await wait_for_event("go")]


@workflow(name="changed_parent")
async def changed_parent(given: dict[str, Any]) -> Any:
    await reserve(given["ledger"])
    return await call_workflow(told, "kid", ref="kid")


@workflow(name="mended")
async def mended(given: dict[str, Any]) -> Any:
    first = await reserve(given["ledger"])
    return [first, await wait_for_event("go"), await reserve(given["ledger"])]


@workflow(name="spread")
async def spread(given: dict[str, Any]) -> Any:
    async def branch(name: str) -> list[Any]:
        return [await wait_for_event(name), await call_workflow(told, name, ref=name)]

    return await gather(branch("a"), branch("b"))
