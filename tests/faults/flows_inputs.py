"""Questions under faults: answered, out of time, given up, and asked again under the same name."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import info, wait_for_approval, wait_for_input, workflow

from .flows import Given, work


@workflow
async def asks(given: Given) -> list[Any]:
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    approved = await wait_for_approval("ok", "Go on?")
    late = await wait_for_input("late", timeout=0.05, timeout_value="late")
    try:
        async with asyncio.timeout(0.05):
            await wait_for_input("cut")
    except TimeoutError:
        late += " and cut"
    sizes = await asyncio.gather(
        wait_for_input("ok", kind="number"), wait_for_input("form", kind="form", fields=["a", "b"])
    )
    await work(ledger, me, "last", {"first": first["nonce"]})
    return [approved, late, *sizes]


ASKS_RESULT = [True, "late and cut", 7, {"a": "x", "b": "y"}]


@workflow
async def asks_one() -> Any:
    return await wait_for_input("q")
