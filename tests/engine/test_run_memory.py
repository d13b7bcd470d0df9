"""A run that has left memory is gone at once: thousands come and go, and none waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator
from typing import Any
from weakref import ref

import pytest

from durable_async import call_workflow, step, wait_for_event, wait_for_input, workflow
from durable_async.codec import MsgpackCodec
from durable_async.engine.run import Run
from durable_async.engine.spec import RunIdentity
from durable_async.types import Limits

IDENTITY = RunIdentity("r", "r", None, None, "default", 0, 1, 1_000, 1_000)


@step
async def work(n: int) -> int:
    return n


@workflow
async def one_step(n: int) -> int:
    return await work(n)


@workflow
async def waits(n: int) -> int:
    async with asyncio.timeout(60):
        asks = wait_for_input("q", timeout=30)
        await asyncio.gather(work(n), call_workflow(one_step, n), wait_for_event("never"), asks)
    return n


@pytest.fixture(autouse=True)
def _no_collector() -> Generator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def begun(definition: Any) -> Run:
    run = Run(definition.spec, IDENTITY, MsgpackCodec(), Limits())
    run.begin(b"S" + run.codec.encode(5, limit=100), has_past=False)
    return run


def test_a_run_that_has_ended_is_freed_when_it_is_dropped() -> None:
    run = begun(one_step)
    (call,) = run.steps.take_launches()
    run.step_returned(call, 5, 2_000, 0)
    assert run.take_turn().want == "completed"
    loop = ref(run.loop)
    run.abandon()
    run.abandon()
    del run, call
    assert loop() is None


def test_a_run_that_waits_is_freed_when_it_is_dropped() -> None:
    run = begun(waits)
    run.take_turn()
    loop, tasks = ref(run.loop), [ref(task) for task in run.loop.tasks]
    assert len(tasks) == 5
    run.abandon()
    del run
    assert loop() is None
    assert not any(task() for task in tasks)
