"""Code that only the workers of another queue have."""

from __future__ import annotations

from durable_async import workflow


@workflow(queue="elsewhere")
async def known_elsewhere(n: int) -> int:
    return 10 * n


@workflow
async def known_later(n: int) -> int:
    return 20 * n
