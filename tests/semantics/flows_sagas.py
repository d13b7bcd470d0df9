"""Sagas: what a run undoes that fails or is cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_async import (
    NonRetryable,
    Retry,
    call_workflow,
    compensate,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .ledger import Ledger, note, noted


@dataclass
class Booking:
    ledger: str
    name: str


@step(retry=Retry(max_attempts=3, initial=0.01))
async def refund(paid: Booking) -> None:
    note(paid.ledger, f"refund {paid.name}")


@step
async def broken(paid: Booking) -> None:
    note(paid.ledger, f"broken {paid.name}")
    raise NonRetryable("the bank is closed")


@step(retry=Retry(max_attempts=3, initial=0.01))
async def flaky(paid: Booking) -> None:
    note(paid.ledger, f"flaky {paid.name}")
    if len(set(numbered(paid.ledger, f"try {paid.name}"))) < 3:
        raise ConnectionError("not yet")
    note(paid.ledger, f"refund {paid.name}")


def numbered(ledger: str, line: str) -> list[str]:
    """Notes this line once more, with a number; all of them."""
    lines = [each for each in Ledger(Path(ledger)).lines() if each.startswith(line)]
    note(ledger, f"{line} {len(lines)}")
    return [*lines, f"{line} {len(lines)}"]


@step
async def held(paid: Booking) -> None:
    note(paid.ledger, f"undoing {paid.name}")
    await noted(paid.ledger, f"release {paid.name}")
    note(paid.ledger, f"refund {paid.name}")


def plain_undo(paid: Booking) -> None:
    note(paid.ledger, f"plain {paid.name}")


@workflow
async def undo_flow(paid: Booking) -> None:
    await refund(paid)


@step(compensate=refund)
async def charge(ledger: str, name: str, after: str = "") -> Booking:
    if after:
        await noted(ledger, after)
    note(ledger, f"charge {name}")
    return Booking(ledger, name)


CHARGES = {
    "broken": step(name="charge_broken", compensate=broken)(charge.function),
    "flaky": step(name="charge_flaky", compensate=flaky)(charge.function),
    "held": step(name="charge_held", compensate=held)(charge.function),
    "plain": step(name="charge_plain", compensate=plain_undo)(charge.function),
    "flow": step(name="charge_flow", compensate=undo_flow)(charge.function),
    "none": step(name="charge_none")(charge.function),
}


@step
async def fails() -> None:
    raise ValueError("out of stock")


@step(compensate=refund)
async def charge_fails(ledger: str) -> Booking:
    raise ValueError("out of stock")


@workflow
async def saga(given: dict[str, Any]) -> str:
    """Charges one after the other (`kind:name` each), then ends as it is told."""
    ledger = given["ledger"]
    for what in given["charges"]:
        kind, _, name = what.partition(":")
        await CHARGES.get(kind, charge)(ledger, name)
    if given.get("end") == "wait":
        await wait_for_event("go")
    elif given.get("end") == "return":
        return "fine"
    await fails()
    return "never"


@workflow
async def never_cleans_up(given: dict[str, Any]) -> None:
    """Swallows every cancel, in the body and in a task of its own, while a step of its cleanup hangs."""
    ledger = given["ledger"]
    await charge(ledger, "a")

    async def immortal() -> None:
        while True:
            try:
                await wait_for_event("never")
            except asyncio.CancelledError:
                await tell(ledger, "swallowed")

    task = asyncio.create_task(immortal())
    try:
        await wait_for_event("never")
    finally:
        await charge(ledger, "b")
        await asyncio.gather(task, hangs(ledger), call_workflow(waits, ref="child"))


@workflow
async def waits() -> None:
    await wait_for_event("never")


@workflow
async def catches(given: dict[str, Any]) -> str:
    await charge(given["ledger"], "a")
    try:
        await fails()
    except ValueError:
        return "fine"
    return "never"


@workflow
async def first_fails(given: dict[str, Any]) -> None:
    await charge_fails(given["ledger"])


@workflow
async def together(given: dict[str, Any]) -> None:
    """They complete in the order c, a, b, whatever the order of the calls."""
    ledger = given["ledger"]
    await asyncio.gather(
        charge(ledger, "a", "charge c"), charge(ledger, "b", "let b"), charge(ledger, "c"), lets(ledger, "charge a")
    )
    await fails()


async def lets(ledger: str, after: str) -> None:
    # Another step: that `a` was noted does not yet mean that it is in the journal.
    await wait_for_event("a is in")
    await tell(ledger, "let b")


@step
async def tell(ledger: str, line: str) -> None:
    note(ledger, line)


@workflow
async def sibling_cancelled(given: dict[str, Any]) -> None:
    """One of three has completed, one is under way and never has an outcome, one raises; a cleanup of a sibling's ends
    before anything is undone."""
    ledger = given["ledger"]

    async def cleans() -> None:
        try:
            await wait_for_event("never")
        finally:
            await tell(ledger, "sibling cleaned")

    async def raises() -> None:
        await charge(ledger, "done")
        await noted_step(ledger, "under way")
        await fails()

    await asyncio.gather(hangs(ledger), raises(), cleans())


@step(compensate=refund)
async def hangs(ledger: str) -> Booking:
    note(ledger, "under way")
    await asyncio.Event().wait()
    return Booking(ledger, "hangs")


@step
async def noted_step(ledger: str, line: str) -> None:
    await noted(ledger, line)


@workflow
async def by_hand(given: dict[str, Any]) -> None:
    ledger = given["ledger"]
    await charge(ledger, "a")
    compensate(refund, Booking(ledger, "by hand"))
    compensate(two_things, ledger, "plain")
    compensate(undo_flow, Booking(ledger, "flow"))
    await charge(ledger, "b")
    try:
        await wait_for_event("go", timeout=0.01, timeout_value=None)
        await fails()
    finally:
        compensate(tell, ledger, "from cleanup")


def two_things(ledger: str, name: str) -> None:
    note(ledger, f"by hand {name}")


@step(compensate=refund)
async def misfit(ledger: str) -> int:
    return "not a number"  # type: ignore[return-value]


@workflow
async def cannot_be_read(given: dict[str, Any]) -> None:
    await charge(given["ledger"], "a")
    await misfit(given["ledger"])


# ---------------------------------------------------------------------- children


@workflow(compensate=refund)
async def booking(given: dict[str, Any]) -> Booking:
    """Undone by its parent. What its own steps have done is its own business: it completed."""
    paid = await charge(given["ledger"], given["name"])
    if given.get("fail"):
        await fails()
    if given.get("wait"):
        await wait_for_event("go")
    if given.get("cleanup"):
        try:
            await wait_for_event("never")
        except asyncio.CancelledError:
            await tell(given["ledger"], f"{given['name']} cleaned")
            raise
    return paid


@workflow(name="booking_by_flow", compensate=undo_flow)
async def booking_by_flow(given: dict[str, Any]) -> Booking:
    return Booking(given["ledger"], given["name"])


@workflow
async def trip(given: dict[str, Any]) -> None:
    """Two awaited children, a started one that is awaited later, a started one nobody awaits, a step."""
    ledger = given["ledger"]
    await call_workflow(booking, {"ledger": ledger, "name": "awaited"})
    await call_workflow(booking_by_flow, {"ledger": ledger, "name": "by flow"})
    child = await start_workflow(booking, {"ledger": ledger, "name": "started"}, ref="started")
    await start_workflow(booking, {"ledger": ledger, "name": "forgotten"}, ref="forgotten")
    await child.result()
    await charge(ledger, "own")
    await wait_for_event("go")
    await fails()


@workflow
async def leaves(given: dict[str, Any]) -> None:
    """One that goes on when the run ends, and one that ends with it."""
    ledger = given["ledger"]
    await start_workflow(booking, {"ledger": ledger, "name": "left", "wait": True}, ref="left")
    await start_workflow(
        booking, {"ledger": ledger, "name": "cut", "cleanup": True}, ref="cut", on_parent_close="cancel"
    )
    await charge(ledger, "own")
    await wait_for_event("go")
    await fails()


@workflow
async def calls_saga(given: dict[str, Any]) -> dict[str, Any]:
    """What a parent makes of a child that undid what it did."""
    from durable_async import ChildCancelled, ChildFailed

    try:
        await call_workflow(saga, given, ref="saga", retry=given.get("retry"))
    except ChildFailed as error:
        return {"type": error.error.type, "message": error.error.message, "text": str(error)}
    except ChildCancelled as error:
        return {"cancelled": error.reason}
    return {}


@workflow
async def second_time_lucky(given: dict[str, Any]) -> str:
    await charge(given["ledger"], "a")
    if len(await count(given["ledger"])) < 2:
        await fails()
    return "fine"


@step
async def count(ledger: str) -> list[str]:
    return numbered(ledger, "attempt")


@workflow
async def kept(given: dict[str, Any]) -> str:
    await tell(given["ledger"], "kept")
    return "kept"


@workflow(retry=Retry(max_attempts=3, initial=0.01))
async def attempts(given: dict[str, Any]) -> str:
    """Fails twice, or for good; what was undone is done again, what needs no undoing is kept."""
    ledger = given["ledger"]
    await call_workflow(kept, given)
    await call_workflow(booking_by_flow, {"ledger": ledger, "name": "kid"})
    await charge(ledger, "own")
    if given.get("for_good") or len(await count(ledger)) < 3:
        await fails()
    return "fine"


@workflow(timeout=1.0)
async def too_long(given: dict[str, Any]) -> None:
    await charge(given["ledger"], "a")
    try:
        await wait_for_event("never")
    finally:
        await charge(given["ledger"], "b")


@workflow(retry=2)
async def broken_attempts(given: dict[str, Any]) -> None:
    await CHARGES["broken"](given["ledger"], "a")
    await fails()


@workflow
async def tries_again(given: dict[str, Any]) -> str:
    return await call_workflow(second_time_lucky, given, retry=Retry(max_attempts=2, initial=0.01))
