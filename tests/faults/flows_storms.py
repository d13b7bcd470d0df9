"""Workflows that take many events, and that race a time-out against a child."""

from __future__ import annotations

from durable_async import CHILD_TIMEOUT, call_workflow, info, sleep, wait_for_event, workflow

from .flows import Given, note, work

EVENTS = 12


@workflow
async def collects(given: Given) -> list[str]:
    """Waits for the first ones while they come, is busy for a while, and finds the rest waiting."""
    ledger, me = given["ledger"], info().id
    found = []
    for n in range(EVENTS):
        if n == EVENTS // 2:
            await work(ledger, me, "busy", {}, 0.1)
        got = await wait_for_event("go")
        await note(ledger, "consumed", {"run": me, "event": got["event"]})
        found.append(got["event"])
    return found


@workflow
async def lasts(given: Given) -> str:
    await sleep(given["lasts_s"])
    return "value"


@workflow
async def bounded(given: Given) -> str:
    ledger, me = given["ledger"], info().id
    got = await call_workflow(lasts, given, ref="kid", timeout=given["timeout_s"])
    saw = "timeout" if got is CHILD_TIMEOUT else str(got)
    # Were it another one in a replay, the step of that name would not fit the journal.
    await work(ledger, me, f"saw {saw}", {})
    await sleep(0.05)
    await work(ledger, me, f"still {saw}", {})
    return saw
