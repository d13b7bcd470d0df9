"""Asking people."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    RAISE,
    InputField,
    Retry,
    WaitTimeout,
    call_workflow,
    continue_as_new,
    step,
    wait_for_approval,
    wait_for_event,
    wait_for_input,
    workflow,
)

from .ledger import note

FIELDS = ["street", InputField("zip", "number"), {"name": "lift", "kind": "boolean", "required": False}]


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def asks(questions: list[dict[str, Any]]) -> list[Any]:
    """One question after the other."""
    return [await wait_for_input(q.pop("name", "q"), **q) for q in questions]


@workflow
async def asks_a_form() -> Any:
    return await wait_for_input("address", kind="form", fields=FIELDS, prompt="Where to?")


@workflow
async def approves(given: dict[str, Any]) -> list[Any]:
    """What follows in the arm that was chosen runs, and the other arm does not (W11)."""
    ledger = given["ledger"]
    said = []
    for n in range(2):
        if await wait_for_approval("manager", f"Number {n}?"):
            said.append(await mark(ledger, f"yes {n}"))
        else:
            said.append(await mark(ledger, f"no {n}"))
    match await wait_for_input("size", kind="choice", choices=["S", "M"]):
        case "S":
            said.append(await mark(ledger, "small"))
        case "M":
            said.append(await mark(ledger, "medium"))
    try:
        said.append(await wait_for_input("late", timeout=0.05))
        await mark(ledger, "in time")
    except WaitTimeout:
        said.append(await mark(ledger, "too late"))
    return said


@workflow
async def asks_together(names: list[str]) -> list[Any]:
    return list(await asyncio.gather(*(wait_for_input(name, kind="number") for name in names)))


@workflow
async def asks_in_vain(given: dict[str, Any]) -> list[Any]:
    value = given.get("value", RAISE)
    try:
        got = await wait_for_input("q", timeout=given.get("timeout", 0.1), timeout_value=value)
    except WaitTimeout as error:
        got = ["raised", isinstance(error, TimeoutError)]
    # Parks again: in a replay, the wait must end as it did.
    return [got, await wait_for_event("end")]


@workflow
async def just_in_time(timeout: float) -> Any:
    return await wait_for_input("q", timeout=timeout, timeout_value="late")


@workflow
async def gives_up() -> list[Any]:
    """The wait is cut short by another clock, and the name is used again."""
    got: list[Any] = []
    try:
        async with asyncio.timeout(0.1):
            got.append(await wait_for_input("q"))
    except TimeoutError:
        got.append("cut")
    got.append(await wait_for_input("q", kind="number"))
    return got


@workflow
async def races() -> Any:
    """The first answer wins; the other question is closed."""
    tasks = [asyncio.create_task(wait_for_input(name)) for name in ("a", "b")]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = done.pop().result()
    return [first, await wait_for_input("c")]


@workflow
async def leaves_one_open() -> str:
    """A task that nobody awaits ends with the body, and so does its question."""
    asyncio.get_running_loop().create_task(wait_for_input("never"))
    await asyncio.sleep(0)
    return await wait_for_input("q")


@workflow
async def asks_twice_at_once() -> str:
    task = asyncio.create_task(wait_for_input("q"))
    await asyncio.sleep(0)
    try:
        await wait_for_input("q")
    except ValueError as error:
        return f"{error} {await task}"
    return "both were asked"


@workflow
async def asks_on_the_way_out() -> None:
    try:
        await wait_for_input("q")
    finally:
        await mark(await wait_for_input("where to note it"), "cleaned up")


@workflow
async def parent() -> list[Any]:
    return await call_workflow(asks, [{"name": "q"}], ref="kid")


@step
async def unmark(ledger: str) -> None:
    note(ledger, "undone")


@step(compensate=unmark)
async def mark_for_now(ledger: str) -> str:
    note(ledger, "done")
    return ledger


@workflow
async def will_not_stop(given: dict[str, Any]) -> None:
    if given["saga"]:
        await mark_for_now(given["ledger"])
    while True:
        try:
            await wait_for_input("q")
        except asyncio.CancelledError:
            await mark(given["ledger"], "does not mind")


@workflow(retry=Retry(max_attempts=3, initial=0.01, jitter=0.0))
async def asks_until_it_is_yes(given: dict[str, Any]) -> str:
    """Another life for every no, with both questions asked anew."""
    aside = asyncio.create_task(wait_for_input("aside"))
    if not await wait_for_approval("yes?"):
        raise ValueError("no")
    return await aside


@workflow
async def asks_for_ever(said: list[str]) -> list[str]:
    """Another life for every answer."""
    answer = await wait_for_input("more?", prompt=f"number {len(said)}")
    if answer != "stop":
        continue_as_new([*said, answer])
    return said


@workflow(timeout=0.5)
async def has_little_time() -> str:
    return await wait_for_input("q")


@workflow
async def calls_who_asks() -> Any:
    return await call_workflow(asks, [{"name": "q"}], ref="kid", timeout=0.4, timeout_value="late")
