"""Runs whose entries go astray."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import start_workflow, step, wait_for_event, workflow

from .ledger import note, noted


@step
async def held(ledger: str, name: str) -> str:
    """Until the test lets it go."""
    note(ledger, f"{name} begins")
    await noted(ledger, f"release {name}")
    return name


@step
async def quick(ledger: str, name: str) -> str:
    note(ledger, name)
    return name


@workflow
async def one_step(given: dict[str, Any]) -> str:
    return await held(given["ledger"], given["name"])


@workflow
async def waits(given: dict[str, Any]) -> Any:
    return await wait_for_event("go")


@workflow
async def waits_beside_a_step(given: dict[str, Any]) -> list[Any]:
    async def branch() -> Any:
        await quick(given["ledger"], "before")
        got = await wait_for_event("go")
        await quick(given["ledger"], "went on")
        return got

    return list(await asyncio.gather(held(given["ledger"], "beside"), branch()))


@workflow
async def in_turn(given: dict[str, Any]) -> list[str]:
    return [await quick(given["ledger"], "one"), await quick(given["ledger"], "two")]


@workflow
async def one_after_another(given: dict[str, Any]) -> list[str]:
    return [await held(given["ledger"], "one"), await quick(given["ledger"], "two")]


@workflow
async def starts(given: dict[str, Any]) -> None:
    await start_workflow(waits, given, ref="kid")
    await wait_for_event("never")
