"""The workflows whose histories are kept in `histories/`.

What is here has runs, as far as the tests are concerned: it is never changed, only added to. A body that has to change
changes as a user's would, by `patched` or under another name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    ChildCancelled,
    ChildFailed,
    Err,
    NonRetryable,
    Ok,
    Retry,
    StepFailed,
    StepTimeout,
    Tolerate,
    call_workflow,
    get_context,
    info,
    map_workflow,
    now,
    parallel,
    patched,
    put_context,
    random,
    sleep,
    sleep_until,
    start_workflow,
    step,
    uuid,
    wait_for_all,
    wait_for_any,
    wait_for_event,
    workflow,
)

SOON = 0.05
QUICK = Retry(max_attempts=3, initial=0.02, jitter=0.5)


class Declined(Exception):
    """Declared by the steps that raise it."""


class Undeclared(Exception):
    """Arrives as `StepFailed`."""


@dataclass
class Order:
    number: int
    lines: list[str]
    total: Decimal
    day: date | None = None


# ---------------------------------------------------------------------- steps

failures_left: dict[str, int] = {}
"""Of the process that records; a replay runs no step."""


@step
async def echo(value: Any) -> Any:
    return value


@step
def in_a_thread(order: Order) -> Order:
    return Order(order.number + 1, [*order.lines, "more"], order.total * 2, date(2026, 1, 2))


@step
async def slow(text: str, pause: float = SOON) -> str:
    await asyncio.sleep(pause)
    return text


@step(retry=QUICK)
async def flaky(name: str) -> str:
    failures_left[name] = failures_left.get(name, 2) - 1
    if failures_left[name] >= 0:
        raise ConnectionError(f"{name} is not there")
    return f"{name} at last"


@step(raises=(Declined,), retry=QUICK)
async def decline(kind: str) -> None:
    raise {
        "declared": Declined("no", 7),
        "builtin": KeyError("what"),
        "undeclared": Undeclared("odd"),
        "final": NonRetryable("enough"),
    }[kind]


@step(timeout=SOON)
async def too_long() -> None:
    await asyncio.sleep(60)


@workflow
async def steps(order: Order) -> list[Any]:
    again = await in_a_thread(order)
    values = [await echo(v) for v in (None, True, 2**70, "ü", b"\0\xff", (1, [2, {"a": {3}}]), timedelta(days=1))]
    return [again, *values, await echo(datetime(2026, 1, 1, tzinfo=UTC)), await echo.options(name="named")("x")]


@workflow
async def retries() -> list[str]:
    seen = [await flaky("service")]
    for kind in ("declared", "builtin", "undeclared", "final"):
        try:
            await decline(kind)
        except (Declined, KeyError, StepFailed, NonRetryable) as error:
            seen.append(f"{type(error).__name__} {error.args!r:.40}")
    try:
        await too_long()
    except StepTimeout:
        seen.append("timeout")
    return seen


@workflow
async def fails(text: str) -> None:
    try:
        await decline("builtin")
    except KeyError as error:
        raise RuntimeError(text) from error


@workflow
async def long_one(count: int) -> int:
    total = 0
    for n in range(count):
        total += await echo(n)
    return total


@workflow
async def at_once(count: int) -> list[int]:
    found = await asyncio.gather(*(slow(str(n), 0.001 * (n * 7 % 11)) for n in range(count)))
    return [int(text) for text in found]


# ---------------------------------------------------------------------- time and events


@workflow
async def naps() -> list[str]:
    seen = []
    await sleep(SOON)
    seen.append("slept")
    await sleep_until(now() + timedelta(seconds=SOON))
    await asyncio.sleep(SOON)
    try:
        async with asyncio.timeout(SOON):
            await wait_for_event("never")
    except TimeoutError:
        seen.append("over")
    async with asyncio.timeout(60):
        seen.append(await slow("in time"))
    return seen


@workflow
async def events() -> list[Any]:
    first = await wait_for_event("a")
    await echo("between")
    several = await asyncio.gather(wait_for_event("a"), wait_for_event("b"))
    late = await wait_for_event("late", timeout=SOON, timeout_value="too late")
    return [first, *several, late, await wait_for_any(["x", "y"]), await wait_for_all(["x", "z"])]


# ---------------------------------------------------------------------- children


@workflow
async def double(n: int) -> int:
    return 2 * await echo(n)


@workflow
async def refuses(text: str) -> None:
    raise Undeclared(text)


@workflow
async def waits(name: str) -> Any:
    return await wait_for_event(name)


@workflow
async def second_time() -> int:
    if info().attempt == 1:
        raise ConnectionError("the first time")
    return info().attempt


@workflow
async def nested(depth: int) -> int:
    return 1 + await call_workflow(nested, depth - 1, ref=f"level-{depth - 1}") if depth else 0


@workflow
async def children() -> list[Any]:
    called = [await call_workflow(double, n) for n in range(3)]
    started = await start_workflow(double, 20, ref="started")
    same = await asyncio.gather(*(call_workflow(double, 7, ref="same") for _ in range(2)))
    try:
        await call_workflow(refuses, "not me")
    except ChildFailed as failed:
        called.append(failed.error.type)
    again = await call_workflow(second_time, retry=Retry(max_attempts=3, initial=0.02))
    return [called, await started.result(), same, again, await call_workflow(nested, 3)]


@workflow
async def children_given_up() -> list[Any]:
    late = await call_workflow(waits, "never", ref="late", timeout=SOON)
    left = await call_workflow(waits, "go", ref="left", timeout=SOON, on_timeout="leave", timeout_value="left")
    started = await start_workflow(waits, "never", ref="started")
    await started.cancel("not needed")
    try:
        cancelled = await started.result()
    except ChildCancelled as error:
        cancelled = error.reason
    await start_workflow(double, 1, ref="delayed", delay=SOON)
    return [late is CHILD_TIMEOUT, left, cancelled]


@workflow
async def race() -> list[Any]:
    tasks = {
        asyncio.create_task(call_workflow(waits, "never", ref="loser")),
        asyncio.create_task(call_workflow(double, 4, ref="winner")),
    }
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(call_workflow(waits, "never", ref="sibling"))
            group.create_task(decline("builtin"))
    except* KeyError as errors:
        found = [str(error) for error in errors.exceptions]
    return [[task.result() for task in done], found]


# ---------------------------------------------------------------------- parallel


@workflow
async def branches() -> list[Any]:
    async def napper(text: str) -> str:
        await sleep(SOON)
        return text

    fast = await parallel({"a": slow("a"), "b": napper("b"), "c": call_workflow(double, 3)}, max_concurrency=2)
    seen = []
    found = await parallel({"good": slow("g"), "bad": decline("builtin")}, on_error="complete_all")
    for outcome in found.values():
        match outcome:
            case Ok(value):
                seen.append(value)
            case Err(error):
                seen.append(type(error).__name__)
    try:
        await parallel({"bad": decline("final"), "child": call_workflow(waits, "never", ref="p")})
    except NonRetryable as error:
        seen.append(str(error))
    tolerated = await map_workflow(double, [1, 2, 3, 4], max_concurrency=2, on_error=Tolerate(failures=1))
    return [fast, seen, [o.value for o in tolerated if isinstance(o, Ok)], await map_workflow(double, [5], ref="m")]


# ---------------------------------------------------------------------- ends


@workflow
async def cleans_up() -> str:
    try:
        await call_workflow(waits, "never", ref="kid")
    except asyncio.CancelledError:
        await echo("told")
        raise
    finally:
        await slow("cleaned")
        await call_workflow(double, 2, ref="in-cleanup")
    return "never"


@workflow
async def swallows() -> str:
    while True:
        try:
            await sleep(3600)
        except asyncio.CancelledError:
            return "swallowed"


# ---------------------------------------------------------------------- facts and state


@workflow
async def facts(n: int = 5) -> list[Any]:
    put_context("state", {"n": n})
    await echo("one")
    put_context("state", {"n": n + 1})
    me = info()
    moments = [now()]
    await sleep(SOON)
    moments.append(now())
    return [
        get_context("state"), str(uuid()), str(uuid()), random().random(), random().randrange(10**6),
        moments == sorted(moments), me.id, me.workflow, me.attempt,
    ]  # fmt: skip


@workflow
async def plumbing() -> list[str]:
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2)
    lock, gate, seen = asyncio.Semaphore(1), asyncio.Event(), list[str]()

    async def produce() -> None:
        for name in "abc":
            await queue.put(await slow(name, 0.002))
        await queue.put(None)

    async def consume() -> None:
        while (found := await queue.get()) is not None:
            async with lock:
                seen.append(await slow(found, 0.001))
        gate.set()

    await asyncio.gather(produce(), consume())
    await gate.wait()
    for task in asyncio.as_completed([slow("x", 0.03), slow("y", 0.001)]):
        seen.append(await task)
    return seen


@workflow
async def patches() -> list[Any]:
    found: list[Any] = [patched("first")]
    found.extend([[await echo(n), patched("in-a-loop")] for n in range(3)])
    if patched("children"):
        found.append(await call_workflow(double, 9, ref="nine"))
    return found
