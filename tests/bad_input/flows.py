"""The workflows of the bad-input tests. `probe` runs a case of its test module inside a body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from durable_async import call_workflow, put_context, sleep, step, wait_for_event, workflow

CASES: dict[str, Callable[[], Awaitable[Any]]] = {}
"""What `probe` runs, by name; test modules of one process fill it in."""
MADE: dict[str, Callable[[], Any]] = {}
"""What `makes` returns and `fails` raises."""
KEPT: list[Any] = []
"""What leaked out of a body."""


@dataclass
class Order:
    id: int


@workflow
async def nothing() -> None:
    return None


@workflow
async def takes_int(n: int) -> int:
    return n


@workflow
async def takes_order(order: Order) -> int:
    return order.id


@workflow
async def takes_any(value: Any) -> None:
    return None


@workflow
async def echo(value: Any) -> Any:
    return value


@workflow
async def waits() -> Any:
    return await wait_for_event("go")


@step
async def add_one(n: int) -> int:
    return n + 1


@workflow
async def healthy(n: int) -> int:
    """A step, a timer and a child."""
    m = await add_one(n)
    await sleep(0.001)
    return m + await call_workflow(takes_int, n + 1)


@workflow
async def probe(case: str) -> list[str]:
    """What a case raises in a body: type and text; then goes on, so that the run is seen to be unharmed."""
    try:
        got = await CASES[case]()
    except Exception as error:
        await sleep(0.001)
        assert await add_one(1) == 2
        return [type(error).__name__, str(error)]
    return ["", repr(got)]


@step
async def makes(name: str) -> Any:
    return MADE[name]()


@step
def makes_in_thread(name: str) -> Any:
    return MADE[name]()


@step
async def fails(name: str) -> None:
    raise MADE[name]()


@workflow
async def runs_step(given: list[str]) -> Any:
    """`[which step, name]`"""
    return await {"makes": makes, "thread": makes_in_thread, "fails": fails}[given[0]](given[1])


@workflow
async def returns(name: str) -> Any:
    return MADE[name]()


@workflow
async def raises(name: str) -> None:
    raise MADE[name]()


@workflow
async def publishes(size: int) -> None:
    put_context("k", b"x" * size)
    await sleep(0.001)


@workflow
async def receives() -> int:
    return len(await wait_for_event("data", bytes))


@workflow
async def swallows(how: str) -> str:
    """Bodies that do not let a cancel through."""
    if how == "bare":
        try:
            await wait_for_event("never")
        except:  # noqa: E722
            return "bare"
    with suppress(asyncio.CancelledError):
        await wait_for_event("never")
    return "mine"


@workflow
async def ignores_for_ever() -> None:
    while True:
        try:
            await sleep(3600)
        except BaseException:
            continue


@workflow
async def calls() -> Any:
    """Its child waits in a queue that nobody serves."""
    return await call_workflow(waits, ref="kid", queue="nobody")
