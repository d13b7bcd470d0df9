"""The workflows of the schedules. Every step returns a nonce, and the next one notes which it was given.

Those that call live in queue `a`, those that are called in queue `b`; `line` lets one run go on at a time.
"""

from __future__ import annotations

from typing import Any

from durable_async import (
    Queue,
    call_workflow,
    continue_as_new,
    info,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

from .stage import Now

TIMEOUT_S = 5.0
line = Queue("line", concurrency=1)


@step
async def work(run: str, name: str, got: dict[str, str], gate: str) -> dict[str, str]:
    """Something that is done; at a gate it waits until it is let on."""
    stage = Now.stage
    nonce = stage.begin(run, name)
    for source, value in got.items():
        stage.book.write("got", run=run, step=source, nonce=value, by=name)
    if gate:
        await stage.gate(gate)
    return {"step": name, "nonce": nonce}


async def first(gate: str = "", name: str = "first") -> dict[str, str]:
    return await work(info().id, name, {}, gate)


async def last(before: dict[str, str]) -> str:
    done = await work(info().id, "last", {before["step"]: before["nonce"]}, "")
    return done["step"]


@workflow(queue="a")
async def plain(gate: str) -> str:
    return await last(await first(gate))


@workflow(queue="a")
async def short(gate: str) -> str:
    return (await first(gate))["step"]


@workflow(queue="b")
async def kid(gate: str) -> str:
    return (await first(gate))["step"]


@workflow(queue="b")
async def waiting_kid(gate: str) -> str:
    before = await first(gate)
    try:
        await wait_for_event("never")
    finally:
        await last(before)
    return "never"


@workflow(queue="a")
async def parent(gate: str) -> list[str]:
    child = await start_workflow(kid, "kid", ref="kid")
    before = await first(gate)
    got = await child.result()
    return [got, await last(before)]


@workflow(queue="a")
async def caller(gate: str) -> str:
    await first(gate)
    return await call_workflow(waiting_kid, "kid", ref="kid")


@workflow(queue="a")
async def spawner(gate: str) -> str:
    """Leaves its child alone, and waits for something else."""
    await first(gate)
    await start_workflow(waiting_kid, "kid", ref="kid")
    return str(await wait_for_event("never"))


@workflow(queue="a")
async def calls_twice(gate: str) -> list[str]:
    """Two children one after the other, each awaited: it parks twice, and is woken twice."""
    before = await first(gate)
    found = [await call_workflow(kid, "", ref=ref) for ref in ("one", "two")]
    return [*found, await last(before)]


@workflow(queue="a")
async def timed(gate: str) -> Any:
    before = await first(gate)
    got = await wait_for_event("go", timeout=TIMEOUT_S, timeout_value="late")
    await last(before)
    return got


@workflow(queue="a")
async def waiter(gate: str) -> Any:
    before = await first(gate)
    got = await wait_for_event("go")
    Now.stage.book.write("consumed", run=info().id, event=got)
    await last(before)
    return got


@workflow(queue="a")
async def renewed(life: int) -> Any:
    before = await first(f"life{life}", f"life {life}")
    if life == 1:
        continue_as_new(2)
    got = await wait_for_event("go")
    await last(before)
    return got


@workflow(queue=line)
async def member(gate: str) -> str:
    return await last(await first(gate))


@workflow(queue=line)
async def pausing(gate: str) -> Any:
    """Gives its place back while it waits, and takes one again."""
    before = await first(gate)
    got = await wait_for_event("go")
    await last(before)
    return got
