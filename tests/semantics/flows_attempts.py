"""Children that fail and are run again under their ids."""

from __future__ import annotations

from typing import Any

from durable_async import (
    ChildCancelled,
    ChildFailed,
    NonRetryable,
    Retry,
    call_workflow,
    info,
    minutes,
    sleep,
    step,
    workflow,
)

from .ledger import note

SOON = 0.05


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@workflow
async def leaf(given: dict[str, Any]) -> int:
    await mark(given["ledger"], "leaf")
    return 7


@workflow
async def branch(given: dict[str, Any]) -> list[int]:
    """Succeeds at the attempt asked for; its own child is needed once."""
    got = await call_workflow(leaf, given, ref="leaf")
    attempt = info().attempt
    await mark(given["ledger"], f"attempt {attempt}")
    if attempt < given["good"]:
        raise ValueError(f"attempt {attempt}")
    return [got, attempt]


@workflow
async def calls_with_retry(given: dict[str, Any]) -> list[int]:
    return await call_workflow(branch, given, ref="kid", retry=Retry(max_attempts=given["most"], initial=SOON))


@workflow
async def refuses(given: dict[str, Any]) -> None:
    await mark(given["ledger"], "refused")
    if given["how"] == "for good":
        raise NonRetryable("never")
    raise KeyError("not that one")


@workflow
async def calls_what_refuses(given: dict[str, Any]) -> str:
    policy = Retry(max_attempts=5, initial=SOON, retry_on=(ValueError, NonRetryable))
    try:
        await call_workflow(refuses, given, retry=policy)
    except ChildFailed as error:
        return error.error.type
    return "none"


@workflow
async def gives_up_between_attempts(given: dict[str, Any]) -> str:
    policy = Retry(max_attempts=5, initial=minutes(1))
    late = await call_workflow(branch, given, ref="kid", retry=policy, timeout=0.2, timeout_value="late")
    await sleep(SOON)
    return str(late)


@workflow
async def sleeper(given: dict[str, Any]) -> None:
    await sleep(minutes(10))


@workflow
async def calls_a_cancelled_one(given: dict[str, Any]) -> str:
    try:
        await call_workflow(sleeper, given, ref="kid", retry=3)
    except ChildCancelled as error:
        return error.reason
    return "none"
