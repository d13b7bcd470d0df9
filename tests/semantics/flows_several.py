"""Waiting for events of several names."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import RAISE, InvalidInput, WaitTimeout, step, wait_for_all, wait_for_any, wait_for_event, workflow

from .ledger import note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def any_of(rounds: list[list[str]]) -> list[Any]:
    """One wait after the other."""
    return [list(await wait_for_any(names)) for names in rounds]


@workflow
async def any_after(given: dict[str, Any]) -> list[Any]:
    """What came before the first wait is kept."""
    await wait_for_event("start")
    await mark(given["ledger"], "started")
    return [list(await wait_for_any(names)) for names in given["rounds"]]


@workflow
async def all_of(names: list[str]) -> list[Any]:
    found = await wait_for_all(names)
    return [[name, value] for name, value in found.items()]


@workflow
async def beside_others(given: dict[str, Any]) -> dict[str, Any]:
    """Several waits share names: each event goes to who has waited longest for it."""
    waits = {
        "a": wait_for_event("a"),
        "any": wait_for_any(["b", "a"]),
        "all": wait_for_all(["a", "b"]),
        "b": wait_for_event("b"),
    }
    results = await asyncio.gather(*waits.values())
    return dict(zip(waits, results, strict=True))


@workflow
async def any_in_time(given: dict[str, Any]) -> list[Any]:
    try:
        got: Any = await wait_for_any(["a", "b"], timeout=given["timeout"], timeout_value=given.get("value", RAISE))
    except WaitTimeout as error:
        got = ["raised", isinstance(error, TimeoutError)]
    # Parks again: in a replay, the wait must end as it did.
    return [got, await wait_for_event("end")]


@workflow
async def all_in_time(given: dict[str, Any]) -> list[Any]:
    """If one is missing, the others are there for the next wait, in their old order."""
    try:
        got: Any = await wait_for_all(
            ["a", "b", "c"], timeout=given["timeout"], timeout_value=given.get("value", RAISE)
        )
    except WaitTimeout as error:
        got = str(error)
    await mark(given["ledger"], "over")
    await wait_for_event("end")
    return [got, *[list(await wait_for_any(["c", "b", "a"])) for _ in range(given["left"])]]


@workflow
async def just_in_time(given: dict[str, Any]) -> list[Any]:
    """Events at the deadline are all taken, or none is."""
    got = await wait_for_all(["a", "b"], timeout=given["timeout"], timeout_value="late")
    if got != "late":
        return [got]
    return ["late", await wait_for_event("a"), await wait_for_event("b")]


@workflow
async def gives_back(given: dict[str, Any]) -> list[Any]:
    """A wait that is cancelled leaves what it had taken to the others that wait."""
    task = asyncio.create_task(wait_for_all(["a", "b"]))
    await asyncio.sleep(0)
    other = asyncio.create_task(wait_for_event("a"))
    await wait_for_event("cut")
    task.cancel()
    return [await other, await wait_for_event("a")]


@workflow
async def typed(given: dict[str, Any]) -> list[Any]:
    kind = {"int": int, "str": str}[given["type"]]
    try:
        name, value = await wait_for_any(["a", "b"], kind)
    except InvalidInput:
        return ["misfit"]
    rest = await wait_for_all(["c"], kind)
    return [name, value, rest["c"]]
