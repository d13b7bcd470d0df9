"""Races over children with asyncio's own tools, and children that end with their parent."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from durable_async import call_workflow, start_workflow, step, wait_for_event, workflow

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def waits(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def bad(name: str) -> None:
    await wait_for_event(name)
    raise ValueError("bad")


def calls(names: list[str]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(call_workflow(waits, "go", ref=name)) for name in names]


@workflow
async def first_completed(given: dict[str, Any]) -> list[Any]:
    """The losers are cancelled by the body."""
    tasks = calls(["a", "b", "c"])
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await mark(given["ledger"], "raced")
    # Parks once more, so that the race itself is replayed.
    return [[t.result() for t in done], len(pending), await wait_for_event("end")]


@workflow
async def first_completed_and_returns(given: dict[str, Any]) -> list[Any]:
    """Nobody cancels the losers: the end of the body does."""
    done, _ = await asyncio.wait(calls(["a", "b", "c"]), return_when=asyncio.FIRST_COMPLETED)
    return [t.result() for t in done]


@workflow
async def as_completed(given: dict[str, Any]) -> list[Any]:
    got = []
    for next_done in asyncio.as_completed(calls(["a", "b", "c"])):
        got.append(await next_done)
        await mark(given["ledger"], f"got {got[-1]}")
    return [got, await wait_for_event("end")]


@workflow
async def bounded(given: dict[str, Any]) -> list[Any]:
    got = None
    try:
        async with asyncio.timeout(0.1):
            got = await call_workflow(waits, "go", ref="a")
    except TimeoutError:
        await mark(given["ledger"], "timed out")
    return [got, await wait_for_event("end")]


@workflow
async def group(given: dict[str, Any]) -> list[Any]:
    caught = []
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call_workflow(waits, "go", ref="a"))
            tasks.create_task(call_workflow(waits, "go", ref="b"))
            tasks.create_task(call_workflow(bad, "fail", ref="bad"))
    except* Exception as errors:
        caught = [type(e).__name__ for e in errors.exceptions]
    await mark(given["ledger"], "group is over")
    return [caught, await wait_for_event("end")]


@workflow
async def group_of_steps(given: dict[str, Any]) -> list[Any]:
    """A sibling in the body itself raises while a child runs."""
    caught = []
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call_workflow(waits, "go", ref="a"))
            await wait_for_event("fail")
            raise ValueError("mine")
    except* ValueError as errors:
        caught = [str(e) for e in errors.exceptions]
    return caught


@step
async def kill_my_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@workflow
async def closes(given: dict[str, Any]) -> None:
    """Starts children with several policies and ends, one way or the other."""
    for ref, policy in given["policies"].items():
        workflow = keeps if policy is None else waits
        await start_workflow(workflow, "go", ref=ref, on_parent_close=policy)
    await wait_for_event("end")
    if given["how"] == "kills":
        await kill_my_worker()
    if given["how"] == "fails":
        raise ValueError("over")


@workflow(on_parent_close="cancel")
async def keeps(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def abandons(given: dict[str, Any]) -> str:
    """Leaves a call behind that nobody awaits."""
    given_up = asyncio.create_task(call_workflow(waits, "go", ref="a"))
    await wait_for_event("end")
    return f"{given_up.done()}"


@workflow
async def fails_beside(given: dict[str, Any]) -> None:
    await asyncio.gather(call_workflow(waits, "go", ref="a"), call_workflow(bad, "fail", ref="bad"))
