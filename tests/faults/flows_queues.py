"""A tree in a queue of one place, with keys and a rate, for the fault tests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from durable_async import Queue, call_workflow, info, sleep, start_workflow, wait_for_event, workflow

from .flows import Given, work

line = Queue("default", concurrency=1, rate=(4, timedelta(seconds=0.2)), key=lambda given: given.get("key"), per_key=1)


@workflow(queue=line)
async def member(given: Given) -> str:
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    await sleep(0.02)
    last = await work(ledger, me, "last", {"first": first["nonce"]})
    return str(last["step"])


@workflow(queue=line)
async def head(given: Given) -> list[Any]:
    """Children of its own key and of others, of which one is not awaited; then an event."""
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    await start_workflow(member, {**given, "key": "b"}, ref="alone")
    keys = (given["key"], "b", None)
    found = await asyncio.gather(
        *[call_workflow(member, {**given, "key": key}, ref=f"m{n}") for n, key in enumerate(keys)]
    )
    await wait_for_event("go")
    await work(ledger, me, "last", {"first": first["nonce"]})
    return list(found)


RESULT = ["last", "last", "last"]
