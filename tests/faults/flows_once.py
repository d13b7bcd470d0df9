"""At-most-once steps for the fault tests."""

from __future__ import annotations

from typing import Any

from durable_async import Retry, StepInterrupted, info, step, wait_for_event, workflow

from .book import write
from .flows import Given, begin, work


@step(at_most_once=True)
async def pay(ledger: str, run: str, name: str) -> dict[str, str]:
    nonce = begin(ledger, run, name, {})
    write(ledger, "end", run=run, step=name, nonce=nonce)
    return {"step": name, "nonce": nonce}


again = pay.options(retry=Retry(max_attempts=2, initial=0.01, retry_on=StepInterrupted))


@workflow
async def buys(given: Given) -> dict[str, Any]:
    """Two that must not happen twice, and one that may be tried once more."""
    ledger, me = given["ledger"], info().id
    found = {}
    for name, how in (("first", pay), ("again", again), ("last", pay)):
        try:
            found[name] = (await how(ledger, me, name))["nonce"]
        except StepInterrupted:
            found[name] = ""
        if name == "first":
            await wait_for_event("go")
    await work(ledger, me, "over", {name: nonce for name, nonce in found.items() if nonce})
    return found
