"""More of `flows`: what came after them."""

from __future__ import annotations

from typing import Any

from durable_async import progress, step, workflow

from .flows import QUICK, echo


@step(at_most_once=True, retry=QUICK)
async def once(text: str) -> str:
    return text


@workflow
async def at_most_once() -> list[str]:
    return [await once("a"), await echo("between"), await once("b")]


@workflow
async def says_how_far(total: int) -> Any:
    for n in range(total):
        progress(n, total, message="on its way")
        await echo(n)
    progress(total)
    return total
