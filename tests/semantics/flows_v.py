"""What the tests of the store, of workers and of listings run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from durable_async import call_workflow, put_context, sleep, start_workflow, step, wait_for_event, workflow

from .ledger import Ledger, note, noted


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def echo(given: Any) -> Any:
    return given


@workflow
async def other(given: Any) -> Any:
    return given


@workflow(queue="side")
async def fails(message: str) -> None:
    raise ValueError(message)


@workflow
async def waits(name: str) -> Any:
    return await wait_for_event(name)


@step
async def hold(ledger: str, line: str) -> str:
    """Until the test releases it."""
    note(ledger, line)
    await noted(ledger, "release")
    note(ledger, f"{line} ends")
    return line


@workflow
async def holds(given: dict[str, Any]) -> str:
    return await hold(given["ledger"], given["line"])


@step
async def get_stuck_once(ledger: str, line: str) -> str:
    """The first time for ever; after the test has said so, not at all."""
    may_end = f"{line} may end" in Ledger(Path(ledger)).lines()
    note(ledger, line)
    if not may_end:
        await asyncio.sleep(3600)
    return line


@workflow
async def stuck_once(given: dict[str, Any]) -> str:
    return await get_stuck_once(given["ledger"], given["line"])


@step
async def work(ledger: str, line: str) -> str:
    note(ledger, line)
    await asyncio.sleep(0.005)
    return line


@workflow
async def busy(given: dict[str, Any]) -> list[str]:
    """A bit of everything that a worker can be doing with a run when it is told to leave."""
    ledger, n = given["ledger"], given["n"]
    first = await work(ledger, f"{n} first")
    await sleep(0.02)
    second, third = await asyncio.gather(work(ledger, f"{n} second"), call_workflow(busy_child, given, ref="kid"))
    return [first, second, third]


@workflow
async def busy_child(given: dict[str, Any]) -> str:
    line = await work(given["ledger"], f"{given['n']} child")
    await sleep(0.01)
    return line


@workflow
async def calls_waits(name: str) -> Any:
    return await call_workflow(waits, name, ref="kid", queue="kids")


@workflow
async def has_children(n: int) -> int:
    """Completed ones, of one name each."""
    for i in range(n):
        await start_workflow(echo, i, ref=f"c{i}")
    await wait_for_event("go")
    return n


@workflow
async def has_leavers(names: list[str]) -> list[str]:
    """Starts children that outlive it."""
    return [(await start_workflow(waits, name, ref=name)).id for name in names]


@workflow
async def family(level: int) -> int:
    put_context("level", level)
    await sleep(0.01)
    if level:
        await start_workflow(echo, level, ref="started")
        await call_workflow(family, level - 1, ref="called")
    return level


@workflow(retention=timedelta(seconds=0.2))
async def short_lived(n: int) -> int:
    return n


@workflow
async def has_short_lived() -> int:
    return await call_workflow(short_lived, 1, ref="kid")


@workflow
async def sleeps_long(n: int) -> int:
    await sleep(3600)
    return n


@workflow
async def many_events(n: int) -> list[Any]:
    return [await wait_for_event("e") for _ in range(n)]


@workflow
async def steps(given: dict[str, Any]) -> list[str]:
    return [await work(given["ledger"], f"{given['n']}.{i}") for i in range(given["steps"])]
