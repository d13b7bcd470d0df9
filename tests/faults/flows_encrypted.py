"""A two-level tree whose replays compare values: contexts, which are stored in other bytes each time if encrypted."""

from __future__ import annotations

from typing import Any

from durable_async import call_workflow, info, progress, put_context, wait_for_event, workflow

from .flows import Given, child, note, work


@workflow
async def secretive(given: Given) -> dict[str, Any]:
    ledger, me = given["ledger"], info().id
    put_context("given", given)
    first = await work(ledger, me, "first", {})
    put_context("first", first)
    progress(1, 2, first["nonce"])
    kid = await call_workflow(child, given, ref="kid")
    put_context("kid", kid)
    go = await wait_for_event("go")
    put_context("go", go)
    await note(ledger, "consumed", {"run": me, "event": go["event"]})
    last = await work(ledger, me, "last", {"first": first["nonce"]})
    return {"kid": kid, "go": go, "steps": [first["step"], last["step"]]}
