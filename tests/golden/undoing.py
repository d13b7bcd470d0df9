"""More of `flows`: what is undone."""

from __future__ import annotations

from durable_async import call_workflow, compensate, sleep, step, wait_for_event, workflow

from .flows import QUICK, flaky


@step(retry=QUICK)
async def refund(payment: str) -> None:
    await flaky.function(f"refund of {payment}")


@step(compensate=refund)
async def charge(what: str) -> str:
    return f"payment for {what}"


@step
async def free(room: str) -> None:
    raise LookupError(f"no {room}")


@workflow
async def unbook(nights: int) -> int:
    return nights


@workflow(compensate=unbook)
async def book(nights: int) -> int:
    return nights


@workflow
async def undone() -> None:
    await charge("a room")
    await call_workflow(book, 3)
    compensate(refund, "something else")
    await charge("a meal")
    raise RuntimeError("not today")


@workflow
async def undone_by_a_cancel() -> None:
    await charge("a room")
    try:
        await wait_for_event("never")
    finally:
        await charge("cleaning")


@workflow
async def not_undone() -> None:
    await charge("a room")
    compensate(free, "room 7")
    raise RuntimeError("not today either")


@workflow
async def cut() -> None:
    await charge("a room")
    try:
        await wait_for_event("never")
    finally:
        await sleep(3600)
