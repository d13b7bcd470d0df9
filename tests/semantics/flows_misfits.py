"""Values that do not fit their annotations, as after a change of the code."""

from __future__ import annotations

from typing import Any

from durable_async import workflow

NOT_A_NUMBER: Any = "not a number"


@workflow
async def says_int() -> int:
    """Its body breaks its word."""
    value: int = NOT_A_NUMBER
    return value


@workflow
async def says_nothing_wrong(n: int) -> int:
    return n
