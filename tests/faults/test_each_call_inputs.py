"""W10 under D2, D23, D24: a worker, and a client that answers, are struck at each of their calls in turn."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
import redis

from durable_async import Durable, InvalidInput, RunNotWaiting
from durable_async.server.ephemeral import EphemeralServer

from . import flows_inputs as flows
from .fleet import PATIENCE_S
from .rig import FEW_STRIKES, Plan, current, until_struck_dead
from .sweep import Case, EveryCall

ANSWERS = [("ok", True), ("ok", 7), ("form", {"a": "x", "b": "y"})]
MOST_CALLS = 9
"""More than a client makes that answers one question; the test finds out."""


class AskingCase(Case):
    """With other workflows."""

    flows = flows


async def answer(durable: Durable, name: str, value: Any) -> None:
    """Once it is asked; accepted once."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await durable.provide_input("p", name, value)
            except (RunNotWaiting, InvalidInput):
                # Not yet asked, or an earlier question of this name is still open.
                await asyncio.sleep(0.01)
            else:
                return


async def scenario(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.asks, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.ASKS_RESULT)
    for name, value in ANSWERS:
        await answer(durable, name, value)
    assert await handle.result() == flows.ASKS_RESULT
    case.book.write("result", id="p", status="completed")
    assert await durable.pending_inputs() == []


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_w10_every_call_of_a_worker(strike: str, every_call: EveryCall) -> None:
    await every_call(scenario, strike, ("claim_runs", "commit_run", "resume_runs"), AskingCase)


# A client that died in the middle closes nothing: its connections are collected, with warnings, before this test ends.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_w10_every_call_of_a_client_that_answers(
    strike: str, shared_server: EphemeralServer, raw: redis.Redis, namespace: str
) -> None:
    """Accepted once, and told so once: whoever lost a reply learns of its own answer, not of somebody else's."""

    async def one(at: int) -> Plan:
        options: dict[str, Any] = {"workflows": [flows], "namespace": f"{namespace}-{at}"}
        plan = Plan(at, strike)
        async with Durable(shared_server.url, **options) as durable, durable.worker(drain_timeout=5.0):
            handle = await durable.start(flows.asks_one, id="p")
            while not await durable.pending_inputs():
                await asyncio.sleep(0.01)
            # Inherited by what this task opens until it is reset.
            token = current.set(plan)
            accepted = await until_struck_dead(plan, _first_client(shared_server.url, options))
            current.reset(token)
            if plan.is_dead:
                # The same again, from a client that knows nothing of the first one's answer.
                try:
                    await durable.provide_input("p", "q", "second")
                except RunNotWaiting:
                    assert await handle.result(timeout=PATIENCE_S) == "first"
                else:
                    assert await handle.result(timeout=PATIENCE_S) == "second"
            else:
                assert accepted is True, f"{strike} at {at} ({plan.what})"
                assert await handle.result(timeout=PATIENCE_S) == "first"
        return plan

    plans = await asyncio.gather(*map(one, range(1, MOST_CALLS)))
    struck = [plan.what for plan in plans if plan.struck.is_set()]
    assert "provide_input" in struck and len(struck) < len(plans)
    gc.collect()


async def _first_client(url: str, options: dict[str, Any]) -> bool:
    async with Durable(url, **options) as durable:
        await durable.provide_input("p", "q", "first")
    return True
