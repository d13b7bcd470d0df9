"""An order pipeline that uses what the engine has."""

from __future__ import annotations

import asyncio
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    Durable,
    Retry,
    RunNotFound,
    call_workflow,
    put_context,
    sleep,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)

tries: dict[str, int] = {}


@step(retry=Retry(max_attempts=2, initial=0.01))
async def charge(order: str) -> str:
    tries[order] = tries.get(order, 0) + 1
    if tries[order] == 1:
        raise ConnectionError("busy")
    return f"paid {order}"


@workflow
async def payment(order: str) -> str:
    return await charge(order)


@workflow
async def email(order: str) -> None:
    await sleep(0.01)


@workflow
async def patient(order: str) -> None:
    await sleep(3600)


@workflow
async def orders(order: str) -> dict[str, Any]:
    put_context("order", order)
    paid, second = await asyncio.gather(
        call_workflow(payment, order, ref="payment"), call_workflow(payment, order + "b", ref="second")
    )
    await start_workflow(email, order, ref="mail")
    late = await call_workflow(patient, order, ref="late", timeout=0.02)
    put_context("paid", paid)
    truck = await wait_for_event("truck")
    return {"paid": [paid, second], "late": late is CHILD_TIMEOUT, "truck": truck}


@workflow
async def fails(text: str) -> None:
    raise RuntimeError(text)


FLOWS = [payment, email, patient, orders, fails]


async def until_waiting(durable: Durable, id: str, what: str) -> None:
    """Returns once the run waits for it."""
    while True:
        try:
            if what in ((await durable.get(id)).waiting_for or ""):
                return
        except RunNotFound:
            pass
        await asyncio.sleep(0.01)


async def run_order(durable: Durable, id: str) -> dict[str, Any]:
    """One order, from its start to its result, through every call of a client."""
    handle = await durable.start(orders, id, id=id)
    await until_waiting(durable, id, "event truck")
    assert (await durable.start(orders, id, id=id)).id == id
    assert [child.ref for child in await handle.children()] == ["payment", "second", "mail", "late"]
    assert (await durable.tree(id)).run.id == id
    assert {run.id for run in (await durable.list(top_level=True)).items} >= {id}
    assert await durable.history(id)
    assert any(queue.name == "default" for queue in await durable.queues())
    assert await durable.workers()
    doomed = await durable.start(patient, id, id=f"{id}-doomed")
    unlucky = await durable.start(patient, id, id=f"{id}-unlucky")
    delayed = await durable.start(patient, id, id=f"{id}-delayed", delay=3600)
    await until_waiting(durable, doomed.id, "timer")
    assert await doomed.cancel("enough") and await delayed.cancel() and await durable.terminate(unlucky.id)
    await handle.send_event("truck", 7, event_id="once")
    found: dict[str, Any] = await handle.result(timeout=60)
    return found
