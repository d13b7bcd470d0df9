"""Bodies that use `parallel` and `map_workflow`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

from durable_async import (
    ChildCancelled,
    ChildFailed,
    Err,
    Ok,
    Tolerate,
    call_workflow,
    continue_as_new,
    map_workflow,
    parallel,
    sleep,
    start_workflow,
    step,
    wait_for_all,
    wait_for_event,
    workflow,
)

from .ledger import note, noted

seen: ContextVar[str] = ContextVar("seen", default="nothing")


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@step
async def slow(ledger: str, line: str) -> str:
    """Lasts until the test lets it end."""
    note(ledger, f"begin {line}")
    try:
        await noted(ledger, f"let {line} end")
    except asyncio.CancelledError:
        note(ledger, f"cut {line}")
        raise
    return line


@step
async def explode(message: str) -> None:
    raise ValueError(message)


@workflow
async def square(n: int) -> int:
    return n * n


@workflow
async def odd_fails(n: int) -> int:
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n


@workflow
async def waits(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def waits_then_fails(name: str) -> None:
    await wait_for_event(name)
    raise ValueError(f"{name} came")


@workflow
async def naps(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@workflow(queue="other")
async def elsewhere(n: int) -> int:
    return -n


@workflow
async def cleans_up(given: dict[str, Any]) -> None:
    """Ends some time after its cancel."""
    try:
        await wait_for_event("never")
    finally:
        await slow(given["ledger"], "clean-up of the child")


def told(outcome: Any) -> Any:
    """An outcome as data."""
    match outcome:
        case Ok(value):
            return value
        case Err(ChildFailed() as failed):
            return f"failed: {failed.error.message}"
        case Err(ChildCancelled() as cancelled):
            return f"cancelled: {cancelled.reason}"
        case Err(error):
            return f"{type(error).__name__}: {error}"
    return f"neither: {outcome!r}"


# ---------------------------------------------------------------------- results


@workflow
async def named(given: dict[str, Any]) -> list[Any]:
    """Ends in another order than it begins."""
    results = await parallel(
        {
            "event": wait_for_event("go"),
            "step": mark(given["ledger"], "step"),
            "child": call_workflow(square, 3, ref="kid"),
            "nap": _after(0.05, "rested"),
        }
    )
    return [[name, value] for name, value in results.items()]


async def _after(seconds: float, value: str) -> str:
    await sleep(seconds)
    return value


@workflow
async def isolated(given: dict[str, Any]) -> list[Any]:
    """Each branch sees what was before, and not what the others do."""
    before = await mark(given["ledger"], "before")
    seen.set(before)

    async def branch(name: str) -> list[str]:
        found = [seen.get()]
        seen.set(name)
        await mark(given["ledger"], name)
        return [*found, seen.get()]

    results = await parallel({name: branch(name) for name in ("a", "b")})
    return [*results.values(), seen.get()]


@workflow
async def many(count: int) -> list[int]:
    async def branch(n: int) -> int:
        await sleep(0.001 * (n % 7))
        return n

    results = await parallel({n: branch(n) for n in range(count)})
    assert list(results) == list(range(count))
    return list(results.values())


@workflow
async def any_awaitable(given: dict[str, Any]) -> dict[str, Any]:
    """A coroutine, a task, a future, a started child, an object of one's own; a task that nobody gave a name."""

    class Own:
        def __await__(self) -> Any:
            return mark(given["ledger"], "own").__await__()

    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, future.set_result, "resolved")
    child = await start_workflow(square, 4, ref="started")
    branches: dict[str, Awaitable[Any]] = {
        "coroutine": _after(0.01, "slept"),
        "task": asyncio.create_task(_after(0.03, "ran")),
        "future": future,
        "child": child.result(),
        "own": Own(),
    }
    return await parallel(branches, max_concurrency=2)


@workflow
async def parks(given: dict[str, Any]) -> dict[str, Any]:
    """Everything that waits, in one."""
    return await parallel(
        {
            "nap": _after(0.3, "rested"),
            "event": wait_for_event("go"),
            "child": call_workflow(naps, 0.2, ref="nap"),
            "grandchild": call_workflow(calls_nap, 0.2, ref="calls"),
        }
    )


@workflow
async def calls_nap(seconds: float) -> float:
    return await call_workflow(naps, seconds)


@workflow
async def in_queues(given: dict[str, Any]) -> dict[str, int]:
    return await parallel({"here": call_workflow(square, 2), "there": call_workflow(elsewhere, 2)})


@workflow
async def nested(given: dict[str, Any]) -> Any:
    """Three levels, a failure in the innermost one."""

    async def level(n: int) -> Any:
        if n == 0:
            return await parallel({"ok": call_workflow(square, 5), "bad": call_workflow(odd_fails, 1)})
        return await parallel({"deeper": level(n - 1), "beside": mark(given["ledger"], f"level {n}")})

    outcomes = await parallel(
        {
            "deep": level(2),
            "wide": parallel({n: call_workflow(square, n) for n in range(4)}, max_concurrency=2),
        },
        on_error="complete_all",
    )
    return [told(outcome) for outcome in outcomes.values()]


# ---------------------------------------------------------------------- failures


@workflow
async def completes_all(given: dict[str, Any]) -> dict[str, Any]:
    outcomes = await parallel(
        {
            "bad": call_workflow(waits_then_fails, "fail", ref="bad"),
            "good": call_workflow(waits, "go", ref="good"),
            "step": explode("no"),
            "mine": _raises(),
        },
        on_error="complete_all",
    )
    await mark(given["ledger"], "after")
    return {name: told(outcome) for name, outcome in outcomes.items()}


async def _raises() -> None:
    raise LookupError("mine")


@workflow
async def fails_fast(given: dict[str, Any]) -> list[Any]:
    """Siblings of every kind; one of them cleans up."""
    ledger = given["ledger"]

    async def tidy() -> None:
        try:
            await wait_for_event("never")
        finally:
            await slow(ledger, "clean-up")

    said = []
    try:
        await parallel(
            {
                "child": call_workflow(cleans_up, given, ref="child"),
                "bad": call_workflow(waits_then_fails, "fail", ref="bad"),
                "step": slow(ledger, "step"),
                "nap": sleep(3600),
                "tidy": tidy(),
                "inner": parallel({"deep": call_workflow(waits, "go", ref="deep")}),
            }
        )
    except ChildFailed as error:
        said = [type(error).__name__, error.error.message]
    await mark(ledger, "raised")
    return [said, await wait_for_event("end")]


@workflow
async def tolerates(given: dict[str, Any]) -> list[Any]:
    """Ten branches fail in turn, as told."""
    tolerate = Tolerate(**given["tolerate"])
    calls = {f"b{n}": call_workflow(waits_then_fails, "fail", ref=f"b{n}") for n in range(given["branches"])}
    try:
        outcomes = await parallel(calls, on_error=tolerate)
    except ChildFailed as error:
        return ["raised", error.child_id]
    return ["returned", *(told(outcome) for outcome in outcomes.values())]


@workflow
async def is_cancelled(given: dict[str, Any]) -> Any:
    """A cancel is no outcome of a branch, whatever `on_error` says."""
    ledger = given["ledger"]

    async def tidy() -> str:
        try:
            return await wait_for_event("never")
        finally:
            await mark(ledger, "tidied")

    try:
        await parallel({"tidy": tidy(), "child": call_workflow(waits, "go", ref="child")}, on_error="complete_all")
        await mark(ledger, "went on")
    except asyncio.CancelledError:
        await mark(ledger, "cancelled")
        raise


@workflow
async def times_out(given: dict[str, Any]) -> Any:
    """A timeout around the whole is a cancel, too."""
    try:
        async with asyncio.timeout(0.1):
            await parallel({"child": call_workflow(waits, "go", ref="child")}, on_error="complete_all")
    except TimeoutError:
        return ["timed out", await wait_for_event("end")]


@workflow
async def cancels_a_branch(given: dict[str, Any]) -> Any:
    """A branch that is cancelled by itself is one that failed."""
    task = asyncio.create_task(call_workflow(waits, "go", ref="child"))

    async def other() -> str:
        await wait_for_event("cut")
        task.cancel()
        return await wait_for_event("end")

    outcomes = await parallel({"task": task, "other": other()}, on_error="complete_all")
    return {name: told(outcome) for name, outcome in outcomes.items()}


@workflow
async def exits(given: dict[str, Any]) -> None:
    """What would end a process is this run's failure, also in a branch."""

    async def leave() -> None:
        await mark(given["ledger"], "leaves")
        raise SystemExit(3)

    await parallel({"leave": leave(), "child": call_workflow(waits, "go", ref="child")}, on_error="complete_all")


@workflow
async def begins_anew(given: dict[str, Any]) -> list[Any]:
    """Another life of the run, asked for in a branch of a branch; what had arrived for a wait goes over."""
    ledger, life = given["ledger"], given["life"]
    if life == 2:
        return [life, await wait_for_event("a")]

    async def tidy() -> None:
        try:
            await wait_for_all(["a", "b"])
        finally:
            await mark(ledger, "tidied")

    async def renew() -> None:
        await wait_for_event("renew")
        continue_as_new({**given, "life": life + 1})

    inner = parallel({"renew": renew(), "child": call_workflow(waits, "go", ref="child")}, on_error="complete_all")
    await parallel({"inner": inner, "tidy": tidy()}, on_error="complete_all")
    return [await mark(ledger, "went on")]


@step
async def release(reserved: list[str]) -> None:
    note(reserved[0], f"release {reserved[1]}")


@step(compensate=release)
async def reserve(ledger: str, what: str) -> list[str]:
    note(ledger, f"reserve {what}")
    return [ledger, what]


@workflow
async def reserves(given: dict[str, Any]) -> None:
    """Steps of several branches are done, one after the other, before another branch fails."""

    async def branch(what: str, name: str) -> None:
        await wait_for_event(name)
        await reserve(given["ledger"], what)
        await mark(given["ledger"], f"{what} is there")
        await wait_for_event("never")

    async def fails() -> None:
        await wait_for_event("fail")
        raise ValueError("no rooms")

    await parallel({"car": branch("car", "car"), "flight": branch("flight", "flight"), "rooms": fails()})


# ---------------------------------------------------------------------- bounds


@workflow
async def bounded(given: dict[str, Any]) -> dict[str, Any]:
    """How many were under way at a time at most, and the order of the starts."""
    active = most = 0
    order: list[int] = []

    async def branch(n: int) -> int:
        nonlocal active, most
        active += 1
        most = max(most, active)
        order.append(n)
        if n % 3 == 0:
            await sleep(0.002 * (n % 5))
        elif n % 3 == 1:
            await mark(given["ledger"], f"branch {n}")
        else:
            await call_workflow(square, n)
        active -= 1
        return n

    results = await parallel({f"b{n}": branch(n) for n in range(given["count"])}, max_concurrency=given["limit"])
    return {"most": most, "order": order, "results": list(results.values())}


@workflow
async def never_begins(given: dict[str, Any]) -> str:
    """The branches behind the first one are closed; one that is a task already is cancelled."""
    task = asyncio.create_task(_after(3600, "never"))
    try:
        await parallel(
            {
                "bad": explode("first"),
                "call": call_workflow(square, 1, ref="not-started"),
                "task": task,
                "inner": parallel({"deep": call_workflow(square, 2, ref="nor-this")}),
            },
            max_concurrency=1,
        )
    except ValueError as error:
        return f"{error}, {task.cancelled()}"
    return "did not raise"


# ---------------------------------------------------------------------- map_workflow


@workflow
async def maps(count: int) -> list[int]:
    return await map_workflow(square, range(count), ref="sq")


@workflow
async def maps_bounded(given: dict[str, Any]) -> list[Any]:
    names = [f"n{n}" for n in range(given["count"])]
    return await map_workflow(waits, names, max_concurrency=given["limit"])


@workflow
async def maps_all(count: int) -> list[Any]:
    outcomes = await map_workflow(odd_fails, range(count), on_error="complete_all")
    return [told(outcome) for outcome in outcomes]


@workflow
async def maps_tolerating(given: dict[str, Any]) -> list[Any]:
    outcomes = await map_workflow(odd_fails, given["inputs"], on_error=Tolerate(**given["tolerate"]))
    return [told(outcome) for outcome in outcomes]


@workflow
async def maps_fast(given: dict[str, Any]) -> list[Any]:
    try:
        await map_workflow(waits_then_fails, ["never", "fail", "never"], ref="kid")
    except ChildFailed as error:
        return [error.child_id, await wait_for_event("end")]
    return []


@workflow
async def maps_twice(given: dict[str, Any]) -> list[Any]:
    """The same calls are the same children; other inputs need another ref."""
    first = await map_workflow(square, [1, 2])
    again = await map_workflow(square, [1, 2])
    clash = await map_workflow(square, [1, 3], on_error="complete_all")
    other = await map_workflow(square, [1, 3], ref="other")
    return [first, again, [str(told(outcome)).partition(";")[0] for outcome in clash], other]
