"""docket (pydocket): background tasks on Redis streams.

A plain task queue: no steps, no children. Its bias, in its favour: where there are many at once a task counts as done
when its body rings, before its result is stored. Its `get_result` opens a subscription for each, and of many at once
some never hear of their end; one at a time (`latency`) it is measured as it is.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from docket import Docket, Worker
from docket.execution import ExecutionState

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, run_worker, say_ready


async def noop(n: int) -> int:
    ring(n)
    return n


class DocketQueue(RedisPeer):
    name = "docket"
    kind = "queue"
    packages = ("pydocket",)
    completion = "bell"
    by_result = frozenset({"latency"})
    notes = "One worker process; done when the body rings, but for latency: when `get_result` returns."

    async def connect(self) -> None:
        self.docket = Docket(name="bench", url=f"{self.url}?max_connections=2000")
        await self.docket.__aenter__()
        self.docket.register(noop)

    async def disconnect(self) -> None:
        if hasattr(self, "docket"):
            await self.docket.__aexit__(None, None, None)

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.docket.add(noop)(arg)

    async def end(self, handle: Any) -> Any:
        if self.completion == "bell":
            # It has rung; its end is recorded in a moment, and `get_result` may miss the news of it.
            while handle.state is not ExecutionState.COMPLETED:
                await handle.sync()
        return await handle.get_result(timeout=timedelta(seconds=60))


async def main(url: str, concurrency: int) -> None:
    logging.disable(logging.WARNING)
    async with Docket(name="bench", url=f"{url}?max_connections=2000") as docket:
        docket.register(noop)
        async with Worker(docket, concurrency=concurrency) as worker:
            running = asyncio.create_task(worker.run_forever())
            say_ready()
            await running


SYSTEMS = [DocketQueue]

if __name__ == "__main__":
    run_worker(main)
