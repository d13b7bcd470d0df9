"""Branches for the fault tests: steps, children, events and failures at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    ChildFailed,
    Err,
    Ok,
    call_workflow,
    info,
    map_workflow,
    parallel,
    sleep,
    wait_for_all,
    wait_for_any,
    workflow,
)

from .flows import Given, note, work


@workflow
async def half(given: Given) -> int:
    """Fails for odd numbers."""
    await work(given["ledger"], info().id, "only", {})
    if given["n"] % 2:
        raise ValueError(f"{given['n']} is odd")
    return int(given["n"]) // 2


@workflow
async def waits(given: Given) -> None:
    try:
        await wait_for_any(["never"])
    finally:
        await work(given["ledger"], info().id, "clean-up", {})


async def _fails_fast(given: Given) -> str:
    """A sibling's child is cancelled; a sibling cleans up with a step before the failure is raised."""
    ledger, me = given["ledger"], info().id

    async def tidy() -> None:
        try:
            await wait_for_any(["never"])
        finally:
            await work(ledger, me, "tidy", {})

    try:
        await parallel(
            {
                "bad": call_workflow(half, {**given, "n": 1}, ref="bad"),
                "sibling": call_workflow(waits, given, ref="sibling"),
                "tidy": tidy(),
            }
        )
    except ChildFailed as error:
        return error.error.message
    return "did not fail"


async def _steps(given: Given) -> str:
    first = await work(given["ledger"], info().id, "first", {})
    await sleep(0.02)
    last = await work(given["ledger"], info().id, "last", {"first": first["nonce"]})
    return last["step"]


@workflow
async def branches(given: Given) -> dict[str, Any]:
    outcomes = await parallel(
        {
            "steps": _steps(given),
            "map": map_workflow(
                half, [{**given, "n": n} for n in range(4)], max_concurrency=2, on_error="complete_all"
            ),
            "fast": _fails_fast(given),
            "any": wait_for_any(["b", "a"]),
            "all": wait_for_all(["a", "c"]),
        },
        on_error="complete_all",
    )
    told = {name: outcome.value if isinstance(outcome, Ok) else repr(outcome) for name, outcome in outcomes.items()}
    told["map"] = ["failed" if isinstance(outcome, Err) else outcome.value for outcome in told["map"]]
    return told


RESULT = {
    "steps": "last",
    "map": [0, "failed", 1, "failed"],
    "fast": "1 is odd",
    "any": ("a", 1),
    "all": {"a": 2, "c": 3},
}


@workflow
async def doomed(given: Given) -> None:
    """A cancel reaches what waits in branches; none of them takes it for an outcome."""
    ledger, me = given["ledger"], info().id

    async def tidy() -> None:
        try:
            await wait_for_any(["never"])
        finally:
            await work(ledger, me, "tidy", {})

    try:
        await parallel(
            {"tidy": tidy(), "map": map_workflow(waits, [given, given], on_error="complete_all")},
            on_error="complete_all",
        )
        await note(ledger, "went on", {"run": me})
    except asyncio.CancelledError:
        await work(ledger, me, "cancelled", {})
        raise
