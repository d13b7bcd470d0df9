"""Stream entries, timers, walks, index members, heartbeats and pushes that no code of ours wrote."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_async import RunFailed
from durable_async.store.store import GROUP

from . import flows
from .bench import Bench

LARGE = "x" * 1_000_000
ENTRIES: list[dict[Any, Any]] = [
    {"r": "nobody"}, {"r": ""}, {"r": b"\xff\xfe"}, {"r": LARGE}, {"r": "a{b}\n*"}, {"r": "other:ns:r"},
    {"n": "nobody"},
    {"n": b"\xff"}, {"x": "y"}, {"": ""}, {b"\xff": b"\xff"}, {"r": "a", "v": "99"}, {LARGE: "r"}, {"v": "99",
    "r": "a"},
]  # fmt: skip


async def test_entries(bench: Bench) -> None:
    queue = bench.keys.queue("default")
    for fields in ENTRIES:
        bench.server.xadd(queue, fields)
    async with bench.worker(concurrency=2) as worker:
        for fields in ENTRIES:
            bench.server.xadd(bench.keys.worker(worker.id), fields)
        await bench.alive()
        for key in (queue, bench.keys.worker(worker.id)):
            await bench.until(lambda key=key: bench.server.xlen(key) == 0, "every entry is acked and deleted")
            assert bench.server.xpending(key, GROUP)["pending"] == 0  # type: ignore[index]
        assert worker.runner.intake.slots.active == 0
        assert not bench.errors("")


async def test_entries_in_dead_hands(bench: Bench) -> None:
    """Deleted ones, garbage, and one whose record is none, beside one that counts: that is put back."""
    queue = bench.keys.queue("default")
    bench.server.xgroup_create(queue, GROUP, "0", mkstream=True)
    gone: Any = bench.server.xadd(queue, {"r": "gone"})
    for fields in ENTRIES:
        bench.server.xadd(queue, fields)
    bench.forge("list")
    bench.forge("odd", status="bogus")
    bench.forge("counts", workflow="nothing")
    bench.server.xreadgroup(GROUP, "dead", {queue: ">"})
    bench.server.xdel(queue, gone)
    bench.server.delete(bench.keys.run("list"))
    bench.server.rpush(bench.keys.run("list"), "S3CR3T")
    async with bench.worker(lease=0.3):
        assert (await bench.outcome("counts")).status == "completed"
        await bench.until(lambda: not bench.server.xpending(queue, GROUP)["pending"], "nothing is pending")  # type: ignore[index]
        await bench.alive()
        assert not [e for e in bench.errors("cannot be cleared away") if "dead" in e]


async def test_heartbeats_and_workers(bench: Bench) -> None:
    keys, queue = bench.keys, bench.keys.queue("default")
    bench.forge("counts", workflow="nothing")
    bench.server.xgroup_create(queue, GROUP, "0", mkstream=True)
    bench.server.xreadgroup(GROUP, "dead", {queue: ">"})
    bench.server.hset(keys.beats, mapping={"dead": "9" * 40, b"\xff": b"\xfe", "": "", "list": "1"})
    said = [b'{"lease": 1e308}', b'{"lease": true}', b'{"lease": "x"}', b"[]", b"\xff", b"{", b"null"]
    for n, text in enumerate(said):
        bench.server.hset(keys.workers, f"w{n}", text)
        bench.server.hset(keys.beats, f"w{n}", "5")
    bench.server.hset(keys.workers, "dead", said[0])
    bench.server.set(keys.worker("list"), "no stream")
    async with bench.worker(lease=0.3):
        assert (await bench.outcome("counts")).status == "completed"
        await bench.alive()


TIMERS: dict[Any, float] = {
    "": 0, b"\xff\xfe": 0, "w": 0, "q": 1, "zr": 2, b"w\xff": 3, "wnobody": 4, "dnobody": 5, "gnobody": 6, "wlist": 7,
    "glist": 7, "dlist": 7, "w" + LARGE: 8, "wparked": float("-inf"), "gparked": 9, "wfar": float("inf"),
}  # fmt: skip


async def test_timers(bench: Bench) -> None:
    bench.server.set(bench.keys.run("list"), "S3CR3T")
    bench.server.zadd(bench.keys.timers, TIMERS)
    async with bench.worker():
        await bench.alive()
        await bench.until(lambda: bench.server.zcard(bench.keys.timers) == 1, "what names no run is gone")
        assert bench.server.zrange(bench.keys.timers, 0, -1) == [b"wfar"]
        await bench.alive()
    assert len(bench.errors("members of")) <= 2


async def test_a_grace_that_is_over_for_a_run_that_was_not_cancelled(bench: Bench) -> None:
    async with bench.worker():
        handle = await bench.durable.start(flows.waits)
        await bench.until_status(handle.id, "parked")
        bench.server.zadd(bench.keys.timers, {"g" + handle.id: 1, "w" + handle.id: 1, "d" + handle.id: 1})
        await bench.until(lambda: bench.server.zcard(bench.keys.timers) == 0, "they are void")
        assert bench.field(handle.id, "status") == "parked"
        await handle.send_event("go", 1)
        assert await handle.result(timeout=30) == 1


WALKS: dict[Any, Any] = {
    "": "", b"\xff": b"\xff", "q": "1", "x": "0", "xnobody": "0", "xr": "-5", "xr2": "x", "tnobody": "1e9",
    "enobody": "0",
    "cnobody": b"\xff\xfe", "clist": "why", "xlist": "0", "tlist": "0", "elist": "0", "xnone": "9" * 30,
    "ebad": b"\xff",
}  # fmt: skip


async def test_walks(bench: Bench) -> None:
    bench.server.set(bench.keys.run("list"), "S3CR3T")
    bench.server.hset(bench.keys.walks, mapping=WALKS)
    async with bench.worker():
        await bench.alive()
        await bench.until(lambda: bench.server.hlen(bench.keys.walks) == 0, "none is left")
    assert len(bench.errors("")) <= 5


async def test_a_walk_over_a_damaged_list_does_not_spin(bench: Bench) -> None:
    async with bench.worker():
        handle = await bench.durable.start(flows.waits, id="r")
        await bench.until_status("r", "parked")
        bench.server.set(bench.keys.children("r"), "no sorted set")
        bench.server.hset(bench.keys.walks, "er", "0")
        await bench.until(lambda: bench.errors("walk er"), "it is said")
        looks = bench.server.info("commandstats")["cmdstat_hrandfield"]["calls"]  # type: ignore[index]
        await bench.until(
            lambda: bench.server.info("commandstats")["cmdstat_hrandfield"]["calls"] > looks + 5,  # type: ignore[index]
            "it has been looked at again",
        )
        assert len(bench.errors("walk er")) == 1
        await bench.alive()
        await handle.cancel()


async def test_the_index(bench: Bench) -> None:
    bench.server.set(bench.keys.run("list"), "S3CR3T")
    members: Any = {b"\xff": 1, "": 2, "nobody": 3, LARGE: 4, "a/b/c": 5, "list": 6, "a\nb": float("inf")}
    bench.server.zadd(bench.keys.index, members)
    page = await bench.durable.list()
    assert page.items == []
    async with bench.worker(lease=0.3):
        await bench.alive()
        await bench.until(lambda: bench.server.zscore(bench.keys.index, b"\xff") is None, "it is purged")
        await bench.until(lambda: bench.server.zscore(bench.keys.index, "nobody") is None, "it is purged")
    assert len((await bench.durable.list()).items) >= 1


async def test_pushes(bench: Bench) -> None:
    async with bench.worker():
        handle = await bench.durable.start(flows.waits, id="r")
        waiting = asyncio.create_task(handle.result(timeout=30))
        await bench.until_status("r", "parked")
        (stream,) = bench.server.scan_iter(match=bench.keys.base + "client:*")
        for fields in (
            {"r": ""}, {"r": "bogus\n"}, {"r": b"\xff"}, {"r": "completed"}, {"": "completed\n"},
            {"nobody": "failed\n"},
            {b"\xff": b"\xff"}, {"r": LARGE}, {"x": "1", "r": "running\n"},
        ):  # fmt: skip
            bench.server.xadd(stream, fields)
        bench.server.publish("anything", "r")
        await bench.alive()
        assert not waiting.done()
        await handle.send_event("go", 5)
        assert await waiting == 5


async def test_a_stream_that_is_none(bench: Bench) -> None:
    """A waiting client whose stream was replaced finds out for itself."""
    async with bench.worker():
        handle = await bench.durable.start(flows.waits, id="r")
        waiting = asyncio.create_task(handle.result(timeout=30))
        await bench.until_status("r", "parked")
        (stream,) = bench.server.scan_iter(match=bench.keys.base + "client:*")
        bench.server.delete(stream)
        bench.server.set(stream, "no stream")
        await handle.send_event("go", 5)
        assert await waiting == 5


async def test_times_to_live_set_by_hand(bench: Bench) -> None:
    """A record that vanishes while its run is in memory: the copy is dropped, the worker lives."""
    async with bench.worker():
        handle = await bench.durable.start(flows.waits, id="r")
        await bench.until_status("r", "parked")
        for key in (bench.keys.run("r"), bench.keys.journal("r")):
            bench.server.delete(key)
        bench.server.xadd(bench.keys.queue("default"), {"r": "r"})
        await bench.until(lambda: bench.server.xlen(bench.keys.queue("default")) == 0, "the entry is acked")
        again = await bench.durable.start(flows.waits, id="r")
        await bench.until_status("r", "parked")
        await again.send_event("go", 5)
        assert await again.result(timeout=30) == 5
        assert await handle.result(timeout=30) == 5
        await bench.alive()


async def test_claims_without_end(bench: Bench) -> None:
    bench.forge("r", claims=10**6)
    async with bench.worker():
        with pytest.raises(RunFailed):
            await bench.durable.run("r").result(timeout=30)
        await bench.alive()
