"""Workflows whose children have one large input in common."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import call_workflow, start_workflow, step, wait_for_event, workflow

from .ledger import note

LARGE = "0123456789" * 400


@step
async def length(text: str) -> int:
    return len(text)


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@workflow
async def measures(given: dict[str, Any]) -> int:
    return await length(given["text"])


@workflow
async def waits_and_marks(given: dict[str, Any]) -> int:
    child = await wait_for_event("go")
    await mark(given["ledger"], f"{child} {len(given['text'])}")
    return len(given["text"])


@workflow
async def fans_out(count: int) -> list[int]:
    given = {"text": LARGE}
    return list(await asyncio.gather(*(call_workflow(measures, given, ref=f"c{n}") for n in range(count))))


@workflow
async def fans_out_differing(count: int) -> list[int]:
    inputs = [{"text": LARGE + "x" * (n // 2)} for n in range(count)]
    return list(await asyncio.gather(*(call_workflow(measures, each, ref=f"c{n}") for n, each in enumerate(inputs))))


@workflow
async def passes_on(given: dict[str, Any]) -> int:
    return sum(await asyncio.gather(*(call_workflow(measures, given, ref=f"g{n}") for n in range(4))))


@workflow
async def fans_out_twice(count: int) -> list[int]:
    given = {"text": LARGE}
    return list(await asyncio.gather(*(call_workflow(passes_on, given, ref=f"c{n}") for n in range(count))))


@workflow
async def hands_down(given: dict[str, Any]) -> int:
    return await call_workflow(measures, {"text": given["text"]}, ref="g")


@workflow
async def fans_out_to_chains(count: int) -> list[int]:
    given = {"text": LARGE}
    return list(await asyncio.gather(*(call_workflow(hands_down, given, ref=f"c{n}") for n in range(count))))


@workflow
async def leaves_at_once(given: dict[str, Any]) -> None:
    """A child that ends, and leaves two that wait."""
    await asyncio.gather(
        *(start_workflow(waits_and_marks, given, ref=f"g{n}", on_parent_close="leave") for n in (0, 1))
    )


@workflow
async def leaves_and_waits(given: dict[str, Any]) -> None:
    """A child that goes on without its parent, and then starts two more."""
    await asyncio.gather(
        *(start_workflow(waits_and_marks, given, ref=f"g{n}", on_parent_close="leave") for n in (0, 1))
    )
    await wait_for_event("go")
    await asyncio.gather(*(call_workflow(measures, given, ref=f"late{n}") for n in (0, 1)))
    await mark(given["ledger"], "late")


@workflow
async def leaves_on_two_levels(ledger: str) -> None:
    given = {"text": LARGE, "ledger": ledger}
    await call_workflow(leaves_at_once, given, ref="over")
    await start_workflow(leaves_and_waits, given, ref="on", on_parent_close="leave")


@workflow
async def leaves_waiting(ledger: str) -> None:
    given = {"text": LARGE, "ledger": ledger}
    children = (start_workflow(waits_and_marks, given, ref=f"c{n}", on_parent_close="leave") for n in range(3))
    await asyncio.gather(*children)
