"""What runs in limited queues. Steps write down when they begin and end, so that a test sees who was there together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from durable_async import Queue, call_workflow, seconds, sleep, start_workflow, step, wait_for_event, workflow

from .ledger import note, noted

PERIOD = timedelta(seconds=1)
few = Queue("few", concurrency=3)
one = Queue("one", concurrency=1)
keyed = Queue("keyed", concurrency=5, key=lambda given: given["key"], per_key=1)
paced = Queue("paced", rate=(5, PERIOD))


@step
async def work(ledger: str, line: str) -> str:
    note(ledger, f"> {line}")
    await asyncio.sleep(0.005)
    note(ledger, f"< {line}")
    return line


@step
async def hold(ledger: str, line: str) -> None:
    """Until the test releases it."""
    note(ledger, f"> {line}")
    await noted(ledger, "release")
    note(ledger, f"< {line}")


async def works(given: dict[str, Any]) -> str:
    """Twice, and nobody else in between."""
    await work(given["ledger"], f"{given['line']} a")
    return await work(given["ledger"], f"{given['line']} b")


@workflow(queue=few)
async def works_few(given: dict[str, Any]) -> str:
    return await works(given)


@workflow(queue=one)
async def works_one(given: dict[str, Any]) -> str:
    return await works(given)


@workflow(queue=keyed)
async def works_keyed(given: dict[str, Any]) -> str:
    return await works(given)


@workflow(queue=paced)
async def works_paced(given: dict[str, Any]) -> str:
    return await works(given)


@workflow(queue=one)
async def holds(given: dict[str, Any]) -> None:
    await hold(given["ledger"], given["line"])


@workflow(queue=one)
async def descends(n: int) -> int:
    """Parents and children in a queue of one place."""
    if n == 0:
        await sleep(0.01)
        return 0
    return 1 + await call_workflow(descends, n - 1, ref="kid")


@workflow(queue=one)
async def fans_out(given: dict[str, Any]) -> list[str]:
    calls = [call_workflow(works_one, {**given, "line": f"{given['line']}{n}"}, ref=f"k{n}") for n in range(5)]
    return list(await asyncio.gather(*calls))


@workflow(queue=keyed)
async def fans_out_keyed(given: dict[str, Any]) -> int:
    """Children of its own key, and of others."""
    for n in range(6):
        await start_workflow(works_keyed, {**given, "key": f"k{n % 2}", "line": f"c{n}"}, ref=f"c{n}")
    return 6


@workflow(queue=one)
async def waits(given: dict[str, Any]) -> Any:
    got = await wait_for_event("go")
    await work(given["ledger"], f"{given['line']} {got}")
    return got


@workflow(queue=one)
async def tidies(given: dict[str, Any]) -> None:
    try:
        await wait_for_event("never")
    finally:
        await work(given["ledger"], given["line"])


@workflow(queue=one)
async def naps(given: dict[str, Any]) -> str:
    await sleep(seconds(0.02))
    return await work(given["ledger"], given["line"])


@workflow
async def free(given: dict[str, Any]) -> str:
    """Of no limited queue, unless it is started there."""
    return await works(given)
