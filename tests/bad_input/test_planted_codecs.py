"""E72 and the like: values planted in a store whose values are compressed and encrypted. Blocked, named, never read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_async import Codec, CorruptPayload, CustomType, Durable, Encrypted, MsgpackCodec, Zstd
from durable_async.codec.lines import pack_line
from durable_async.codec.zstd import _library
from durable_async.engine.records import record

from . import flows
from .bench import PATIENCE_S, Bench

LIMIT = 1 << 20
KEY, OTHER = b"k" * 32, b"o" * 32
SECRET = "S3CR3T-planted"
T = 1_700_000_000_000
PLAIN = MsgpackCodec()
ENCRYPTED = Encrypted(Zstd(min_size=0), {"k": KEY})
SEALED = ENCRYPTED.encode(SECRET * 20, limit=LIMIT)
BOMB = b"\xc1z" + _library().compress(bytes(1 << 30))


class _Bomb(MsgpackCodec):
    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        return BOMB


class Thing:
    pass


THING = CustomType(Thing, to=lambda thing: SECRET, of=lambda data: Thing())
PLANTED: dict[str, tuple[bytes, str]] = {
    "plain": (PLAIN.encode(SECRET, limit=LIMIT), "is not encrypted"),
    "compressed only": (Zstd(min_size=0).encode(SECRET * 20, limit=LIMIT), "is compressed"),
    "bomb": (BOMB, "is compressed"),
    "bomb inside": (Encrypted(_Bomb(), {"k": KEY}).encode(None, limit=LIMIT), "would inflate to 1073741824"),
    "key of another name": (Encrypted({"x": KEY}).encode(SECRET, limit=LIMIT), "with key 'x'"),
    "another key": (Encrypted({"k": OTHER}).encode(SECRET, limit=LIMIT), "does not fit key 'k'"),
    "another context": (Encrypted({"k": KEY}, context=b"x").encode(SECRET, limit=LIMIT), "does not fit key 'k'"),
    "cut off": (SEALED[:-1], "does not fit key 'k'"),
    "cut to its head": (SEALED[:20], "cut off"),
    "altered": (SEALED[:-20] + bytes([SEALED[-20] ^ 1]) + SEALED[-19:], "does not fit key 'k'"),
    "newer version": (SEALED[:2] + b"\x09" + SEALED[3:], "version 9"),
    "unknown type": (
        Encrypted(MsgpackCodec([THING]), {"k": KEY}).encode(Thing(), limit=LIMIT),
        "'Thing' is not registered",
    ),
    "pickle": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.", "is not encrypted"),
}
planted = pytest.mark.parametrize(("junk", "text"), PLANTED.values(), ids=PLANTED)


@asynccontextmanager
async def opened(bench: Bench, codec: Codec) -> AsyncIterator[Durable]:
    """A client and a worker with this codec."""
    durable = bench.open(codec=codec)
    async with durable, durable.worker(drain_timeout=5.0):
        yield durable


async def alive(durable: Durable) -> None:
    handle = await durable.start(flows.healthy, 20)
    assert await handle.result(timeout=PATIENCE_S) == 42


@planted
async def test_in_each_place_where_a_value_is(bench: Bench, junk: bytes, text: str) -> None:
    """Input, event (in the inbox, in the journal), result and failure of a step."""
    places: dict[str, dict[str, Any]] = {
        "event": {"inbox": [b"M1 %d E" % T + pack_line(["go", junk])]},
        "seen": {"lines": [b"M1 %d E" % T + pack_line(["go", junk])]},
        "result": {"lines": [record("step", T, "step:add_one#1", 1, 1, 1, junk)], "workflow": "healthy"},
        "failure": {"lines": [record("step", T, "step:add_one#1", 1, 1, 0, junk)], "workflow": "healthy"},
    }
    for id, place in places.items():
        bench.forge(id, **place)
        if "workflow" in place:
            bench.server.lset(bench.keys.journal(id), 0, b"S" + ENCRYPTED.encode(20, limit=LIMIT))
    bench.forge("input", workflow="echo")
    bench.server.lset(bench.keys.journal("input"), 0, b"S" + junk)
    async with opened(bench, ENCRYPTED) as durable:
        for id in [*places, "input"]:
            await bench.until_status(id, "blocked")
            assert text in bench.field(id, "waiting")
            assert SECRET not in bench.field(id, "waiting")
        with pytest.raises(CorruptPayload, match=text):
            await durable.get("input")
        await alive(durable)


@planted
@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_as_an_outcome(bench: Bench, junk: bytes, text: str, status: str) -> None:
    bench.forge("r", [b"Z1 %s\n" % status.encode() + junk], status=status, entry="")
    bench.server.delete(bench.keys.queue("default"))
    async with bench.open(codec=ENCRYPTED) as durable:
        for ask in (durable.run("r").result, lambda: durable.get("r")):
            with pytest.raises(CorruptPayload, match=text) as caught:
                await ask()
            assert SECRET not in str(caught.value)


async def test_a_compressed_store_and_a_bomb(bench: Bench) -> None:
    """Nothing is inflated, at a client or in a worker."""
    bench.forge("r", workflow="echo")
    bench.server.lset(bench.keys.journal("r"), 0, b"S" + BOMB)
    async with opened(bench, Zstd()) as durable:
        await bench.until_status("r", "blocked")
        assert "would inflate to 1073741824 bytes" in bench.field("r", "waiting")
        with pytest.raises(CorruptPayload, match="would inflate"):
            await durable.get("r")
        await alive(durable)


async def test_what_encryption_does_not_prevent(bench: Bench) -> None:
    """A value of one run put into another one is read: as docs/payloads.md says."""
    async with opened(bench, ENCRYPTED) as durable:
        first = await durable.start(flows.echo, "first", id="a")
        second = await durable.start(flows.echo, "second", id="b")
        assert [await first.result(timeout=PATIENCE_S), await second.result(timeout=PATIENCE_S)] == ["first", "second"]
        outcome: Any = bench.server.lindex(bench.keys.journal("a"), -1)
        bench.server.lset(bench.keys.journal("b"), -1, outcome)
        async with asyncio.timeout(PATIENCE_S), bench.open(codec=ENCRYPTED) as other:
            assert await other.run("b").result() == "first"
