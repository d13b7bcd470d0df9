"""Sagas for the fault tests: steps, a retried compensation, children that their parent undoes."""

from __future__ import annotations

from typing import Any

from durable_async import (
    Retry,
    call_workflow,
    compensate,
    info,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .book import Book, write
from .flows import Given, begin

Done = dict[str, Any]


def _done(ledger: str, run: str, name: str, got: dict[str, str]) -> Done:
    nonce = begin(ledger, run, name, got)
    write(ledger, "end", run=run, step=name, nonce=nonce)
    return {"step": name, "nonce": nonce, "ledger": ledger, "run": run}


@step
async def undo(done: Done) -> Done:
    return _done(done["ledger"], done["run"], f"undo {done['step']}", {done["step"]: done["nonce"]})


@step(retry=Retry(max_attempts=5, initial=0.02, jitter=0.0))
async def undo_flaky(done: Done) -> Done:
    """Raises the first time."""
    ledger, run = done["ledger"], done["run"]
    nonce = begin(ledger, run, "undo_flaky", {done["step"]: done["nonce"]})
    if not any(line["run"] == run for line in Book(ledger).lines("raise")):
        write(ledger, "raise", run=run, step="undo_flaky", nonce=nonce)
        raise ConnectionError("the first time")
    write(ledger, "end", run=run, step="undo_flaky", nonce=nonce)
    return {"step": "undo_flaky", "nonce": nonce}


@step(compensate=undo)
async def first(ledger: str, run: str) -> Done:
    return _done(ledger, run, "first", {})


@step(compensate=undo_flaky)
async def second(ledger: str, run: str) -> Done:
    return _done(ledger, run, "second", {})


@step
async def by_hand(ledger: str, run: str) -> None:
    _done(ledger, run, "by hand", {})


@workflow
async def undo_kid(done: Done) -> None:
    await undone(done["ledger"], info().id, done["kid"])


@step
async def undone(ledger: str, run: str, kid: str) -> None:
    write(ledger, "undone", kid=kid)


@workflow(compensate=undo_kid)
async def kid(given: Given) -> Done:
    await first(given["ledger"], info().id)
    return {"ledger": given["ledger"], "kid": info().id}


@workflow
async def saga(given: Given) -> None:
    ledger, me = given["ledger"], info().id
    await first(ledger, me)
    await call_workflow(kid, given, ref="called")
    started = await start_workflow(kid, given, ref="started")
    compensate(by_hand, ledger, me)
    await second(ledger, me)
    await started.result()
    await wait_for_event("go")
    raise ValueError("out of stock")


ORDER = ["undo_flaky", "by hand", "undo first"]
"""What the run's own steps undo; in between its children are undone."""
