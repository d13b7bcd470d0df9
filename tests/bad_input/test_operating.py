"""Queues and workers: wrong names, and what others have planted where they are looked up."""

from __future__ import annotations

from .bench import Bench


async def test_what_workers_did_not_write(bench: Bench) -> None:
    planted = {
        "a": b"\xff", "b": b"[]", "c": b"{}", "d": b"1", "e": b'{"host": 1}', "\x1b": b"null",
        "f": b'{"host":"h","pid":1,"queues":["q"],"concurrency":1,"running":0,"resident":0,"since":1e300,"seen":0}',
        "g": b'{"host":"h","pid":1,"queues":5,"concurrency":1,"running":0,"resident":0,"since":1,"seen":1,"lease":9}',
    }  # fmt: skip
    bench.server.hset(bench.keys.workers, mapping=planted)  # type: ignore[arg-type]  # bytes are fine
    assert await bench.durable.workers() == []
    assert await bench.durable.queues() == []
    bench.server.hset(
        bench.keys.workers,
        "good",
        b'{"host":"h","pid":1,"queues":["q"],"concurrency":1,"running":0,"resident":0,"since":1,"seen":2,"lease":9}',
    )
    assert [worker.id for worker in await bench.durable.workers()] == ["good"]
    assert await bench.durable.queues() == []


async def test_runs_that_are_none(bench: Bench) -> None:
    bench.forge("odd", status="bogus")
    bench.forge("no-entry", entry="")
    bench.forge("far", entry="Q" + "9" * 400 + "-0")
    bench.forge("list")
    bench.server.delete(bench.keys.run("list"))
    bench.server.rpush(bench.keys.run("list"), "x")
    bench.server.zadd(bench.keys.index, {b"\xff": 1, "gone": 2})
    (queue,) = await bench.durable.queues()
    assert (queue.name, queue.ready, queue.running, queue.waiting) == ("default", 2, 0, 0)
