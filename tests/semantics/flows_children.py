"""Parents and children: calling, failing, being cancelled, being late."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from durable_async import (
    ChildCancelled,
    ChildFailed,
    Retry,
    call_workflow,
    put_context,
    sleep,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .ledger import Ledger, note, noted


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@step
async def explode(message: str) -> None:
    raise ValueError(message)


@workflow(queue="kids")
async def double(given: dict[str, Any]) -> int:
    """Has secrets that are not its output."""
    put_context("secret", "child's own")
    await mark(given["ledger"], "child")
    n: int = given["n"]
    return 2 * n


@workflow
async def calls_double(given: dict[str, Any]) -> dict[str, Any]:
    before = await mark(given["ledger"], "before")
    got = await call_workflow(double, given, ref="kid")
    after = await mark(given["ledger"], "after")
    return {"got": got, "steps": [before, after]}


@workflow
async def fails(message: str) -> None:
    await explode(message)


@workflow
async def catches(message: str) -> dict[str, Any]:
    try:
        await call_workflow(fails, message, ref="bad")
    except ChildFailed as error:
        info = error.error
        return {
            "id": error.child_id,
            "workflow": error.workflow,
            "type": info.type,
            "message": info.message,
            "traceback": info.traceback,
        }
    return {}


@workflow
async def lets_fail(message: str) -> None:
    await call_workflow(fails, message, ref="bad")


@workflow
async def waits(name: str) -> Any:
    """Until somebody speaks to it."""
    return await wait_for_event(name)


@workflow
async def calls_waits(name: str) -> dict[str, Any]:
    try:
        return {"value": await call_workflow(waits, name, ref="kid")}
    except ChildCancelled as error:
        return {"cancelled": error.reason, "id": error.child_id}
    except ChildFailed as error:
        return {"failed": error.error.type}


@workflow(queue="nobody")
async def never_served() -> None:
    return None


@workflow
async def calls_never_served() -> dict[str, Any]:
    try:
        await call_workflow(never_served, ref="kid")
    except ChildCancelled as error:
        return {"cancelled": error.reason}
    return {}


@workflow
async def instant(n: int) -> int:
    return n


@workflow
async def calls_instant(given: dict[str, Any]) -> list[int]:
    got = [await call_workflow(instant, 1, ref="one", queue=given["queue"])]
    await mark(given["ledger"], "between")
    got.append(await call_workflow(instant, 2, ref="two", queue=given["queue"]))
    await mark(given["ledger"], "end")
    return got


@workflow
async def starts_instant(given: dict[str, Any]) -> str:
    child = await start_workflow(instant, 1, ref="one", queue=given["queue"])
    await mark(given["ledger"], "started")
    return child.id


@workflow
async def steps_and_a_child(given: dict[str, Any]) -> list[Any]:
    first = await mark(given["ledger"], "first")
    second = await mark(given["ledger"], "second")
    value = await call_workflow(waits, "go", ref="kid", queue=given["queue"])
    third = await mark(given["ledger"], "third")
    return [first, second, value, third]


@workflow
async def two_starts(given: dict[str, Any]) -> list[str]:
    one = await start_workflow(slow_mark, {**given, "line": "one"}, ref="one")
    two = await start_workflow(slow_mark, {**given, "line": "two"}, ref="two")
    return [one.id, two.id]


@workflow
async def slow_mark(given: dict[str, Any]) -> str:
    await wait_for_event("go")
    return await mark(given["ledger"], given["line"])


@workflow
async def starts_then_awaits(given: dict[str, Any]) -> list[int]:
    one = await start_workflow(instant, 1, ref="one")
    two = await start_workflow(instant, 2, ref="two")
    await sleep(0.05)
    return list(await asyncio.gather(one.result(), two.result()))


@workflow
async def grandchild(n: int) -> int:
    return n + 1


@workflow
async def middle(n: int) -> int:
    return await call_workflow(grandchild, n) + 10


@workflow
async def top(n: int) -> int:
    return await call_workflow(middle, n) + 100


@step
async def get_stuck(ledger: str) -> None:
    note(ledger, "stuck")
    await asyncio.sleep(3600)


@workflow
async def stuck(given: dict[str, Any]) -> None:
    await get_stuck(given["ledger"])


@workflow
async def calls_stuck(given: dict[str, Any]) -> dict[str, Any]:
    try:
        await call_workflow(stuck, given, ref="kid")
    except ChildCancelled as error:
        return {"cancelled": error.reason}
    return {}


@step
async def kill_my_worker(ledger: str) -> None:
    note(ledger, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


@workflow(queue="poison")
async def poison(given: dict[str, Any]) -> None:
    await kill_my_worker(given["ledger"])


@workflow
async def calls_poison(given: dict[str, Any]) -> dict[str, Any]:
    try:
        await call_workflow(poison, given, ref="kid")
    except ChildFailed as error:
        return {"failed": error.error.type}
    return {}


@step
async def until_released(ledger: str) -> str:
    await noted(ledger, "release")
    return "released"


@workflow
async def calls_beside_step(given: dict[str, Any]) -> list[Any]:
    return list(await asyncio.gather(call_workflow(double, given, ref="kid"), until_released(given["ledger"])))


@step(retry=Retry(max_attempts=5, initial=0.01))
async def third_time(ledger: str) -> int:
    note(ledger, "try")
    if Ledger(Path(ledger)).counts()["try"] < 3:
        raise ValueError("not yet")
    return 3


@workflow
async def stumbles_after_child(given: dict[str, Any]) -> list[int]:
    return [await call_workflow(double, given, ref="kid"), await third_time(given["ledger"])]
