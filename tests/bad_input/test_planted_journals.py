"""Journals, inboxes and records that no code of ours wrote: the run is blocked, once, and the others go on."""

from __future__ import annotations

import pickle
from typing import Any

import msgpack
import pytest

from durable_async import CorruptPayload, DurableError, RunFailed
from durable_async.codec.lines import pack_line
from durable_async.engine.records import record

from .bench import Bench

T = 1_700_000_000_000
PICKLE = pickle.dumps({"a": 1})
YAML = b"!!python/object/apply:os.system ['true']"
GOOD_TICK = record("tick", T + 1, "")
NEVER: tuple[bytes, ...] = (
    b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdc", b"\x80\x04", PICKLE, YAML, b'{"a":1}', b"\xc7\x05\x05hello",
    b"\xd4\xff", b"\xa2\xff\xfe", b"\x81\x90\x01", b"\x91" * 100_000, b"\x93\x01", GOOD_TICK[1:] + b"\0",
    b"x" * 1_000_000,
)  # fmt: skip

LINES: dict[str, bytes] = {
    **{f"record {n}": b"R" + junk for n, junk in enumerate(NEVER)},
    **{f"message {n}": b"M" + junk for n, junk in enumerate(NEVER)},
    **{f"line {n}": junk for n, junk in enumerate(NEVER)},
    "second start": b"S", "early end": b"Z1 completed\n", "other letter": b"Q123",
    "short": b"R" + pack_line(["tick", T]), "kind": b"R" + pack_line([5, T, ""]),
    "time text": b"R" + pack_line(["tick", "5", ""]), "time bool": b"R" + pack_line(["tick", True, ""]),
    "time negative": b"R" + pack_line(["tick", -1, ""]), "time large": b"R" + pack_line(["tick", 2**63, ""]),
    "time late": b"R" + pack_line(["tick", 2**53 - 1, ""]), "identity list": b"R" + pack_line(["step", T, [1]]),
    "unknown kind": record("novel", T, "novel:1"), "no such step": record("step", T, "step:x#1", 1, 5, 1, b"\xc0"),
    "step short": record("step", T, "step:x#1"), "step text": record("step", T, "step:x#1", "1", 5, 1, b"\xc0"),
    "step payload": record("step", T, "step:x#1", 1, 5, 1, "text"),
    "attempt": record("attempt", T, "step:x#1", 1, 5, "soon", b""),
    "attempt late": record("attempt", T, "step:x#1", 1, 5, 2**53 - 1, b""),
    "no such child": record("child", T, "child:x", "r/x", "w", b"d", 1),
    "context": record("context", T, "context:k#1", "k", b"\xc0"),
    "saga": record("saga", T, "saga", "failed", b"\xc0"), "saga short": record("saga", T, "saga", "failed"),
    "saga of bytes": record("saga", T, "saga", b"failed", b""), "cut": record("cut", T, ""),
    "undo": record("undo_failed", T, "undo_failed:x#1", b"\xc0"),
    "undone step": record("step", T, "undo:x#1", 1, 5, 1, b"\xc0"),
    "launch": record("launch", T, "launch:step:x#1#1", 5, 1),
    "launch text": record("launch", T, "launch", "step:x#1", "1"),
    "spawn": record("spawn", T, "spawn:x", "other/x", "x", "w", b"d", 1, "leave", 1, ""),
    "spawn policy": record("spawn", T, "spawn:x", "r0/x", "x", "w", b"d", 1, "kill", 1, ""),
    "spawn short": record("spawn", T, "spawn:x", "r0/x", "x", "w", b"d"),
    "join": record("join", T, "join:x", "r0/x"), "drop": record("drop", T, "drop:x", "r0/x", "why", 1),
    "no such child ended": b"M1 1700000000000 Ccr/x\n\xc0",
    "message number": b"M-1 1700000000000 Xwhy", "message zero": b"M0 1700000000000 Xwhy",
    "message gap": b"M99999999999999999999 1700000000000 Xwhy", "message time": b"M1 99999999999999999 Xwhy",
    "message kind": b"M1 1700000000000 ?x", "message letter": b"M1 1700000000000 Cqr/x\n",
    "reason bytes": b"M1 1700000000000 X\xff\xfe", "event line": b"M1 1700000000000 E" + pack_line(["go"]),
    "event name": b"M1 1700000000000 E" + pack_line([5, b"x"]),
    "event payload": b"M1 1700000000000 E" + pack_line(["go", b"\xc1"]),
    "event pickle": b"M1 1700000000000 E" + pack_line(["go", PICKLE]),
    "event bomb": b"M1 1700000000000 E" + pack_line(["go", b"\xdd\xff\xff\xff\xff"]),
}  # fmt: skip


def chunks(names: list[str], n: int) -> list[list[str]]:
    return [names[at::n] for at in range(n)]


async def blocked(bench: Bench, ids: list[str]) -> None:
    """These runs come to rest blocked, said once each; the worker lives; a cancel ends them."""
    async with bench.worker(concurrency=3) as worker:
        for id in ids:
            await bench.until_status(id, "blocked")
            assert bench.field(id, "waiting").startswith(("data: ", "code: ")), bench.field(id, "waiting")
            assert len(bench.errors(f"run {id} ")) == 1
        await bench.alive()
        assert worker.runner.intake.slots.active == 0
        assert not bench.errors("the engine raised")


@pytest.mark.parametrize("names", chunks(list(LINES), 4), ids=range(4))
async def test_journal_lines(bench: Bench, names: list[str]) -> None:
    ids = {f"r{n}": name for n, name in enumerate(names)}
    for id, name in ids.items():
        bench.forge(id, [GOOD_TICK, LINES[name]])
    await blocked(bench, list(ids))
    for id in ids:
        # People can look at them, or are told what is wrong.
        assert (await bench.durable.get(id)).status == "waiting"
        try:
            await bench.durable.history(id)
        except CorruptPayload as error:
            assert len(str(error)) < 300  # noqa: PT017
    assert len((await bench.durable.list()).items) >= len(ids)


@pytest.mark.parametrize("n", range(4))
async def test_inbox_messages(bench: Bench, n: int) -> None:
    names = [name for name in LINES if LINES[name][:1] == b"M" and name != "no such child ended"]
    ids = {f"r{at}": name for at, name in enumerate(chunks(names, 4)[n])}
    for id, name in ids.items():
        bench.forge(id, inbox=[LINES[name]])
    await blocked(bench, list(ids))
    for id in ids:
        assert bench.server.llen(bench.keys.inbox(id)) == 1


async def test_journals_that_do_not_begin(bench: Bench) -> None:
    for n, lines in enumerate([[], [b""], [GOOD_TICK], [b"Z1 completed\n"], [PICKLE]]):
        bench.forge(f"r{n}")
        bench.server.delete(bench.keys.journal(f"r{n}"))
        if lines:
            bench.server.rpush(bench.keys.journal(f"r{n}"), *lines)
    await blocked(bench, [f"r{n}" for n in range(5)])


@pytest.mark.parametrize("junk", NEVER[1:8], ids=range(7))
async def test_inputs(bench: Bench, junk: bytes) -> None:
    bench.forge("r", workflow="takes_int")
    bench.server.lset(bench.keys.journal("r"), 0, b"S" + junk)
    await blocked(bench, ["r"])
    with pytest.raises(CorruptPayload, match="run r is damaged"):
        await bench.durable.get("r")
    listed = await bench.durable.list()
    assert "r" not in [run.id for run in listed.items] and listed.items
    assert await bench.durable.terminate("r", "hopeless")


OUTCOMES = [b"", b"Z", b"Z1", b"Z1 bogus\n", b"Zx completed\n", b"Z-5 completed\n",
    b"Z99999999999999999 completed\n\xc0",
            b"Z1 completed\n\xc1", b"Z1 completed\n" + PICKLE, b"Z1 failed\n", b"Z1 failed\n\x90", b"Z1 failed\n\xc0",
            b"Z1 failed\n\x91\x91\x05", b"Z1 failed\n" + msgpack.packb([["T", "m", "t", 5]])]  # fmt: skip


@pytest.mark.parametrize("line", OUTCOMES, ids=range(len(OUTCOMES)))
async def test_outcomes(bench: Bench, line: bytes) -> None:
    status = "failed" if b"failed" in line else "completed"
    bench.forge("r", [line], status=status, entry="")
    for ask in (bench.durable.run("r").result(timeout=30), bench.durable.get("r")):
        with pytest.raises(CorruptPayload) as caught:  # noqa: PT012
            await ask
            raise CorruptPayload("an unreadable last line is no outcome: r")
        assert len(str(caught.value)) < 300


async def test_a_childs_outcome(bench: Bench) -> None:
    """What a child's message holds is read when the parent is shown it: the parent is blocked, not failed."""
    body = {0: b"Cc%s\n\xc1", 1: b"Cf%s\n\x90", 2: b"Cf%s\n" + PICKLE, 3: b"Cc%s\n"}
    async with bench.worker(queues=["default"]):
        for n in body:
            await bench.durable.start("calls", id=f"p{n}")
            await bench.until_status(f"p{n}", "parked")
    for n, message in body.items():
        bench.server.rpush(bench.keys.inbox(f"p{n}"), b"M1 1700000000000 " + message.replace(b"%s", b"p%d/kid" % n))
        entry: Any = bench.server.xadd(bench.keys.queue("default"), {"r": f"p{n}"})
        bench.server.hset(bench.keys.run(f"p{n}"), mapping={"mail": 1, "status": "ready", "entry": b"Q" + entry})
    await blocked(bench, [f"p{n}" for n in body])


async def test_a_workflow_that_nobody_knows(bench: Bench) -> None:
    bench.forge("unknown", workflow="nobody knows it \ud7ff")
    async with bench.worker():
        await bench.until(lambda: bench.field("unknown", "status") == "delayed", "it is handed back")
        await bench.alive()


FIELDS: list[dict[str, Any]] = [
    {"depth": "x"}, {"created": "soon"}, {"created": "9" * 30}, {"started": "-5"}, {"attempt": "1.5"},
    {"workflow": b"\xff"}, {"parent": b"\xff\xfe"}, {"queue": b"\xff"}, {"version": b"\xff"}, {"retention": "x"},
    {"epoch": str(2**53)}, {"epoch": str(2**53 + 1)}, {"epoch": "1e300"}, {"epoch": "inf"}, {"epoch": "nan"},
    {"epoch": "-1"}, {"epoch": "1.5"},
]  # fmt: skip


async def test_records_that_cannot_be_read(bench: Bench) -> None:
    # What only a child has is not read of a root.
    ids = [f"r{n}/c" if fields.keys() & {"depth", "parent"} else f"r{n}" for n, fields in enumerate(FIELDS)]
    for id, fields in zip(ids, FIELDS, strict=True):
        bench.forge(id, **fields)
    async with bench.worker(concurrency=2) as worker:
        for id, fields in zip(ids, FIELDS, strict=True):
            await bench.until_status(id, "delayed")
            assert bench.field(id, "waiting").startswith("data: "), fields
            assert len(bench.errors(f"run {id} ")) == 1
        await bench.alive()
        assert worker.runner.intake.slots.active == 0
        for id in ids:
            try:
                await bench.durable.get(id)
            except CorruptPayload as error:
                assert f"run {id} " in str(error)  # noqa: PT017
        assert (await bench.durable.list()).items


async def test_records_that_can_be_made_sense_of(bench: Bench) -> None:
    given: list[dict[str, Any]] = [
        {"epoch": "x"}, {"epoch": ""}, {"seq": "-7"}, {"claims": "x"}, {"mail": "x"}, {"taken": "-3"},
        {"mail": "5"}, {"mail": "1", "cancel_at": "1"}, {"kids": "x"},
        {"nonce": b"\xff"}, {"owner": b"\xff"}, {"unheard": "of"}, {"parent": "nobody", "notify": "1"},
        {"parent": "nobody", "notify": "1", "pqueue": "", "hint": "gone"}, {"client": "nobody no-one"},
    ]  # fmt: skip
    for n, fields in enumerate(given):
        bench.forge(f"r{n}", **{"workflow": "nothing", **fields})
    bench.forge("me", workflow="nothing", parent="me", notify="1")
    async with bench.worker():
        for id in ["me", *(f"r{n}" for n in range(len(given)))]:
            assert (await bench.outcome(id)).status == "completed", id
        await bench.alive()


async def test_statuses_that_are_none(bench: Bench) -> None:
    """Nobody takes such a run: its entry is garbage; asking for it says so."""
    for n, fields in enumerate([{"status": "bogus"}, {"status": b"\xff"}, {"status": ""}, {"status": "completed"}]):
        bench.forge(f"r{n}", **fields)
    async with bench.worker():
        await bench.alive()
        await bench.until(lambda: bench.server.xlen(bench.keys.queue("default")) == 0, "entries are acked")
        for n in range(3):
            with pytest.raises(CorruptPayload, match=f"run r{n} "):
                await bench.durable.get(f"r{n}")
        assert len(bench.errors("r0")) == 0


async def test_children_that_are_their_own(bench: Bench) -> None:
    bench.forge("p")
    bench.server.zadd(bench.keys.children("p"), {"p": 1, "p/none": 2, b"\xff": 3})
    tree = await bench.durable.tree("p")
    assert tree.run.id == "p" and tree.children == ()
    async with bench.worker():
        await bench.until_status("p", "parked")
        assert await bench.durable.cancel("p")
        assert (await bench.outcome("p")).status == "cancelled"
        await bench.until(lambda: bench.server.hlen(bench.keys.walks) == 0, "walks end")
        await bench.alive()


@pytest.mark.parametrize("kind", ["journal", "inbox", "run"])
async def test_keys_of_a_wrong_type(bench: Bench, kind: str) -> None:
    """The run is put off or, without a record, forgotten; whoever asks gets a typed error."""
    bench.forge("r", mail=1)
    key = getattr(bench.keys, kind)("r")
    bench.server.delete(key)
    bench.server.set(key, "S3CR3T")
    async with bench.worker(concurrency=1) as worker:
        if kind == "run":
            await bench.until(lambda: bench.server.xlen(bench.keys.queue("default")) == 0, "the entry is acked")
        else:
            await bench.until_status("r", "delayed")
        await bench.alive()
        assert worker.runner.intake.slots.active == 0
        for ask in (bench.durable.get, bench.durable.history, bench.durable.cancel, bench.durable.list_children):
            try:
                await ask("r")
            except DurableError as error:
                assert "S3CR3T" not in str(error)  # noqa: PT017
        with pytest.raises((DurableError, TimeoutError)):
            await bench.durable.run("r").result(timeout=0)
    assert bench.server.get(key) == b"S3CR3T" or kind == "inbox"


async def test_a_failed_runs_error_is_one(bench: Bench) -> None:
    bench.forge("r", [b"Z1 failed\n" + pack_line(["CrashLoop", "m", "", None])], status="failed", entry="")
    with pytest.raises(RunFailed, match="m"):
        await bench.durable.run("r").result(timeout=30)
