"""O10: a message for what was given up is dropped: in a journal it would block every later replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from durable_async import call_workflow, wait_for_event, workflow
from durable_async.codec import MsgpackCodec
from durable_async.engine.records import Want, event_body
from durable_async.engine.run import Run
from durable_async.engine.spec import RunIdentity
from durable_async.types import Limits

IDENTITY = RunIdentity("r", "r", None, None, "default", 0, 1, 1_000, 1_000)


@workflow
async def kid(n: int) -> int:
    return n


@workflow
async def gives_up(n: int) -> str:
    await call_workflow(kid, n, timeout=1)
    got: str = await wait_for_event("go")
    return got


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run(gives_up.spec, IDENTITY, MsgpackCodec(), Limits())
    run.begin(b"S" + run.codec.encode(1, limit=100), has_past=False)
    yield run
    run.abandon()


def told(number: int, now_ms: int, run: Run) -> bytes:
    return b"M%d %d Cc%s\n%s" % (number, now_ms, b"r/kid", run.codec.encode(1, limit=100))


def test_o10_a_result_in_time_is_taken(run: Run) -> None:
    run.take_turn()
    run.feed_messages([told(1, 1_999, run)])
    assert [entry.letter for entry in run.take_turn().entries] == ["T"]


@pytest.mark.parametrize("now_ms", [2_000, 2_500])
def test_o10_a_result_after_the_time_is_dropped_and_the_time_is_recorded_before(run: Run, now_ms: int) -> None:
    run.take_turn()
    run.feed_messages([told(1, now_ms, run)])
    turn = run.take_turn()
    assert turn.want == Want.PARK
    assert [entry.letter for entry in turn.entries if entry.letter in "TD"] == ["D"]
    assert turn.entries[0].letter == "R"


@workflow
async def takes_two(n: int) -> list[str]:
    return [await wait_for_event("go"), await wait_for_event("go")]


def test_w04_messages_are_taken_in_their_order_each_once() -> None:
    run = Run(takes_two.spec, IDENTITY, MsgpackCodec(), Limits())
    run.begin(b"S" + run.codec.encode(1, limit=100), has_past=False)
    bodies = [event_body("go", run.codec.encode(text, limit=100)) for text in ("a", "b")]
    sent = [b"M%d 2000 E%s" % (number, body) for number, body in enumerate(bodies, 1)]
    run.feed_messages(sent)
    # Answered again by the next commit, since nobody had taken it yet.
    run.feed_messages(sent)
    turn = run.take_turn()
    assert [entry.letter for entry in turn.entries] == ["T", "T"]
    assert run.codec.decode(turn.payload) == ["a", "b"]
    run.abandon()
