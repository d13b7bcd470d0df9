"""Steps that run at most once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from durable_async import Retry, StepInterrupted, step, workflow

from .ledger import Ledger, note, noted


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@step(at_most_once=True)
async def once(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@step(at_most_once=True)
async def held(ledger: str) -> str:
    note(ledger, "begun")
    await noted(ledger, "release")
    return "done"


@step(at_most_once=True)
def held_thread(ledger: str) -> str:
    note(ledger, "begun")
    while "release" not in Ledger(Path(ledger)).lines():
        time.sleep(0.01)
    return "done"


BROAD = Retry(max_attempts=3, initial=0.01)
NAMED = Retry(max_attempts=3, initial=0.01, retry_on=(StepInterrupted,))
STEPS = {
    "held": held,
    "thread": held_thread,
    "broad": held.options(retry=BROAD),
    "named": held.options(retry=NAMED),
    "timeout": held.options(timeout=3600),
}


@workflow
async def runs_once(given: dict[str, Any]) -> str:
    try:
        return await STEPS[given["which"]](given["ledger"])
    except StepInterrupted as error:
        await mark(given["ledger"], f"interrupted {type(error).__name__}")
        return "unknown"


@workflow
async def not_caught(given: dict[str, Any]) -> str:
    return await held(given["ledger"])


@step(at_most_once=True, retry=Retry(max_attempts=3, initial=0.01))
async def fails_twice(ledger: str) -> str:
    note(ledger, "try")
    if len(Ledger(Path(ledger)).starting("try")) < 3:
        raise ConnectionError("not yet")
    return "third time"


@workflow
async def retried(given: dict[str, Any]) -> str:
    return await fails_twice(given["ledger"])


@workflow
async def many(given: dict[str, Any]) -> list[str]:
    """What the body saw of each: the line, or that it was interrupted."""
    found = []
    for n in range(given["steps"]):
        try:
            found.append(await once(given["ledger"], f"{given['me']} {n}"))
        except StepInterrupted:
            found.append("unknown")
    return found


@workflow
async def given_up(given: dict[str, Any]) -> str:
    """Its step is cancelled on its way: it has no outcome, and nobody asks for it any more."""
    try:
        async with asyncio.timeout(0.05):
            await held(given["ledger"])
    except TimeoutError:
        return "went on"
    return "done"


@workflow
async def both(given: dict[str, Any]) -> list[str]:
    """In a gather: one that is interrupted takes nothing from the other."""
    found = await asyncio.gather(held(given["ledger"]), once(given["ledger"], "other"), return_exceptions=True)
    return [type(each).__name__ if isinstance(each, Exception) else each for each in found]
