"""Calls with a deadline, and messages that come too late."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    RAISE,
    ChildCancelled,
    ChildTimeout,
    call_workflow,
    now,
    sleep,
    step,
    wait_for_event,
    workflow,
)

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def leaf(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def late(name: str) -> Any:
    """Waits with a descendant of its own."""
    return await call_workflow(leaf, name, ref="leaf")


@workflow
async def times_out(given: dict[str, Any]) -> list[Any]:
    """`value` is what the call is to return; without one, its default."""
    options = {"timeout_value": given["value"]} if "value" in given else {}
    got = await call_workflow(
        late,
        "go",
        ref="kid",
        timeout=given.get("timeout", 0.1),
        on_timeout=given.get("on_timeout", "cancel"),
        **options,
    )
    seen = await mark(given["ledger"], "timed out")
    # Parks again: in a replay, the call must answer as it did.
    ended = await wait_for_event("end")
    return [got, got is CHILD_TIMEOUT, seen, ended]


@workflow
async def times_out_raising(given: dict[str, Any]) -> list[Any]:
    try:
        await call_workflow(late, "go", ref="kid", timeout=0.1, timeout_value=RAISE)
    except ChildTimeout as error:
        caught = [error.child_id, error.workflow, isinstance(error, TimeoutError)]
    else:
        caught = []
    await mark(given["ledger"], "timed out")
    return [caught, await wait_for_event("end")]


@workflow
async def sleeps_until(deadline: float) -> str:
    await sleep(max(0.0, deadline - now().timestamp()))
    return "slept"


@workflow
async def races(offset: float) -> str:
    """Its child ends `offset` seconds from the deadline of the call."""
    deadline = now().timestamp() + 0.5
    got = await call_workflow(sleeps_until, deadline + offset, ref="kid", timeout=0.5, timeout_value="timeout")
    await sleep(0.01)
    return got


@workflow
async def leaves_late(given: dict[str, Any]) -> list[Any]:
    """The child's result, an event and a step come after the time is over."""
    got = await call_workflow(leaf, "go", ref="kid", timeout=0.05, timeout_value=None, on_timeout="leave")
    first = await wait_for_event("next")
    seen = await mark(given["ledger"], "after")
    second = await wait_for_event("next")
    return [got, first, seen, second]


@workflow
async def leaves_and_ends() -> str:
    got: str = await call_workflow(leaf, "go", ref="kid", timeout=0.05, timeout_value="gone on", on_timeout="leave")
    return got


@workflow
async def timer_loses(given: dict[str, Any]) -> list[Any]:
    """The result comes before the time is over; the time passes while the run waits for something else."""
    got = await call_workflow(leaf, "go", ref="kid", timeout=1.5)
    await mark(given["ledger"], "got it")
    await sleep(1.7)
    return [got, await wait_for_event("end")]


@workflow
async def loser_left_waiting(given: dict[str, Any]) -> list[Any]:
    """The loser of the race is neither cancelled nor awaited; its result comes while the run does something else."""
    fast = asyncio.create_task(call_workflow(leaf, "fast", ref="fast"))
    slow = asyncio.create_task(call_workflow(leaf, "slow", ref="slow"))
    done, _ = await asyncio.wait([fast, slow], return_when=asyncio.FIRST_COMPLETED)
    await mark(given["ledger"], "raced")
    return [len(done), await fast, await wait_for_event("end")]


@workflow
async def gives_up(given: dict[str, Any]) -> list[Any]:
    """The call is cancelled by the body; the child's own end comes later."""
    task = asyncio.create_task(call_workflow(late, "go", ref="kid"))
    await wait_for_event("give up")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await mark(given["ledger"], "gave up")
    return [await wait_for_event("end")]


@workflow
async def awaits_cancelled(given: dict[str, Any]) -> list[Any]:
    """Two awaiters of one child; it is cancelled from outside."""

    async def one() -> str:
        try:
            return str(await call_workflow(leaf, "go", ref="kid"))
        except ChildCancelled as error:
            return error.reason

    return list(await asyncio.gather(one(), one()))
