"""Steps that call and start workflows, for the fault tests."""

from __future__ import annotations

from typing import Any

from durable_async import call_workflow, info, start_workflow, step, wait_for_event, workflow

from .book import write
from .flows import Given, begin, work


@workflow
async def called(given: Given) -> dict[str, Any]:
    done = await work(given["ledger"], info().id, "work", {})
    if given.get("wait"):
        await wait_for_event("go")
    return {"by": info().id, "nonce": done["nonce"]}


@step
async def calls(given: Given, me: str) -> dict[str, Any]:
    nonce = begin(given["ledger"], me, "calls", {})
    first = await call_workflow(called, given, ref="first")
    started = await start_workflow(called, given, ref="started")
    again = await call_workflow(called, given, ref="first")
    last = await started.result()
    assert again == first
    write(given["ledger"], "end", run=me, step="calls", nonce=nonce)
    return {"step": "calls", "nonce": nonce, "first": first["by"], "last": last["by"]}


@workflow
async def caller(given: Given) -> list[str]:
    me = info().id
    done = await calls(given, me)
    own = await call_workflow(called, given, ref="own")
    await work(given["ledger"], me, "last", {"calls": done["nonce"]})
    return [done["first"], done["last"], own["by"]]


RESULT = ["p/first", "p/started", "p/own"]


@step
async def waits(given: Given, me: str) -> None:
    begin(given["ledger"], me, "waits", {})
    await call_workflow(called, {**given, "wait": True}, ref="kid")


@workflow
async def waiter(given: Given) -> None:
    me = info().id
    try:
        await waits(given, me)
    finally:
        await work(given["ledger"], me, "cleanup", {})
