"""Refs: how children are named within their parent."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    ChildCancelled,
    RefConflict,
    WorkflowDepthExceeded,
    call_workflow,
    info,
    random,
    sleep,
    start_workflow,
    step,
    workflow,
)

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def echo(value: Any) -> Any:
    return value


@workflow
async def other(value: Any) -> Any:
    return value


@workflow
async def naps(given: dict[str, Any]) -> int:
    await sleep(given["seconds"])
    n: int = given["n"]
    return n


@workflow
async def counted(given: dict[str, Any]) -> str:
    return await mark(given["ledger"], "child ran")


@workflow
async def same_ref(given: dict[str, Any]) -> list[str]:
    first = await call_workflow(counted, given, ref="kid")
    second = await call_workflow(counted, given, ref="kid")
    started = await start_workflow(counted, given, ref="kid")
    third = await started.result()
    together = await asyncio.gather(*(call_workflow(counted, given, ref="pair") for _ in range(2)))
    return [first, second, third, *together]


@workflow
async def conflicts() -> list[str]:
    await call_workflow(echo, 1, ref="kid")
    found = []
    for conflicting, value in ((echo, 2), (other, 1), (echo, True)):
        try:
            await call_workflow(conflicting, value, ref="kid")
        except RefConflict as error:
            found.append(str(error))
    try:
        await start_workflow(echo, "1", ref="kid")
    except RefConflict as error:
        found.append(str(error))
    return found


@workflow
async def spent() -> list[str]:
    """A ref whose call timed out is no name any more."""
    found = [str(await call_workflow(naps, {"seconds": 3600, "n": 1}, ref="kid", timeout=0.05, timeout_value="late"))]
    try:
        await call_workflow(naps, {"seconds": 3600, "n": 1}, ref="kid")
    except RefConflict:
        found.append("spent")
    return found


@workflow
async def cancelled_ref() -> str:
    child = await start_workflow(naps, {"seconds": 3600, "n": 1}, ref="kid")
    await child.cancel("enough")
    try:
        await child.result()
    except ChildCancelled as error:
        return error.reason
    return ""


@workflow
async def numbered() -> list[Any]:
    got = [await call_workflow(echo, n) for n in range(2)]
    got.append(await call_workflow(echo, "named", ref="echo-3"))
    got += [await call_workflow(echo, n) for n in range(2, 4)]
    return got


@workflow
async def loops(count: int) -> list[int]:
    return [await call_workflow(echo, n) for n in range(count)]


@workflow
async def gathers(count: int) -> list[list[int]]:
    """Branches with several calls each that finish in an order of their own."""
    chances = random()
    naptimes = [[chances.uniform(0, 0.15) for _ in range(3)] for _ in range(count)]

    async def branch(n: int) -> list[int]:
        got = []
        for at in range(3):
            got.append(await call_workflow(naps, {"seconds": naptimes[n][at], "n": 10 * n + at}))
            await sleep(chances.uniform(0, 0.01))
        return got

    return list(await asyncio.gather(*(branch(n) for n in range(count))))


@workflow
async def dives(levels: int) -> int:
    """Calls itself down to the given depth."""
    if levels == 0:
        return len(info().id.split("/")) - 1 if "~" not in info().id else -1
    return 1 + await call_workflow(dives, levels - 1, ref="d")


@workflow
async def depth(levels: int) -> Any:
    if levels == 0:
        return 0
    try:
        return 1 + await call_workflow(depth, levels - 1, ref="d")
    except WorkflowDepthExceeded as error:
        return 1000 if "levels below its root" in str(error) else -1000


@workflow
async def factorial(n: int) -> int:
    return 1 if n <= 1 else n * await call_workflow(factorial, n - 1)
