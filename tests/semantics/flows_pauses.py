"""What runs in queues that are paused."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import call_workflow, sleep, step, wait_for_event, workflow

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


@workflow(queue="mail")
async def send(n: int) -> int:
    return n


@workflow
async def other(n: int) -> int:
    return n


@workflow(queue="mail")
async def gets(ledger: str) -> str:
    got = await wait_for_event("go")
    return await mark(ledger, f"got {got}")


@workflow(queue="mail")
async def naps(ledger: str) -> str:
    await sleep(0.05)
    return await mark(ledger, "awake")


@workflow(queue="mail")
async def works(ledger: str) -> str:
    await hold(ledger, "begun")
    return await mark(ledger, "more")


@workflow(queue="mail")
async def tidies(ledger: str) -> None:
    try:
        await wait_for_event("never")
    except asyncio.CancelledError:
        await mark(ledger, "tidied")
        raise


@workflow
async def orders(n: int) -> Any:
    return await call_workflow(send, n, ref="kid")
