"""The workloads of the fault tests. Every step returns a nonce, and the next step notes which nonce it was given."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Any

from durable_async import (
    Retry,
    call_workflow,
    continue_as_new,
    info,
    now,
    sleep,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .book import Book, write

Given = dict[str, Any]
"""`ledger`: its path."""


def begin(ledger: str, run: str, name: str, got: dict[str, str]) -> str:
    nonce = secrets.token_hex(6)
    write(ledger, "begin", run=run, step=name, nonce=nonce, pid=os.getpid())
    for source, value in got.items():
        write(ledger, "got", run=run, step=source, nonce=value, by=name)
    return nonce


@step
async def work(ledger: str, run: str, name: str, got: dict[str, str], pause_s: float = 0.0) -> dict[str, str]:
    """An effect: a line in the ledger, and perhaps another one after a while."""
    nonce = begin(ledger, run, name, got)
    if pause_s:
        await asyncio.sleep(pause_s)
    write(ledger, "end", run=run, step=name, nonce=nonce)
    return {"step": name, "nonce": nonce}


@step(retry=Retry(max_attempts=5, initial=0.02, jitter=0.0))
async def flaky(ledger: str, run: str, got: dict[str, str]) -> dict[str, str]:
    """Raises the first time."""
    nonce = begin(ledger, run, "flaky", got)
    if not any(line["run"] == run for line in Book(ledger).lines("raise")):
        write(ledger, "raise", run=run, step="flaky", nonce=nonce)
        raise ConnectionError("the first time")
    return {"step": "flaky", "nonce": nonce}


@step
async def note(ledger: str, kind: str, fields: dict[str, Any]) -> None:
    """A line of the body's own."""
    write(ledger, kind, **fields)


# ---------------------------------------------------------------------- a two-level tree


@workflow
async def child(given: Given) -> dict[str, Any]:
    ledger, me = given["ledger"], info().id
    first = await flaky(ledger, me, {})
    before = now()
    await sleep(0.03)
    slept = now() - before
    last = await work(ledger, me, "last", {"flaky": first["nonce"]})
    await note(ledger, "slept", {"run": me, "asked": 0.03, "slept": slept.total_seconds()})
    return {"steps": [first["step"], last["step"]]}


@workflow
async def parent(given: Given) -> dict[str, Any]:
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    kid = await call_workflow(child, given, ref="kid")
    go = await wait_for_event("go")
    await note(ledger, "consumed", {"run": me, "event": go["event"]})
    last = await work(ledger, me, "last", {"first": first["nonce"]})
    return {"kid": kid, "go": go, "steps": [first["step"], last["step"]]}


# ---------------------------------------------------------------------- several lives of one id


@workflow
async def frail(given: Given) -> int:
    attempt = info().attempt
    await work(given["ledger"], info().id, f"life {given['life']} try {attempt}", {})
    if attempt == 1:
        raise ValueError("the first time")
    return attempt


@workflow
async def lingers(given: Given) -> str:
    """Outlives the life that started it: it is told to end by the next one, which meets it."""
    await sleep(0.2)
    return "lingered"


@workflow(retry=Retry(max_attempts=2, initial=0.02, jitter=0.0))
async def lives(given: Given) -> dict[str, Any]:
    """Fails once, is run again, runs a child again that failed, and goes on twice under the same id."""
    ledger, me, life = given["ledger"], info().id, given["life"]
    if life == 1:
        kid = await call_workflow(child, {"ledger": ledger}, ref="kid")
        if info().attempt == 1:
            raise ValueError("the first time")
        got = await call_workflow(
            frail, {"ledger": ledger, "life": life}, ref="frail", retry=Retry(max_attempts=2, initial=0.02)
        )
        await start_workflow(lingers, {"ledger": ledger}, ref="lingers")
        continue_as_new({**given, "life": 2, "kid": kid, "frail": got})
    if life == 2:
        go = await wait_for_event("go")
        await note(ledger, "consumed", {"run": me, "event": go["event"]})
        continue_as_new({**given, "life": 3, "go": go})
    again = await call_workflow(
        frail, {"ledger": ledger, "life": life}, ref="frail", retry=Retry(max_attempts=2, initial=0.02)
    )
    lingering = await (await start_workflow(lingers, {"ledger": ledger}, ref="lingers")).result()
    return {"kid": given["kid"], "go": given["go"], "frail": [given["frail"], again], "lingering": lingering}


@step
async def closed(ledger: str, run: str) -> dict[str, str]:
    """Fails until the ledger says that it is mended."""
    nonce = begin(ledger, run, "closed", {})
    if not Book(ledger).lines("mended"):
        raise ConnectionError("closed")
    return {"step": "closed", "nonce": nonce}


@workflow
async def needs_help(given: Given) -> dict[str, Any]:
    """One branch fails while a child waits; taken up again, the child is asked for again and what completed stays."""
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    kid = await call_workflow(child, {"ledger": ledger}, ref="kid")

    async def waits() -> Any:
        return await call_workflow(waits_for_go, {"ledger": ledger}, ref="waits")

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(waits())
        group.create_task(closed(ledger, me))
    last = await work(ledger, me, "last", {"first": first["nonce"]})
    return {"kid": kid, "waited": waiting.result(), "steps": [first["step"], last["step"]]}


@workflow
async def waits_for_go(given: Given) -> str:
    return str(await wait_for_event("go"))


HELPED_RESULT = {"kid": {"steps": ["flaky", "last"]}, "waited": "went", "steps": ["first", "last"]}

LIVES_RESULT = {
    "kid": {"steps": ["flaky", "last"]}, "go": {"event": "e1"}, "frail": [2, 2], "lingering": "lingered"
}  # fmt: skip

PARENT_RESULT = {"kid": {"steps": ["flaky", "last"]}, "go": {"event": "e1"}, "steps": ["first", "last"]}


# ---------------------------------------------------------------------- a tree that is cancelled


@workflow
async def waits_for_ever(given: Given) -> None:
    ledger, me = given["ledger"], info().id
    await work(ledger, me, "first", {})
    try:
        await wait_for_event("never")
    finally:
        await work(ledger, me, "cleanup", {})


@workflow
async def calls_for_ever(given: Given) -> None:
    ledger, me = given["ledger"], info().id
    await start_workflow(waits_for_ever, given, ref="one")
    try:
        await call_workflow(waits_for_ever, given, ref="two")
    finally:
        await work(ledger, me, "cleanup", {})


@workflow
async def doomed(given: Given) -> None:
    await start_workflow(waits_for_ever, given, ref="started", delay=3600)
    await call_workflow(calls_for_ever, given, ref="mid")


# ---------------------------------------------------------------------- workload W: trees of three levels


@workflow
async def leaf(given: Given) -> int:
    ledger, me, kind = given["ledger"], info().id, given["kind"]
    first = await work(ledger, me, "first", {}, given["pause_s"])
    if kind == "timer":
        before = now()
        await sleep(0.1)
        slept = now() - before
        await note(ledger, "slept", {"run": me, "asked": 0.1, "slept": slept.total_seconds()})
    elif kind == "event":
        got = await wait_for_event("go", timeout=0.5, timeout_value={})
        if got:
            await note(ledger, "consumed", {"run": me, "event": got["event"]})
    elif kind == "flaky":
        await flaky(ledger, me, {"first": first["nonce"]})
    await work(ledger, me, "last", {"first": first["nonce"]})
    return 1


KINDS = ("timer", "event", "flaky", "plain")


@workflow
async def branch(given: Given) -> int:
    ledger, me, n = given["ledger"], info().id, given["n"]
    first = await work(ledger, me, "first", {})
    calls = [call_workflow(leaf, {**given, "kind": KINDS[(n + i) % 4]}, ref=f"leaf{i}") for i in range(2)]
    total = sum(await asyncio.gather(*calls))
    await work(ledger, me, "last", {"first": first["nonce"]})
    return total + 1


@workflow
async def tree(given: Given) -> int:
    ledger, me = given["ledger"], info().id
    first = await work(ledger, me, "first", {})
    calls = [call_workflow(branch, {**given, "n": given["n"] + 2 * i}, ref=f"branch{i}") for i in range(2)]
    total = sum(await asyncio.gather(*calls))
    await work(ledger, me, "last", {"first": first["nonce"]})
    return total + 1


TREE_RESULT = 7
EVENT_LEAVES = tuple(f"branch{b}/leaf{i}" for b in range(2) for i in range(2))


@workflow
async def long_step(given: Given) -> str:
    """For zombies: a step that lasts until the test says so, and one after it."""
    ledger, me = given["ledger"], info().id
    first = await slow(ledger, me)
    last = await work(ledger, me, "last", {"slow": first["nonce"]})
    return last["step"]


@step
async def slow(ledger: str, run: str) -> dict[str, str]:
    nonce = begin(ledger, run, "slow", {})
    book = Book(ledger)
    while not book.lines("release"):
        await asyncio.sleep(0.01)
    write(ledger, "end", run=run, step="slow", nonce=nonce)
    return {"step": "slow", "nonce": nonce}
