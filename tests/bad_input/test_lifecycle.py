"""A `Durable` used too early, too late, in another loop, in another process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durable_async import Durable, StoreUnavailable

from . import flows
from .bench import Bench

CALLS: dict[str, Callable[[Durable], Any]] = {
    "start": lambda d: d.start(flows.nothing), "get": lambda d: d.get("r"), "list": lambda d: d.list(),
    "children": lambda d: d.list_children("r"), "tree": lambda d: d.tree("r"), "history": lambda d: d.history("r"),
    "cancel": lambda d: d.cancel("r"), "terminate": lambda d: d.terminate("r"),
    "event": lambda d: d.send_event("r", "go"), "result": lambda d: d.run("r").result(),
    "info": lambda d: d.run("r").info(),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
async def test_before_and_after(bench: Bench, name: str) -> None:
    durable = bench.open()
    before = bench.snapshot()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="async with"):
            await CALLS[name](durable)
        async with durable:
            pass
    assert bench.snapshot() == before


async def test_a_wait_when_the_client_closes(bench: Bench) -> None:
    durable = bench.open()
    async with durable:
        handle = await durable.start(flows.waits)
        waiting = asyncio.create_task(handle.result())
        await bench.until(lambda: handle._waiter is not None and handle._waiter.is_awaited, "it waits")
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting


async def test_entered_twice_closes_with_the_last(bench: Bench) -> None:
    durable = bench.open()
    async with durable:
        async with durable:
            await durable.start(flows.nothing, id="r")
        assert (await durable.get("r")).id == "r"
    with pytest.raises(StoreUnavailable):
        await durable.get("r")


async def test_left_more_often_than_entered(bench: Bench) -> None:
    durable = bench.open()
    async with durable:
        pass
    await durable.__aexit__(None, None, None)
    async with durable:
        await durable.start(flows.nothing, id="r")


async def test_in_two_loops(bench: Bench) -> None:
    said: list[str] = []

    async def use() -> None:
        for call in (*CALLS.values(), lambda d: d.__aenter__()):
            with pytest.raises(StoreUnavailable, match="loop") as caught:
                await call(bench.durable)
            said.append(str(caught.value))

    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(said) == len(CALLS) + 1
    await bench.durable.start(flows.nothing)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_after_a_fork(bench: Bench) -> None:
    """The child does not use its parent's connection, nor close what is the parent's on the server."""
    await bench.durable.start(flows.nothing, id="r")
    before, reading, writing = bench.snapshot(), *os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            call = bench.durable.get("r")
            call.send(None)
            os.write(writing, b"no error")
        except BaseException as error:  # the parent judges
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    said = os.read(reading, 10_000).decode()
    os.close(reading)
    assert status == 0 and said.startswith("StoreUnavailable") and "fork" in said
    assert bench.snapshot() == before
    assert (await bench.durable.get("r")).id == "r"
