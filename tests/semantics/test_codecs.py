"""What stands in the store under a codec, rotations while runs are alive, and readers that have another codec."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis

from durable_async import (
    Codec,
    CorruptPayload,
    Durable,
    Encrypted,
    Limits,
    MsgpackCodec,
    PayloadTooLarge,
    RunFailed,
    RunNotFound,
    Status,
    WorkflowIdConflict,
    Zstd,
)

from . import flows_codecs as flows
from .codecs import KEYS, make_codec
from .harness import World

FLOWS = [flows]
SECRET = f"S3CR3T-{uuid.uuid4()}"


def client(world: World, codec: Codec, **options: Any) -> Durable:
    return Durable(world.url, workflows=FLOWS, namespace=world.namespace, codec=codec, **options)


@asynccontextmanager
async def worker(world: World, codec: Codec) -> AsyncIterator[None]:
    """One with this codec, in this process."""
    durable = client(world, codec)
    async with durable, durable.worker(**world._options(("default",), None, None)):
        yield


async def until_waiting_for(world: World, durable: Durable, id: str, what: str) -> None:
    async def waits() -> bool:
        with suppress(RunNotFound):
            return what in ((await durable.get(id)).waiting_for or "")
        return False

    await world.until(waits, f"run {id} waits for {what}")


def everything_in(world: World) -> bytes:
    """The whole namespace, as bytes."""
    server = redis.Redis.from_url(world.admin_url)
    try:
        found = []
        for key in sorted(server.scan_iter(world.keys.base + "*")):
            kind = server.type(key)
            value: Any
            if kind == b"hash":
                value = server.hgetall(key)
            elif kind == b"list":
                value = server.lrange(key, 0, -1)
            elif kind == b"zset":
                value = server.zrange(key, 0, -1)
            elif kind == b"stream":
                value = server.xrange(key)
            else:
                value = server.get(key)
            found.append(f"{key!r}: {value!r}".encode())
        return b"\n".join(found)
    finally:
        server.close()


@pytest.mark.parametrize("how", ["return", "fail"])
async def test_nothing_of_a_user_is_readable_in_the_store(world: World, how: str) -> None:
    """Inputs, outputs, results, events, context; messages, arguments, tracebacks and causes of exceptions."""
    codec = make_codec("new", "old")
    async with client(world, codec) as durable:
        handle = await durable.start(flows.everything, SECRET, id="r")
        assert SECRET.encode() not in everything_in(world)
        async with worker(world, codec):
            await until_waiting_for(world, durable, "r", "event")
            assert SECRET.encode() not in everything_in(world)
            await handle.send_event("go", how)
            if how == "fail":
                with pytest.raises(RunFailed, match=SECRET) as failed:
                    await world.result(handle)
                assert SECRET in failed.value.error.message
            else:
                seen = await world.result(handle)
                assert seen["child"] == seen["child error"] == SECRET
                assert SECRET in seen["step error"][0] and seen["step error"][1]
                assert seen["context"] == {"secret": SECRET}
        stored = everything_in(world)
        assert SECRET.encode() not in stored and SECRET[:12].encode() not in stored
        # What the system itself works with stays readable.
        for name in (b"everything", b"r/good", b"r/bad", b"state", b"go", b"says"):
            assert name in stored
        run = await durable.get("r")
        assert run.input == SECRET and run.context["late"]["set"] == {SECRET, SECRET * 2}
        history = await durable.history("r")
        errors = [e.error for e in history if e.error is not None]
        assert len(errors) == (4 if how == "fail" else 3)
        assert all(SECRET in error.message for error in errors)


async def test_keys_are_rotated_while_runs_are_alive(world: World) -> None:
    """A parent and its child go on under a worker that encrypts with another key; what has completed is kept."""
    before, after = Encrypted({"old": KEYS["old"]}), make_codec("new", "old")
    given = {"ledger": world.ledger.path}
    async with client(world, before) as durable, worker(world, before):
        await durable.start(flows.trunk, given, id="r")
        await until_waiting_for(world, durable, "r/branch", "event")
    # Another process: each await so far is a replay, whose calls are encoded anew.
    async with client(world, after) as durable, worker(world, after):
        handle = await durable.start(flows.trunk, given, id="r")
        with pytest.raises(WorkflowIdConflict):
            await durable.start(flows.trunk, {**given, "other": 1}, id="r")
        await durable.send_event("r/branch", "fail")
        assert await world.result(handle) == 7
        assert (await durable.get("r/branch")).attempt == 2
        assert (await durable.get("r/branch")).context == {"attempt": 2}
    world.assert_ran("leaf")


async def test_a_worker_with_another_codec_blocks_the_run_and_does_not_fail_it(world: World) -> None:
    codec = make_codec("new")
    others: list[tuple[Codec, str]] = [
        (MsgpackCodec(), "has no keys"),
        (Encrypted({"old": KEYS["old"]}), "key 'new'"),
        (Encrypted({"new": KEYS["old"]}), "does not fit key 'new'"),
    ]
    async with client(world, codec) as durable:
        for n, (other, text) in enumerate(others):
            handle = await durable.start(flows.echo, SECRET, id=f"r{n}")
            async with worker(world, other):
                await until_waiting_for(world, durable, f"r{n}", "data: input")
            run = await handle.info()
            assert run.status is Status.WAITING and text in (run.waiting_for or "")
            async with client(world, other) as stranger:
                for ask in (stranger.get, stranger.tree):
                    with pytest.raises(CorruptPayload, match=text) as caught:
                        await ask(f"r{n}")
                    assert SECRET not in str(caught.value)
            # It goes on where it can be read.
            async with worker(world, codec):
                assert await world.result(handle) == SECRET


async def test_sizes_are_of_the_encoded_value(world: World) -> None:
    limits = Limits(payload=20_000)
    for codec in (Zstd(), make_codec("new")):
        async with client(world, codec, limits=limits) as durable:
            with pytest.raises(PayloadTooLarge, match="input"):
                await durable.start(flows.echo, "x" * 20_001)


async def test_a_large_payload_is_read_back(world: World) -> None:
    """Also by a client, whose limits say how large they may be."""
    limits = Limits(payload=6_000_000)
    durable = client(world, MsgpackCodec(), limits=limits)
    async with durable, durable.worker(**world._options(("default",), None, None)):
        handle = await durable.start(flows.echo, "x" * 5_000_000, id="r")
        assert len(await world.result(handle)) == 5_000_000
        assert len((await durable.get("r")).output) == 5_000_000
