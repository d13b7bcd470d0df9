"""A nudge that is read before the reply to the claim of its run: replies and reads have no order between them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_async import Durable, step, wait_for_event, workflow
from durable_async.server.ephemeral import ephemeral_server

from .fleet import until


@step
async def endless() -> None:
    await asyncio.Event().wait()


@workflow
async def raced() -> str:
    event = asyncio.ensure_future(wait_for_event("go", str))
    await asyncio.wait({event, asyncio.ensure_future(endless())}, return_when=asyncio.FIRST_COMPLETED)
    return await event


async def test_o21_a_message_between_a_claim_and_its_reply(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replies: list[Any] = []
    nudged: list[str] = []
    with ephemeral_server() as server:
        durable = Durable(server.url, workflows=[raced], namespace=namespace)
        async with durable, durable.worker() as worker:
            claim, nudge = worker.store.claim_runs, worker.runner.nudged

            def claim_runs(*args: Any, **more: Any) -> None:
                *rest, on_reply = args
                claim(*rest, lambda reply: replies.append((on_reply, reply)), **more)

            def spy(run_id: str) -> bool:
                nudged.append(run_id)
                return nudge(run_id)

            monkeypatch.setattr(worker.store, "claim_runs", claim_runs)
            monkeypatch.setattr(worker.runner, "nudged", spy)
            handle = await durable.start(raced, id="r")
            await until(lambda: replies, "the run is claimed, and the worker has not heard")
            await handle.send_event("go", "now")
            await until(lambda: nudged, "the nudge has been read")
            on_reply, reply = replies.pop()
            on_reply(reply)
            assert await handle.result(timeout=10) == "now"
