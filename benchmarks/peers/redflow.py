"""redflow: durable workflows on Redis; the other engine of that kind.

Steps are recorded one by one, and a run tried again reads them back. A parent keeps its slot while it waits, and
looks for the child's end every 250 ms, unless it can run the child itself, which it does when nobody has taken it yet.
An event that meets no waiting step is kept, but only the last one, so the case of ten events in a row is left out. Its
bias: none that we know. A slot has a connection of its own, which polls; with 500 of them a run costs its worker twice
as much as with 32.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from redflow import StartWorkerOptions, create_client, define_workflow, start_worker
from redflow.registry import WorkflowRegistry
from redis.asyncio import Redis

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, run_worker, say_ready

APP = "bench"
SLOTS = 32
FOREVER = "7d"


async def work(n: int) -> int:
    return n


async def slow(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


async def woke(due: int) -> int:
    ring(due)
    return due


async def noop(ctx: Any) -> int:
    return await ctx.step.run("work", work, ctx.input)


async def steps10(ctx: Any) -> int:
    n = ctx.input
    for i in range(10):
        n = await ctx.step.run(f"work-{i}", work, n)
    return n


async def slow10(ctx: Any) -> int:
    n = ctx.input
    for i in range(10):
        n = await ctx.step.run(f"slow-{i}", slow, n)
    return n


async def parent(ctx: Any) -> int:
    return await ctx.step.run_workflow("child", "noop", ctx.input)


async def fanout(ctx: Any) -> int:
    children = (ctx.step.run_workflow(f"child-{i}", "noop", i) for i in range(ctx.input))
    return len(await asyncio.gather(*children))


async def wait(ctx: Any) -> int:
    for i in range(ctx.input):
        await ctx.step.wait_for_event(f"go-{i}", "go", ctx.run.id, FOREVER)
    return ctx.input


async def timer(ctx: Any) -> int:
    await ctx.step.wait_for("sleep", datetime.fromtimestamp(ctx.input / 1000, UTC))
    return await ctx.step.run("woke", woke, ctx.input)


async def long(ctx: Any) -> int:
    for i in range(ctx.input):
        await ctx.step.run(f"work-{i}", work, i)
    await ctx.step.wait_for_event("go", "go", ctx.run.id, FOREVER)
    await ctx.step.run("last", work, ctx.input)
    return ctx.input


HANDLERS = [noop, steps10, slow10, parent, fanout, wait, timer, long]


class Redflow(RedisPeer):
    name = "redflow"
    packages = ("redflow",)
    cases = frozenset(
        {
            *("noop", "steps10", "call_child", "fanout", "latency", "child_latency", "start_only", "parked", "woken"),
            *("timers", "recover", "replay", "mixed"),
        }
    )
    notes = f"One worker process of {SLOTS} slots, of which more are slower; results by its own blocking read."

    async def connect(self) -> None:
        self.client = create_client(app=APP, redis=Redis.from_url(f"{self.url}?max_connections=4000"))

    async def disconnect(self) -> None:
        if hasattr(self, "client"):
            await self.client.close()

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.client.run_by_name(flow, arg)

    async def end(self, handle: Any) -> Any:
        return await handle.result(timeout_ms=100_000)

    async def send_event(self, handle: Any, payload: int) -> None:
        await self.client.emit_event("go", payload, correlation_key=handle.handle.id)

    async def until_parked(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            while not await self._is_waiting(handle.handle.id):
                await asyncio.sleep(0.02)

    async def _is_waiting(self, run: str) -> bool:
        steps = await self.client.get_run_steps(run)
        return bool(steps) and steps[-1]["name"].startswith("go") and steps[-1]["status"] == "running"


async def main(url: str, concurrency: int) -> None:
    logging.disable(logging.WARNING)
    registry = WorkflowRegistry()
    for handler in HANDLERS:
        define_workflow(handler.__name__, handler=handler, registry=registry, max_concurrency=1_000_000)
    redis = Redis.from_url(f"{url}?max_connections=4000")
    await start_worker(StartWorkerOptions(app=APP, redis=redis, registry=registry, concurrency=min(concurrency, SLOTS)))
    say_ready()
    await asyncio.Event().wait()


SYSTEMS = [Redflow]

if __name__ == "__main__":
    run_worker(main)
