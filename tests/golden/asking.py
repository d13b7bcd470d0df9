"""More of `flows`: what people are asked."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import wait_for_approval, wait_for_input, workflow

from .flows import SOON, echo


@workflow
async def asks() -> list[Any]:
    name = await wait_for_input("name", prompt="Who are you?")
    size = await wait_for_input("size", kind="choice", choices=["S", 42], metadata={"why": "shirts"})
    late = await wait_for_input("late", kind="number", timeout=SOON, timeout_value=-1)
    await echo("between")
    form, fine = await asyncio.gather(
        wait_for_input("form", kind="form", fields=["a", "b"]), wait_for_approval("fine?")
    )
    return [name, size, late, form, fine]
