"""Questions and answers that are wrong, and stored ones that are damaged."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal
from typing import Any

import pytest

from durable_async import (
    CorruptPayload,
    InputField,
    NotSerializable,
    PayloadTooLarge,
    RunNotWaiting,
    wait_for_approval,
    wait_for_input,
)
from durable_async.engine.records import Kind, record

from . import flows
from .bench import Bench
from .test_arguments import BAD_DURATIONS, BAD_IDS, BAD_LABELS, UNSTORABLE, labels, refused

Q = "input 'q'"
BAD: list[tuple[dict[str, Any], str, str]] = [
    *(({"kind": kind}, "ValueError", f"^kind of {Q} must be one of text, ") for kind in ("", "Text", None, 7, [], {})),
    *(({"prompt": p}, "TypeError", f"^prompt of {Q} must be a str") for p in (None, 7, b"x")),
    *(({"kind": k}, "ValueError", "needs choices") for k in ("choice", "choices")),
    *(({"kind": k, "choices": ["a"]}, "ValueError", "takes no choices") for k in ("boolean", "approval", "form")),
    *(({"choices": c}, "TypeError", f"^choices of {Q} must be a list") for c in ("abc", b"abc", 7, None, {"a": 1})),
    *(
        ({"kind": "choice", "choices": [c]}, "TypeError", f"^choices of {Q} must be texts")
        for c in (None, [], b"x", 1j)
    ),
    *(({"kind": "choice", "choices": [c]}, "ValueError", "does not fit") for c in (math.nan, math.inf)),
    ({"kind": "choice", "choices": [Decimal(1)]}, "TypeError", "Decimal"),
    ({"choices": [1]}, "ValueError", "^choice 1 of .* does not fit the kind 'text'"),
    ({"kind": "number", "choices": ["1"]}, "ValueError", "does not fit the kind 'number'"),
    ({"kind": "number", "choices": [True]}, "ValueError", "does not fit the kind 'number'"),
    ({"choices": ["a", "a"]}, "ValueError", f"^choices of {Q} must differ"),
    ({"choices": [str(n) for n in range(1_001)]}, "ValueError", "at most 1,000, got 1,001"),
    ({"kind": "form"}, "ValueError", "needs fields"),
    ({"fields": ["a"]}, "ValueError", "takes no fields"),
    *(({"kind": "form", "fields": f}, "TypeError", f"^fields of {Q} must be a list") for f in ("abc", 7, {"a": 1})),
    *(({"kind": "form", "fields": [f]}, "TypeError", f"^fields of {Q} must be names") for f in (7, None, ["a"])),
    *(({"kind": "form", "fields": [f]}, "ValueError", "^field name of") for f in ("", "x" * 129, InputField(7))),  # type: ignore[arg-type]
    *(({"kind": "form", "fields": [f]}, "TypeError", "must have a name") for f in ({}, {"name": "a", "more": 1})),
    ({"kind": "form", "fields": ["a", {"name": "a"}]}, "ValueError", "names that differ"),
    ({"kind": "form", "fields": [InputField("a", "form")]}, "ValueError", "^kind of field 'a' of"),
    ({"kind": "form", "fields": [InputField("a", "choice")]}, "ValueError", "^field 'a' of .* needs choices"),
    ({"kind": "form", "fields": [InputField("a", required=1)]}, "TypeError", "^required of field 'a'"),  # type: ignore[arg-type]
    ({"kind": "form", "fields": [InputField("a", prompt=None)]}, "TypeError", "^prompt of field 'a'"),  # type: ignore[arg-type]
    *(({"metadata": m}, "TypeError", f"^metadata of {Q} must be a dict") for m in (7, [], "a", {1: 2})),
    ({"metadata": {"a": object()}}, "NotSerializable", f"^{Q}"),
    ({"metadata": {"a": "x" * 2_000_000}}, "PayloadTooLarge", f"^{Q}"),
    ({"prompt": "x" * 2_000_000}, "PayloadTooLarge", f"^{Q}"),
    ({"prompt": "a\ud800"}, "NotSerializable", f"^{Q}"),
    *(({"timeout": t}, kind.__name__, f"^timeout.*{words}") for t, kind, words in BAD_DURATIONS),
    *(({"timeout": 1, "timeout_value": v}, "NotSerializable", "^timeout_value") for v in UNSTORABLE.values()),
]


async def test_wrong_questions_are_refused_at_the_call(bench: Bench) -> None:
    calls = [(lambda o=options: wait_for_input("q", **o), kind, words) for options, kind, words in BAD]
    calls += [(lambda n=name: wait_for_input(n), "ValueError", f"^input name.*{words}") for name, words in BAD_LABELS]
    calls += [(lambda: wait_for_approval("q", 7), "TypeError", "^prompt")]  # type: ignore[arg-type]
    flows.CASES.update({f"input {n}": call for n, (call, _, _) in enumerate(calls)})
    async with bench.worker():
        handles = [await bench.durable.start(flows.probe, f"input {n}") for n in range(len(calls))]
        for handle, (_, kind, words) in zip(handles, calls, strict=True):
            found, said = (await handle.result(timeout=30))[:2]
            assert found == kind, (words, said)
            with pytest.raises(ValueError, match=words):
                raise ValueError(said)
            assert "input_asked" not in [e.kind for e in await bench.durable.history(handle.id)]
        await bench.alive()


async def test_more_than_a_thousand_questions_at_once(bench: Bench) -> None:
    async def ask() -> str:
        tasks = [asyncio.create_task(wait_for_input(f"q{n}")) for n in range(1_001)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return str(done.pop().exception())

    flows.CASES["thousand"] = ask
    async with bench.worker():
        handle = await bench.durable.start(flows.probe, "thousand")
        assert "asks 1000 questions already" in (await handle.result(timeout=30))[1]
        assert not bench.server.exists(bench.keys.inputs, bench.keys.questions)


@pytest.mark.parametrize(("value", "words"), BAD_IDS, ids=labels(BAD_IDS))
async def test_ids(bench: Bench, value: Any, words: str) -> None:
    await refused(bench, lambda d: d.provide_input(value, "q", 1), ValueError, words)
    if value is not None:
        await refused(bench, lambda d: d.pending_inputs(value), ValueError, f"^run.*{words}")


@pytest.mark.parametrize(("value", "words"), BAD_LABELS, ids=labels(BAD_LABELS))
async def test_names(bench: Bench, value: Any, words: str) -> None:
    await refused(bench, lambda d: d.provide_input("r", value, 1), ValueError, f"^input name.*{words}")
    if value is not None:
        await refused(bench, lambda d: d.pending_inputs(name=value), ValueError, f"^input name.*{words}")


@pytest.mark.parametrize("limit", [0, -1, 1_001, True, 1.5, "5", None])
async def test_limits(bench: Bench, limit: Any) -> None:
    await refused(bench, lambda d: d.pending_inputs(limit=limit), ValueError, "^limit must be a number from 1 to 1000")


async def open_question(bench: Bench) -> str:
    flows.CASES["asks"] = lambda: wait_for_input("q")
    handle = await bench.durable.start(flows.probe, "asks", id="r")
    await bench.until_status("r", "parked")
    return handle.id


async def test_answers_that_cannot_be_stored_leave_it_open(bench: Bench) -> None:
    async with bench.worker():
        await open_question(bench)
        (asked,) = await bench.durable.pending_inputs()
        for value in UNSTORABLE.values():
            with pytest.raises(NotSerializable, match="value"):
                await bench.durable.provide_input("r", "q", value)
        with pytest.raises(PayloadTooLarge, match="value"):
            await bench.durable.provide_input("r", "q", "x" * 2_000_000)
        assert await bench.durable.pending_inputs() == [asked]
        await bench.durable.provide_input("r", "q", "x")
        assert await bench.durable.run("r").result(timeout=30) == ["", "'x'"]


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\n",
        b"junk",
        b"1 2\nx",
        b"1 2 -\n",
        b"1 2 -\n\xff",
        b"1 -5 -\nx",
        b"1 2 " + b"9" * 5_000 + b"\nx",
        b"\xff\n",
    ],
    ids=str,
)
async def test_a_damaged_question_is_left_out_and_its_run_can_be_ended(bench: Bench, stored: bytes) -> None:
    async with bench.worker():
        await open_question(bench)
        bench.server.hset(bench.keys.questions, "r\nq", stored)
        assert await bench.durable.pending_inputs() == []
        with pytest.raises(CorruptPayload, match=r"question|decoded"):
            await bench.durable.provide_input("r", "q", "x")
        assert await bench.durable.cancel("r")
        assert (await bench.outcome("r")).status == "cancelled"
        await bench.alive()


async def test_what_nobody_asks_is_neither_listed_nor_answered(bench: Bench) -> None:
    bench.server.zadd(bench.keys.inputs, {"gone\nq": 1, b"\xff\xfe": 2, "r": 3, "": 4})
    bench.server.hset(bench.keys.questions, "gone\nq", b"1 2 -\nx")
    assert await bench.durable.pending_inputs() == []
    async with bench.worker():
        handle = await bench.durable.start(flows.nothing)
        await handle.result(timeout=30)
        bench.server.zadd(bench.keys.inputs, {f"{handle.id}\nq": 1})
        bench.server.hset(bench.keys.questions, f"{handle.id}\nq", b"1 2 -\nx")
        assert await bench.durable.pending_inputs() == []
        with pytest.raises((RunNotWaiting, CorruptPayload)):
            await bench.durable.provide_input(handle.id, "q", "x")


@pytest.mark.parametrize("raw", [b"\xff", b"\xc1", b"q", b"\x81\xa1a\x01"])
async def test_a_damaged_list_of_a_runs_questions(bench: Bench, raw: bytes) -> None:
    async with bench.worker():
        await open_question(bench)
        bench.server.hset(bench.keys.run("r"), "inputs", raw)
        with pytest.raises(CorruptPayload, match="run r is damaged"):
            await bench.durable.pending_inputs("r")
        assert [p.name for p in await bench.durable.pending_inputs()] == ["q"]
        await bench.durable.provide_input("r", "q", "x")
        assert await bench.durable.run("r").result(timeout=30) == ["", "'x'"]


ASKED = [record(Kind.INPUT, 1_700_000_000_000, "input:go#1", "go", "text")]


@pytest.mark.parametrize(
    "message",
    [b"I", b"I\x93", b"I\x93\xa1a\xa1a\xc0", b"I\x93\x01\xa1a\xc4\x00", b"I\x93\xa1a\xa1z\xc4\x00", b"I\x92\xa1a\xa1a"],
)
async def test_a_damaged_answer_in_the_inbox_blocks_its_run_alone(bench: Bench, message: bytes) -> None:
    bench.forge("r", inbox=[b"M1 1700000000000 " + message])
    async with bench.worker():
        await bench.until_status("r", "blocked")
        assert "data: " in str((await bench.durable.get("r")).waiting_for)
        await bench.alive()
        await bench.durable.cancel("r")


async def test_a_question_in_the_journal_that_the_code_does_not_ask(bench: Bench) -> None:
    bench.forge("r", ASKED)
    async with bench.worker():
        await bench.until_status("r", "blocked")
        assert "input:go#1" in str((await bench.durable.get("r")).waiting_for)
        await bench.alive()
        await bench.durable.cancel("r")
