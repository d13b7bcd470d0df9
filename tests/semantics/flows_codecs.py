"""Workflows for the tests of codecs: every place where a user's value can get into the store."""

from __future__ import annotations

from typing import Any

from durable_async import (
    ChildFailed,
    NonRetryable,
    Retry,
    StepFailed,
    call_workflow,
    get_context,
    info,
    put_context,
    step,
    wait_for_event,
    workflow,
)

from .ledger import note


class SecretError(Exception):
    pass


@step(retry=Retry(max_attempts=2, initial=0.01))
async def fails(secret: str) -> None:
    raise SecretError(secret, {secret: [secret]}) from ValueError(secret)


@step
async def says(secret: str) -> dict[str, str]:
    return {secret: secret}


@workflow
async def child(given: dict[str, Any]) -> str:
    if given["fails"]:
        raise NonRetryable(given["secret"])
    return str(given["secret"])


@workflow
async def everything(secret: str) -> dict[str, Any]:
    """Every kind of value and of error, then an event, then a failure of its own or an output."""
    put_context("state", {"secret": secret})
    seen: dict[str, Any] = {"step": await says(secret)}
    try:
        await fails(secret)
    except StepFailed as error:
        seen["step error"] = [error.error.message, error.error.cause is not None]
    seen["child"] = await call_workflow(child, {"secret": secret, "fails": False}, ref="good")
    try:
        await call_workflow(child, {"secret": secret, "fails": True}, ref="bad")
    except ChildFailed as error:
        seen["child error"] = error.error.message
    seen["event"] = await wait_for_event("go")
    put_context("late", {"secret": secret, "set": {secret, secret * 2}})
    seen["context"] = get_context("state")
    if seen["event"] == "fail":
        raise RuntimeError(secret)
    return seen


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@workflow
async def leaf(given: dict[str, Any]) -> int:
    await mark(given["ledger"], "leaf")
    return 7


@workflow
async def branch(given: dict[str, Any]) -> int:
    """Fails at its first attempt, after its child has completed and once it has been told to."""
    put_context("attempt", info().attempt)
    got = await call_workflow(leaf, given, ref="leaf")
    if info().attempt == 1:
        await wait_for_event("fail")
        raise ValueError("once")
    return got


@workflow
async def trunk(given: dict[str, Any]) -> int:
    return await call_workflow(branch, given, ref="branch", retry=Retry(max_attempts=2, initial=0.01))


@workflow
async def echo(value: Any) -> Any:
    return value
