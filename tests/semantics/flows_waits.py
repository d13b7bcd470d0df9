"""Sleeping, and waiting for events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_async import RAISE, WaitTimeout, days, now, sleep, sleep_until, step, wait_for_event, workflow

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def naps(seconds: float) -> None:
    await sleep(seconds)


@workflow
async def plain_asyncio_nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow
async def naps_until(seconds: float) -> float:
    """Returns how long it took by durable time."""
    before = now()
    await sleep_until(before + timedelta(seconds=seconds))
    return (now() - before).total_seconds()


@workflow
async def does_not_wait() -> float:
    before = now()
    await sleep(0)
    await sleep_until(datetime(2001, 1, 1, tzinfo=UTC))
    return (now() - before).total_seconds()


@workflow
async def two_naps(given: dict[str, Any]) -> list[str]:
    await sleep(0.1)
    first = await mark(given["ledger"], "first")
    await sleep(0.1)
    return [first, await mark(given["ledger"], "second")]


@workflow
async def month(given: dict[str, Any]) -> None:
    await sleep(days(30))


@workflow
async def nap_and_mark(given: dict[str, Any]) -> str:
    await mark(given["ledger"], "before")
    await sleep(given["seconds"])
    return await mark(given["ledger"], "after")


@workflow
async def takes(names: list[str]) -> list[Any]:
    """One event after the other."""
    return [await wait_for_event(name) for name in names]


@workflow
async def takes_after(given: dict[str, Any]) -> list[Any]:
    """Events that come before their wait are kept."""
    await wait_for_event("start")
    await mark(given["ledger"], "started")
    return [await wait_for_event(name) for name in given["names"]]


@workflow
async def takes_together(names: list[str]) -> list[Any]:
    return list(await asyncio.gather(*(wait_for_event(name) for name in names)))


@workflow
async def impatient(given: dict[str, Any]) -> list[Any]:
    value = given.get("value", RAISE)
    try:
        got = await wait_for_event("never", timeout=0.1, timeout_value=value)
    except WaitTimeout as error:
        got = ["raised", isinstance(error, TimeoutError)]
    # Parks again: in a replay, the wait must end as it did.
    return [got, await wait_for_event("end")]


@workflow
async def just_in_time(given: dict[str, Any]) -> list[Any]:
    """An event at the deadline of one wait is taken by that wait or by the next one."""
    first = await wait_for_event("go", timeout=given["timeout"], timeout_value="late")
    second = await wait_for_event("go") if first == "late" else None
    return [first, second]
