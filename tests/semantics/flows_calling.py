"""Steps that start workflows and wait for them."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    RAISE,
    ChildCancelled,
    ChildFailed,
    ChildTimeout,
    DeterminismError,
    RefConflict,
    Retry,
    call_workflow,
    parallel,
    sleep,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .ledger import Ledger, note, noted


@workflow
async def kid(given: dict[str, Any]) -> str:
    await mark(given["ledger"], f"kid {given['n']}")
    if given.get("wait"):
        return str(await wait_for_event("go"))
    if given.get("fail"):
        raise ValueError(f"kid {given['n']} fails")
    return f"from {given['n']}"


@workflow
async def flaky_kid(given: dict[str, Any]) -> str:
    await mark(given["ledger"], "flaky kid")
    if len(await count(given["ledger"], "flaky kid")) < 3:
        raise ValueError("not yet")
    return "third time"


@step
async def mark(ledger: str, line: str) -> None:
    note(ledger, line)


@step
async def count(ledger: str, line: str) -> list[str]:
    from pathlib import Path

    return [each for each in Ledger(Path(ledger)).lines() if each == line]


@step
async def calls(given: dict[str, Any]) -> list[str]:
    """Two in turn, two together."""
    note(given["ledger"], "step")
    first = await call_workflow(kid, {**given, "n": 1}, ref="one")
    second = await call_workflow(kid, {**given, "n": 2}, ref="two")
    both = await asyncio.gather(*[call_workflow(kid, {**given, "n": n}, ref=f"n{n}") for n in (3, 4)])
    return [first, second, *both]


@workflow
async def parent(given: dict[str, Any]) -> list[str]:
    return await calls(given)


CALLED = ["from 1", "from 2", "from 3", "from 4"]


@step
async def starts(given: dict[str, Any]) -> list[str]:
    child = await start_workflow(kid, {**given, "n": 1}, ref="one")
    other = await start_workflow(kid, {**given, "n": 2, "wait": True}, ref="two", on_parent_close="cancel")
    delayed = await start_workflow(kid, {**given, "n": 3}, ref="three", delay=3600)
    await delayed.cancel("changed my mind")
    try:
        await delayed.result()
    except ChildCancelled as error:
        return [child.id, await child.result(), other.id, error.reason]
    return []


@workflow
async def parent_of_started(given: dict[str, Any]) -> list[str]:
    return await starts(given)


@step
async def waits_for_kid(given: dict[str, Any]) -> str:
    note(given["ledger"], "step")
    return await call_workflow(kid, {"ledger": given["ledger"], "n": 1, "wait": True}, ref="one")


@workflow
async def parent_of_waiting(given: dict[str, Any]) -> str:
    if given.get("limit"):
        try:
            async with asyncio.timeout(0.1):
                return await waits_for_kid(given)
        except TimeoutError:
            await wait_for_event("over")
            return "gave it up"
    return await waits_for_kid(given)


@step(timeout=0.2)
async def too_slow(given: dict[str, Any]) -> str:
    return await call_workflow(kid, {"ledger": given["ledger"], "n": 1, "wait": True}, ref="one")


@workflow
async def step_times_out(given: dict[str, Any]) -> str:
    try:
        return await too_slow(given)
    except TimeoutError as error:
        return type(error).__name__


@step
async def every_way(given: dict[str, Any]) -> dict[str, Any]:
    """What a call in a step can come to."""
    ledger = given["ledger"]
    found: dict[str, Any] = {}
    waiting = {"ledger": ledger, "n": 5, "wait": True}
    try:
        await call_workflow(kid, {"ledger": ledger, "n": 1, "fail": True}, ref="fails")
    except ChildFailed as error:
        found["failed"] = [error.error.type, error.error.message, error.child_id]
    found["timeout"] = await call_workflow(kid, waiting, ref="late", timeout=0.05) is CHILD_TIMEOUT
    found["value"] = await call_workflow(kid, waiting, ref="later", timeout=0.05, timeout_value="none")
    try:
        await call_workflow(kid, waiting, ref="latest", timeout=0.05, timeout_value=RAISE, on_timeout="leave")
    except ChildTimeout as error:
        found["raised"] = error.child_id
    for what, value in (("conflict", {"ledger": ledger, "n": 2}), ("spent", waiting)):
        try:
            await call_workflow(kid, value, ref="late")
        except RefConflict as error:
            found[what] = str(error)
    found["retry"] = await call_workflow(flaky_kid, given, ref="flaky", retry=Retry(max_attempts=3, initial=0.01))
    found["again"] = await call_workflow(flaky_kid, given, ref="flaky")
    return found


@workflow
async def parent_of_every_way(given: dict[str, Any]) -> dict[str, Any]:
    return await every_way(given)


@step
async def refused(given: dict[str, Any]) -> dict[str, list[str]]:
    """What a step cannot do, and what it is told."""
    attempts: dict[str, Any] = {
        "no ref": lambda: call_workflow(kid, given),
        "no ref to start": lambda: start_workflow(kid, given),
        "bad ref": lambda: call_workflow(kid, given, ref="a/b"),
        "no workflow": lambda: call_workflow(mark, 1, ref="x"),  # type: ignore[call-overload]
        "unstorable": lambda: call_workflow(kid, {"x": object()}, ref="x"),
        "sleep": lambda: sleep(1),
        "event": lambda: wait_for_event("go"),
        "parallel": lambda: parallel({"a": asyncio.sleep(0)}),
        "thread": lambda: asyncio.to_thread(asyncio.run, call_workflow(kid, given, ref="x")),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            await attempt()
        except Exception as error:
            found[name] = [type(error).__name__, str(error)]
    return found


@step
def refused_thread(given: dict[str, Any]) -> list[str]:
    try:
        asyncio.run(call_workflow(kid, given, ref="x"))
    except DeterminismError as error:
        return [type(error).__name__, str(error)]
    return []


@workflow
async def parent_of_refused(given: dict[str, Any]) -> dict[str, list[str]]:
    return {**await refused(given), "sync": await refused_thread(given)}


@step
async def one_call(given: dict[str, Any], ref: str, n: int) -> str:
    return await call_workflow(kid, {"ledger": given["ledger"], "n": n}, ref=ref)


@workflow
async def shares_names(given: dict[str, Any]) -> list[str]:
    """A body's refs and a step's are of one name space."""
    found = [await one_call(given, "kid", 1)]
    # The name that a call without a ref would get is taken.
    found.append(await call_workflow(kid, {"ledger": given["ledger"], "n": 2}))
    found.append(await call_workflow(kid, {"ledger": given["ledger"], "n": 1}, ref="kid"))
    found.append(await one_call(given, "kid-2", 2))
    for n in (3, 4):
        try:
            await (one_call(given, "kid-2", n) if n == 3 else call_workflow(kid, given, ref="kid"))
        except RefConflict as error:
            found.append(type(error).__name__)
        except Exception as error:
            found.append(str(error))
    return found


@step
async def starts_other(given: dict[str, Any], how: str) -> str:
    """Another input in each attempt of the run."""
    n = len(await count.function(given["ledger"], "attempt"))
    if how == "start":
        child = await start_workflow(kid, {"ledger": given["ledger"], "n": n, "wait": True}, ref="one")
        return child.id
    return await call_workflow(kid, {"ledger": given["ledger"], "n": n, "wait": n == 1}, ref="one", timeout=30)


@workflow(retry=Retry(max_attempts=2, initial=0.01))
async def second_attempt(given: dict[str, Any]) -> str:
    """The first attempt leaves a child behind under the ref that the second one wants for another call."""
    ledger = given["ledger"]
    await mark(ledger, "attempt")
    if len(await count(ledger, "attempt")) == 1:
        await starts_other(given, "start")
        raise ValueError("the first attempt fails")
    return await starts_other(given, given["how"])


@step
async def holds(given: dict[str, Any]) -> str:
    """Calls, and lets the test know when it goes on."""
    result = await call_workflow(kid, {"ledger": given["ledger"], "n": given["n"]}, ref="kid")
    note(given["ledger"], f"back {given['n']}")
    return result


@workflow
async def lends(given: dict[str, Any]) -> str:
    return await holds(given)


@step
async def dies_after(given: dict[str, Any]) -> str:
    """Has its child's result when its worker dies."""
    note(given["ledger"], "step")
    result = await call_workflow(kid, {"ledger": given["ledger"], "n": 1}, ref="one")
    note(given["ledger"], "has result")
    await noted(given["ledger"], "release")
    return result


@workflow
async def parent_that_dies(given: dict[str, Any]) -> str:
    return await dies_after(given)
