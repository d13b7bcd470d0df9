"""Progress that is none, and a stored one that is damaged."""

from __future__ import annotations

import math
from typing import Any

import pytest

from durable_async import CorruptPayload, progress
from durable_async.engine.records import Kind, record

from . import flows
from .bench import Bench

BAD: list[tuple[tuple[Any, ...], str, str]] = [
    *(((n,), "TypeError", "^done must be a number") for n in ("1", None, b"1", True, [1], 1j)),
    *(((n,), "ValueError", "^done must be a finite number") for n in (-1, -0.1, math.nan, math.inf, 2**63, 10**5_000)),
    *(((1, n), "TypeError", "^total must be a number") for n in ("1", False, [])),
    *(((1, n), "ValueError", "^total must be a finite number") for n in (-1, math.nan, -math.inf)),
    *(((1, 2, m), "TypeError", "^message must be a str") for m in (None, 7, b"x")),
    ((1, 2, "a\ud800"), "NotSerializable", "^progress"),
    ((1, 2, "x" * 2_000_000), "PayloadTooLarge", "^progress"),
]


async def test_wrong_calls(bench: Bench) -> None:
    def caller(args: tuple[Any, ...]) -> Any:
        async def call() -> None:
            progress(*args)

        return call

    flows.CASES.update({f"progress {n}": caller(args) for n, (args, _, _) in enumerate(BAD)})
    async with bench.worker():
        handles = [await bench.durable.start(flows.probe, f"progress {n}") for n in range(len(BAD))]
        for handle, (args, kind, words) in zip(handles, BAD, strict=True):
            found, said = (await handle.result(timeout=30))[:2]
            assert found == kind, (args, said)
            with pytest.raises(ValueError, match=words):
                raise ValueError(said)
            assert (await handle.info()).progress is None
        await bench.alive()


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\x90", b"\x93\x01\x02\x03", b"\x93\xa1a\x02\xa1a", b"\x92\x01\x02", b"\x01"]
)
async def test_a_damaged_one_is_said_and_spoils_no_list(bench: Bench, raw: bytes) -> None:
    await bench.durable.start(flows.nothing, id="good")
    await bench.durable.start(flows.nothing, id="bad")
    bench.server.hset(bench.keys.run("bad"), "progress", raw)
    with pytest.raises(CorruptPayload, match="run bad is damaged"):
        await bench.durable.get("bad")
    assert [r.id for r in (await bench.durable.list()).items] == ["good"]
    async with bench.worker():
        await bench.durable.run("bad").result(timeout=30)


async def test_what_is_said_may_change_with_the_code(bench: Bench) -> None:
    """Records of calls that are not there any more, or say something else, block no run."""
    said = bench.durable.codec.encode([1, 2, "as it was"], limit=100)
    lines = [record(Kind.PROGRESS, 1_700_000_000_000, f"progress#{n}", said) for n in (1, 2)]
    bench.forge("r", lines)
    async with bench.worker():
        await bench.until_status("r", "parked")
        await bench.durable.send_event("r", "go")
        await bench.durable.run("r").result(timeout=30)
