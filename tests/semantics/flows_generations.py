"""Runs that begin another life under their id: further attempts, new inputs; and runs with a timeout."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    ChildFailed,
    NonRetryable,
    Retry,
    call_workflow,
    continue_as_new,
    get_context,
    info,
    minutes,
    put_context,
    sleep,
    start_workflow,
    step,
    uuid,
    wait_for_event,
    workflow,
)

from .ledger import Ledger, note

SOON = 0.05
POLICY = Retry(max_attempts=3, initial=SOON)


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@workflow
async def leaf(given: dict[str, Any]) -> int:
    await mark(given["ledger"], "leaf")
    return 7


@workflow
async def sleeper(given: dict[str, Any]) -> None:
    try:
        await sleep(minutes(10))
    finally:
        await mark(given["ledger"], f"sleeper ends {info().attempt}")


@workflow
async def echo(given: dict[str, Any]) -> Any:
    await mark(given["ledger"], f"echo {given['say']}")
    return given["say"]


@workflow(retry=POLICY)
async def stubborn(given: dict[str, Any]) -> list[Any]:
    """Succeeds at the attempt asked for; what its child did is needed once, what it started is started again."""
    attempt = info().attempt
    got = await call_workflow(leaf, given, ref="leaf")
    await mark(given["ledger"], f"attempt {attempt}")
    put_context(f"seen {attempt}", attempt)
    if attempt < given["good"]:
        raise ValueError(f"attempt {attempt}")
    return [got, attempt, get_context("seen 1")]


@workflow(retry=POLICY)
async def refuses(given: dict[str, Any]) -> None:
    await mark(given["ledger"], "refused")
    raise NonRetryable("never")


@workflow
async def calls_stubborn(given: dict[str, Any]) -> Any:
    try:
        return await call_workflow(stubborn, given, ref="kid")
    except ChildFailed as error:
        return [error.error.type, error.error.message]


@workflow(retry=Retry(max_attempts=2, initial=SOON))
async def leaves_children_behind(given: dict[str, Any]) -> list[Any]:
    """The first attempt fails beside a call that goes on, and with a started child of its own."""
    attempt = info().attempt
    if attempt == 1:
        call = asyncio.ensure_future(call_workflow(echo_or_sleep, {**given, "say": "called"}, ref="called"))
        await start_workflow(echo_or_sleep, {**given, "say": "started"}, ref="started")
        await wait_for_event("go")
        call.cancel()
        raise ValueError("the first one")
    called = await call_workflow(echo_or_sleep, {**given, "say": "called"}, ref="called")
    child = await start_workflow(echo_or_sleep, {**given, "say": "started"}, ref="started")
    return [called, await child.result()]


@workflow(retry=Retry(max_attempts=2, initial=SOON))
async def starts_then_awaits(given: dict[str, Any]) -> list[Any]:
    """Both attempts start a child, do something else, and await it then."""
    child = await start_workflow(leaf, given, ref="kid")
    await mark(given["ledger"], f"between {info().attempt}")
    got = await child.result()
    if info().attempt == 1:
        raise ValueError("the first one")
    return [got, info().attempt]


@workflow
async def echo_or_sleep(given: dict[str, Any]) -> Any:
    await mark(given["ledger"], f"{given['say']} begins")
    if given["say"] == "called" and not info().id.endswith("x"):
        try:
            await wait_for_event("end")
        finally:
            await mark(given["ledger"], "cleaned up")
    else:
        await wait_for_event("end")
    return given["say"]


@workflow
async def counts_down(n: int) -> list[Any]:
    """Ends at 0; each life has a uuid and a context of its own to add to."""
    seen = [*get_context("seen", []), [n, str(uuid()), info().attempt]]
    put_context("seen", seen)
    if n > 0:
        continue_as_new(n - 1)
    return seen


@workflow
async def drains(given: dict[str, Any]) -> list[Any]:
    """Takes two events a life, until it has five."""
    got = [*given.get("got", []), await wait_for_event("item"), await wait_for_event("item")]
    if len(got) < 6:
        continue_as_new({**given, "got": got})
    return got


@workflow
async def calls_every_life(given: dict[str, Any]) -> list[Any]:
    """A child met again is run again, never adopted."""
    n = given["n"]
    await call_workflow(echo, {**given, "say": "same", "n": 0, "got": []}, ref="kid")
    if n > 0:
        continue_as_new({**given, "n": n - 1})
    return []


@workflow
async def starts_every_life(given: dict[str, Any]) -> str:
    """What the first life started under the ref is still there when the second starts it."""
    await start_workflow(echo_or_sleep, {**given, "say": "started", "n": 0}, ref="kid")
    if given["n"] > 0:
        continue_as_new({**given, "n": given["n"] - 1})
    return "done"


@workflow
async def continues_in_a_group(n: int) -> int:
    async def other() -> None:
        await asyncio.sleep(SOON)
        continue_as_new(0)

    if n == 0:
        return 0
    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        group.create_task(asyncio.sleep(600))
    return -1


@workflow
async def continues_under_cancel(given: dict[str, Any]) -> None:
    try:
        await sleep(minutes(10))
    finally:
        continue_as_new(given)


@workflow(timeout=0.3)
async def takes_too_long(given: dict[str, Any]) -> str:
    try:
        await call_workflow(sleeper, given, ref="kid")
    except asyncio.CancelledError:
        await mark(given["ledger"], "told")
        if given.get("swallows"):
            return "swallowed"
        raise
    return "never"


@workflow(timeout=0.3)
async def never_lets_go(given: dict[str, Any]) -> None:
    while True:
        try:
            await sleep(minutes(10))
        except asyncio.CancelledError:
            await mark(given["ledger"], "told")


@workflow(timeout=0.3, retry=Retry(max_attempts=2, initial=SOON))
async def too_long_twice(given: dict[str, Any]) -> int:
    if info().attempt == 1:
        await sleep(minutes(10))
    return info().attempt


@workflow(timeout=minutes(1))
async def in_time(given: dict[str, Any]) -> int:
    return await call_workflow(leaf, given)


@workflow(timeout=0.3, queue="nobody")
async def nobody_serves(given: dict[str, Any]) -> None:
    """Never claimed."""


@workflow
async def calls_what_is_late(given: dict[str, Any]) -> list[str]:
    found = []
    for late in (takes_too_long, nobody_serves):
        try:
            await call_workflow(late, given)
        except ChildFailed as error:
            found.append(error.error.type)
    return found


@step(retry=Retry(max_attempts=2, initial=SOON))
async def fragile(given: dict[str, Any], name: str) -> str:
    """Fails until the test says otherwise: with a line in the ledger."""
    note(given["ledger"], f"fragile {name}")
    if f"mended {name}" not in Ledger(given["ledger"]).lines():
        raise ConnectionError(name)
    return name


@workflow
async def fragile_child(given: dict[str, Any]) -> str:
    await mark(given["ledger"], "child's own")
    return await fragile(given, "child")


@workflow
async def branches_that_fail(given: dict[str, Any]) -> list[Any]:
    """One branch fails while others have done something, or wait; cleanup uses the steps that others use."""
    await mark(given["ledger"], "before")

    async def good() -> str:
        for n in range(3):
            await mark(given["ledger"], f"good {n}")
        return "good"

    async def bad() -> str:
        try:
            return await fragile(given, "bad")
        finally:
            await mark(given["ledger"], "cleanup")

    async def calls() -> Any:
        return await call_workflow(waits_for_end, given, ref="kid")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch()) for branch in (good, bad, calls)]
    await mark(given["ledger"], "after")
    return [task.result() for task in tasks]


@workflow
async def waits_for_end(given: dict[str, Any]) -> str:
    return str(await wait_for_event("end"))


@workflow
async def calls_fragile(given: dict[str, Any]) -> list[Any]:
    leaf_out = await call_workflow(leaf, given, ref="leaf")
    return [leaf_out, await call_workflow(fragile_child, given, ref="kid")]


@workflow
async def fails_by_itself(given: dict[str, Any]) -> str:
    await mark(given["ledger"], "once")
    raise ValueError("a bug")


@workflow
async def three_steps(given: dict[str, Any]) -> list[str]:
    out = [await said(given, "one")]
    kid = await call_workflow(leaf, given, ref="leaf")
    out.append(await said(given, "two"))
    child = await start_workflow(waits_for_end, given, ref="kid")
    out.append(await said(given, "three"))
    return [*out, str(kid), await child.result()]


@step
async def said(given: dict[str, Any], name: str) -> str:
    note(given["ledger"], f"said {name}")
    return f"{name} {sum(line == f'said {name}' for line in Ledger(given['ledger']).lines())}"


@workflow(timeout=0.4)
async def waits_too_long(given: dict[str, Any]) -> Any:
    await mark(given["ledger"], "once")
    try:
        return await wait_for_event("go")
    finally:
        await mark(given["ledger"], "cleanup")


@step(at_most_once=True)
async def fragile_once(given: dict[str, Any], name: str) -> str:
    note(given["ledger"], f"once {name}")
    if f"mended {name}" not in Ledger(given["ledger"]).lines():
        raise ConnectionError(name)
    return name


@workflow
async def fails_at_most_once(given: dict[str, Any]) -> str:
    await mark(given["ledger"], "before")
    return await fragile_once(given, "it")
