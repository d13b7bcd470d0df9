"""Steps: retries, timeouts, failures of all kinds, many of them."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any, NoReturn

from durable_async import (
    ChildFailed,
    NonRetryable,
    Retry,
    StepFailed,
    call_workflow,
    hours,
    put_context,
    sleep,
    step,
    wait_for_event,
    workflow,
)

from .ledger import Ledger, note


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


def tries(ledger: str) -> int:
    """How often the step at hand has been entered."""
    note(ledger, "try")
    return Ledger(ledger).counts()["try"]  # type: ignore[arg-type]  # a path is a path


# ---------------------------------------------------------------------- retries


@step(retry=Retry(max_attempts=5, initial=0.01))
async def third_time(ledger: str) -> str:
    number = tries(ledger)
    if number < 3:
        raise ValueError(f"try {number}")
    return "done"


@workflow
async def stumbles(given: dict[str, Any]) -> str:
    return await third_time(given["ledger"])


@step(retry=Retry(max_attempts=5, initial=0.01, factor=100, jitter=0))
async def third_time_late(ledger: str) -> str:
    number = tries(ledger)
    if number < 3:
        raise ValueError(f"try {number}")
    return "done"


@workflow
async def stumbles_late(given: dict[str, Any]) -> str:
    """A second passes between the second attempt and the third."""
    return await third_time_late(given["ledger"])


@step(retry=Retry(max_attempts=2, initial=hours(1), maximum=hours(1)))
async def tomorrow(ledger: str) -> None:
    note(ledger, "try")
    raise ValueError("not today")


@workflow
async def backs_off(given: dict[str, Any]) -> None:
    await tomorrow(given["ledger"])


@workflow
async def marks(given: dict[str, Any]) -> str:
    return await mark(given["ledger"], given["line"])


class TooBadError(Exception):
    pass


class WayTooBadError(TooBadError):
    pass


POLICIES = {
    "factor": Retry(max_attempts=5, initial=0.01, factor=2, maximum=0.03, jitter=0),
    "jitter": Retry(max_attempts=6, initial=0.02, factor=1, jitter=0.5),
    "max_elapsed": Retry(max_attempts=1000, initial=0.05, factor=1, jitter=0, max_elapsed=0.2),
    "retry_on": Retry(max_attempts=3, initial=0.01, retry_on=TooBadError),
    "never_on": Retry(max_attempts=3, initial=0.01, never_on=(WayTooBadError,)),
    "non_retryable": Retry(max_attempts=3, initial=0.01),
}
ERRORS: dict[str, type[Exception]] = {
    "value": ValueError,
    "bad": TooBadError,
    "worse": WayTooBadError,
    "final": NonRetryable,
}


@step
async def raise_one(kind: str) -> NoReturn:
    raise ERRORS[kind](kind)


@workflow
async def fails_by_policy(given: dict[str, str]) -> None:
    await raise_one.options(retry=POLICIES[given["policy"]])(given["error"])


# ---------------------------------------------------------------------- time-outs


@step(timeout=0.1)
async def never_returns(ledger: str) -> None:
    note(ledger, "begun")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note(ledger, "cancelled")
        raise


@step(timeout=0.1)
def thread_that_ignores_it(ledger: str) -> str:
    """Returns once it is released, long after its time."""
    note(ledger, "begun")
    seen = Ledger(ledger)  # type: ignore[arg-type]
    while "release" not in seen.lines():
        time.sleep(0.01)
    note(ledger, "late")
    return "too late"


@workflow
async def times_out(given: dict[str, Any]) -> dict[str, Any]:
    run = never_returns if given["kind"] == "async" else thread_that_ignores_it
    try:
        await run(given["ledger"])
    except TimeoutError as error:
        seen = {"type": type(error).__name__, "text": str(error)}
    else:
        seen = {}
    await wait_for_event("go")
    return seen


# ---------------------------------------------------------------------- exceptions


class DeclinedError(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class SecretError(Exception):
    """Not declared by any step."""


class HoldsObjectError(Exception):
    pass


def make_error(kind: str) -> BaseException:
    """One of each."""
    if kind == "chained":
        error = SecretError("outer")
        error.__cause__ = KeyError("inner")
        return error
    made: dict[str, BaseException] = {
        "value": ValueError("bad", 3),
        "key": KeyError("k"),
        "os": FileNotFoundError(2, "no such file", "f.txt"),
        "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        "timeout": TimeoutError("slow"),
        "stop": StopIteration(4),
        "group": ExceptionGroup("two", [ValueError(1), KeyError(2)]),
        "declared": DeclinedError(7, "poor"),
        "undeclared": SecretError("hidden"),
        "object_in_builtin": ValueError(object()),
        "object_in_own": HoldsObjectError(object()),
        "cancelled": asyncio.CancelledError("by the step itself"),
        "exit": SystemExit(3),
        "final": NonRetryable("never again"),
    }
    return made[kind]


@step(raises=(DeclinedError,))
async def raises_async(kind: str) -> NoReturn:
    raise make_error(kind)


@step(raises=(DeclinedError,))
def raises_in_thread(kind: str) -> NoReturn:
    raise make_error(kind)


def describe(error: BaseException) -> list[Any]:
    """What a body can see of it; the same on the first run and on replay."""
    seen: list[Any] = [type(error).__name__]
    if isinstance(error, StepFailed):
        cause = error.error.cause
        seen += [error.error.type, error.error.message, cause.type if cause else None]
    else:
        seen += [repr(error.args), str(error)]
    if isinstance(error, DeclinedError):
        seen.append(error.code)
    if isinstance(error, OSError):
        seen += [error.errno, error.filename]
    return seen


@workflow
async def sees_error(given: dict[str, Any]) -> list[Any]:
    """Publishes what it sees the first time: a replay that sees something else is blocked."""
    run = raises_async if given["kind"] == "async" else raises_in_thread
    try:
        await run(given["error"])
    except BaseException as error:  # also what the body must not see
        seen = describe(error)
        put_context("seen", seen)
        await sleep(0.01)
        return seen
    return []


# ---------------------------------------------------------------------- results that cannot be stored


@step(retry=5)
async def returns(kind: str, ledger: str) -> Any:
    note(ledger, "try")
    values: dict[str, Any] = {"object": object(), "nested": {"a": [1, {"b": object()}]}, "large": b"x" * (2 << 20)}
    return values[kind]


@workflow
async def unstorable_result(given: dict[str, Any]) -> None:
    await returns(given["kind"], given["ledger"])


# ---------------------------------------------------------------------- poison


@step
async def die(ledger: str) -> None:
    note(ledger, "poison")
    os._exit(9)


@workflow(queue="poison")
async def poison(given: dict[str, Any]) -> None:
    await die(given["ledger"])


@workflow
async def calls_poison(given: dict[str, Any]) -> dict[str, Any]:
    try:
        await call_workflow(poison, given, ref="kid")
    except ChildFailed as error:
        return {"failed": error.error.type, "message": error.error.message}
    return {}


# ---------------------------------------------------------------------- many


@step
async def bounded(ledger: str, n: int) -> int:
    note(ledger, f"+{n}")
    await asyncio.sleep(random.random() * 0.02)
    note(ledger, f"-{n}")
    return n * n


@workflow
async def gathers(given: dict[str, Any]) -> list[int]:
    """At most `width` of its steps at a time; waits, so that what follows may be a replay."""
    slots = asyncio.Semaphore(given["width"])

    async def one(n: int) -> int:
        async with slots:
            return await bounded(given["ledger"], n)

    got = list(await asyncio.gather(*map(one, range(given["n"]))))
    await wait_for_event("go")
    return got


@step
async def count_up(ledger: str, n: int) -> int:
    note(ledger, str(n))
    return n


@workflow
async def long_one(given: dict[str, Any]) -> int:
    """One step after the other."""
    total = 0
    for n in range(given["n"]):
        total += await count_up(given["ledger"], n)
    await wait_for_event("go")
    return total
