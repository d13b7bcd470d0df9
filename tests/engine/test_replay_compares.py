"""V4: a body that asks for something else than its journal says is stopped, also if it is of the same kind and name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durable_async import NonDeterministicReplay, call_workflow, workflow
from durable_async.codec import MsgpackCodec
from durable_async.engine.run import Run
from durable_async.engine.spec import RunIdentity
from durable_async.types import Limits

IDENTITY = RunIdentity("r", "r", None, None, "default", 0, 1, 1_000, 1_000)


@workflow
async def kid(n: int) -> int:
    return n


@workflow
async def other_kid(n: int) -> int:
    return n


@workflow(name="same")
async def recorded(n: int) -> None:
    await call_workflow(kid, n, ref="kid")


@workflow(name="same")
async def the_same(n: int) -> None:
    await call_workflow(kid, 0 + n, ref="kid")


@workflow(name="same")
async def other_input(n: int) -> None:
    await call_workflow(kid, n + 1, ref="kid")


@workflow(name="same")
async def other_workflow(n: int) -> None:
    await call_workflow(other_kid, n, ref="kid")


@workflow(name="same")
async def other_ref(n: int) -> None:
    await call_workflow(kid, n, ref="another")


@contextmanager
def made(definition: Any) -> Iterator[Run]:
    run = Run(definition.spec, IDENTITY, MsgpackCodec(), Limits())
    try:
        yield run
    finally:
        run.abandon()


@pytest.fixture
def journal() -> list[bytes]:
    with made(recorded) as run:
        first = b"S" + run.codec.encode(1, limit=100)
        run.begin(first, has_past=False)
        return [first, *[entry.value for entry in run.take_turn().entries if entry.letter == "R"]]


def rebuild(run: Run, journal: list[bytes]) -> None:
    run.begin(journal[0], has_past=True, position=1)
    run.replay(iter(journal[1:]))
    run.replayed()


def test_v04_what_it_asked_for_before_it_may_ask_for_again(journal: list[bytes]) -> None:
    assert len(journal) == 2
    with made(the_same) as run:
        rebuild(run, journal)
        assert run.take_turn().entries == []


@pytest.mark.parametrize("definition", [other_input, other_workflow, other_ref], ids=lambda d: d.spec.function.__name__)
def test_v04_what_it_did_not_ask_for_stops_it(journal: list[bytes], definition: Any) -> None:
    with made(definition) as run, pytest.raises(NonDeterministicReplay, match="child:"):
        rebuild(run, journal)
