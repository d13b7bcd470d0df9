"""An outcome that comes in the moment in which a timer gives its step up: the timer was first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from durable_async import Retry, step, workflow
from durable_async.codec import MsgpackCodec
from durable_async.engine.run import Run
from durable_async.engine.spec import RunIdentity
from durable_async.types import Limits

IDENTITY = RunIdentity("r", "r", None, None, "default", 0, 1, 1_000, 1_000)


@step(retry=Retry(max_attempts=3))
async def work() -> str:
    return "done"


@workflow
async def in_time(n: int) -> str:
    try:
        async with asyncio.timeout(1):
            return await work()
    except TimeoutError:
        return "time is over"


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run(in_time.spec, IDENTITY, MsgpackCodec(), Limits())
    run.begin(b"S" + run.codec.encode(1, limit=100), has_past=False)
    yield run
    run.abandon()


@pytest.mark.parametrize("now_ms", [2_000, 2_001])
def test_o9_a_step_that_returns_when_its_time_is_over_is_late(run: Run, now_ms: int) -> None:
    (call,) = run.steps.take_launches()
    run.step_returned(call, "done", now_ms, 0)
    turn = run.take_turn()
    assert turn.want == "completed"
    assert turn.payload == run.codec.encode("time is over", limit=100)
    assert len(turn.entries) == 1


@pytest.mark.parametrize("now_ms", [2_000, 2_001])
def test_o9_a_step_that_raises_when_its_time_is_over_is_late(run: Run, now_ms: int) -> None:
    (call,) = run.steps.take_launches()
    run.step_failed(call, ValueError("late"), now_ms, 0, 0.0)
    turn = run.take_turn()
    assert turn.want == "completed"
    assert turn.payload == run.codec.encode("time is over", limit=100)
    assert len(turn.entries) == 1


def test_o9_a_step_that_returns_before_is_in_time(run: Run) -> None:
    (call,) = run.steps.take_launches()
    run.step_returned(call, "done", 1_999, 0)
    assert run.take_turn().payload == run.codec.encode("done", limit=100)
