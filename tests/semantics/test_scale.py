"""O16, O17, O22: many children, few slots."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest

from durable_async import Status
from durable_async.server.ephemeral import EphemeralServer

from . import flows_scale as flows
from .harness import IS_CROWD, World

FLOWS = [flows]
MANY = 10_000
PATIENCE_S = 150.0


@pytest.mark.slow
async def test_o16_ten_thousand_children_in_input_order(
    world: World, shared_server: EphemeralServer, record_testsuite_property: Any
) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fans_out, MANY, id="p")
        assert await world.result(handle, patience_s=PATIENCE_S) == [n * n for n in range(MANY)]
        await world.settled(patience_s=PATIENCE_S)
    record_testsuite_property("o16_peak_kib_of_this_process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    record_testsuite_property("o16_peak_kib_of_the_server", _peak_kib(shared_server.pid))
    assert world.raw.zcard(world.keys.children("p")) == MANY


async def test_o16_messages_of_many_bytes_arrive_in_pages(world: World) -> None:
    """An answer holds half a megabyte of messages at most: several commits bring what waits."""
    count = 30
    handle = await world.durable.start(flows.fans_out_large, count, id="p")
    for n in range(count):
        await handle.send_event("large", bytes([n]) * 100_000)
    async with world.workers():
        assert await world.result(handle) == [*range(count), *range(count)]


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def test_o17_a_hundred_parents_in_one_slot_without_polling(world: World) -> None:
    parents = 100
    async with world.workers(concurrency=1):
        with world.counting() as commands:
            handles = await asyncio.gather(
                *(world.durable.start(flows.level_one, n, id=f"p{n}") for n in range(parents))
            )
            assert await asyncio.gather(*(world.result(h) for h in handles)) == [n + 3 for n in range(parents)]
            await world.settled()
    if not IS_CROWD:
        # Three runs for each parent: 3 claims and 2 resumes (with replay, claims), as many commits and batched acks,
        # as many reads, and the start. Entries that wait 100 ms for the slot go back, which costs two calls more.
        scripts = commands["evalsha"] + commands["eval"]
        assert scripts <= 25 * parents, commands
        assert commands["xreadgroup"] <= 12 * parents, commands


@pytest.mark.slow
async def test_o22_children_that_nobody_awaits_do_not_wake_their_parent(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.starts_many, MANY, id="p")
        await world.until_status("p", Status.WAITING)
        key = world.keys.run("p")
        before = world.raw.hmget(key, "mail", "seq", "epoch")
        look = await world.settled(patience_s=PATIENCE_S)
        assert sum(run[0] == "completed" for run in look.runs.values()) == MANY
        assert world.raw.hget(key, "mail") is None
        assert IS_CROWD or world.raw.hmget(key, "mail", "seq", "epoch") == before
        await world.durable.send_event("p", "end", "over")
        assert await world.result(handle) == "over"
    kinds = {e.kind for e in await world.durable.history("p")}
    assert kinds == {"started", "child_started", "event", "completed"}
