"""Runs that are cancelled or terminated: waiting, running, cleaning up, refusing."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    ChildError,
    Durable,
    call_workflow,
    random,
    sleep,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .ledger import note, noted


@step
async def mark(ledger: str, line: str) -> str:
    note(ledger, line)
    return line


@workflow
async def waits_and_cleans(given: dict[str, Any]) -> str:
    """Sees the cancel, does durable work because of it, and lets it pass."""
    try:
        await wait_for_event("never")
    except asyncio.CancelledError as error:
        await mark(given["ledger"], f"told {error}")
        raise
    finally:
        await mark(given["ledger"], "cleanup")
        await sleep(0.01)
        await mark(given["ledger"], "cleanup after a sleep")
    return "never"


@workflow
async def waits_and_swallows(given: dict[str, Any]) -> str:
    try:
        await wait_for_event("never")
    except asyncio.CancelledError:
        return "as if nothing had happened"
    return "never"


@workflow
async def waits_and_raises(given: dict[str, Any]) -> str:
    try:
        await wait_for_event("never")
    finally:
        raise ValueError("cleanup failed")


@step
async def get_stuck(ledger: str, line: str) -> None:
    note(ledger, line)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note(ledger, f"{line} cancelled")
        raise


@workflow
async def stuck_in_step(given: dict[str, Any]) -> None:
    for n in range(10):
        await get_stuck(given["ledger"], f"step {n}")


@step
async def returns_late(ledger: str) -> str:
    note(ledger, "begun")
    try:
        await noted(ledger, "release")
    except asyncio.CancelledError:
        note(ledger, "swallowed")
    return "late"


@workflow
async def late_step(given: dict[str, Any]) -> str:
    return await returns_late(given["ledger"])


@step
def holds_thread(ledger: str) -> str:
    asyncio.run(noted_after_begun(ledger))
    return "late"


async def noted_after_begun(ledger: str) -> None:
    note(ledger, "begun")
    await noted(ledger, "release")
    note(ledger, "thread ends")


@workflow
async def late_thread(given: dict[str, Any]) -> str:
    return await holds_thread(given["ledger"])


@workflow
async def plain(n: int) -> int:
    return n


# ---------------------------------------------------------------------- trees


@workflow
async def family(given: dict[str, Any]) -> None:
    """A child of each kind, two levels deep: completed, waiting, running, pending."""
    level = given["level"]
    await call_workflow(plain, level, ref="done")
    await start_workflow(plain, level, ref="pending", queue="nobody")
    await start_workflow(waits_forever, level, ref="waiting")
    await start_workflow(stuck_in_step, given, ref="running")
    await start_workflow(plain, level, ref="delayed", delay=3600)
    if level:
        await call_workflow(family, {**given, "level": level - 1}, ref="family")
    await wait_for_event("never")


@workflow
async def waits_forever(level: int) -> None:
    await wait_for_event("never")


@workflow
async def leaf(given: dict[str, Any]) -> int:
    """Anything from instant to endless."""
    dice = random().random()
    if dice < 0.3:
        return 1
    if dice < 0.6:
        await sleep(random().random() * 0.05)
        return 2
    if dice < 0.8:
        await wait_for_event("go", timeout=random().random() * 0.05, timeout_value=None)
        return 3
    if dice < 0.9:
        await wait_for_event("go")
        return 5
    await mark(given["ledger"], "leaf")
    return 4


@workflow
async def racer(given: dict[str, Any]) -> int:
    """A tree that is always about to do something: to call, to time out, to get an event, to end."""
    total = 0
    for _ in range(1 + random().randrange(3)):
        if given["level"] == 0 or random().random() < 0.4:
            total += await call_workflow(leaf, given) or 0
        elif random().random() < 0.5:
            kids = [
                call_workflow(racer, {**given, "level": given["level"] - 1}, timeout=0.03, timeout_value=0)
                for _ in range(2)
            ]
            total += sum(await asyncio.gather(*kids))
        else:
            await start_workflow(leaf, given, on_parent_close="cancel")
            await wait_for_event("go", timeout=0.02, timeout_value=None)
    return total


# ---------------------------------------------------------------------- refusing


@workflow
async def immortal(given: dict[str, Any]) -> None:
    """Swallows every cancel and goes on waiting."""
    while True:
        try:
            await wait_for_event("never")
        except asyncio.CancelledError:
            await mark(given["ledger"], "swallowed")


@workflow
async def endless_cleanup(given: dict[str, Any]) -> None:
    try:
        await wait_for_event("never")
    finally:
        await get_stuck(given["ledger"], "cleanup")


@workflow
async def calls(given: dict[str, Any]) -> dict[str, Any]:
    """What its child is follows from the input."""
    kinds = {"immortal": immortal, "endless": endless_cleanup, "self": cancels_itself}
    try:
        return {"value": await call_workflow(kinds[given["kind"]], given, ref="kid")}
    except ChildError as error:
        return {"error": type(error).__name__, "reason": getattr(error, "reason", None)}


@workflow
async def terminated(given: dict[str, Any]) -> None:
    try:
        if given["kind"] == "waiting":
            await wait_for_event("never")
        await get_stuck(given["ledger"], "begun")
    finally:
        await mark(given["ledger"], "user code")


# ---------------------------------------------------------------------- from inside


@step
async def cancel_by_id(given: dict[str, Any], id: str) -> str:
    """As a service would that happens to run in a step."""
    note(given["ledger"], "cancels")
    async with Durable(given["url"], namespace=given["namespace"]) as durable:
        did = await durable.cancel(id, "from inside")
    note(given["ledger"], f"did {did}")
    await asyncio.sleep(3600)
    return "not reached"


@workflow
async def cancels_itself(given: dict[str, Any]) -> None:
    try:
        await cancel_by_id(given, given.get("id", "p/kid"))
    finally:
        await mark(given["ledger"], "cleanup")


@workflow
async def cancels_parent(given: dict[str, Any]) -> None:
    await cancel_by_id(given, "p")


@workflow
async def has_rebel(given: dict[str, Any]) -> None:
    await call_workflow(cancels_parent, given, ref="rebel")
