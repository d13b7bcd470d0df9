"""streaq: a task queue on Redis streams, with a library of functions in the server.

A plain task queue: dependencies between tasks, but no steps and no children. Its bias, in its favour: of `streaq` a
task counts as done when its body rings, before its result is stored. `streaq-result` is the same with its own
`result()`, which opens a subscription for each task, and takes 100 ms at least.
"""

from __future__ import annotations

import asyncio
from typing import Any

from streaq import Worker

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, run_worker, say_ready


def make_worker(url: str, concurrency: int) -> tuple[Worker[Any], Any]:
    """The object that is client and worker alike, and its task."""
    connections = {"max_connections": 2000}  # one for each result that is waited for; 64 as it comes
    worker: Worker[Any] = Worker(redis_url=url, redis_kwargs=connections, concurrency=concurrency, handle_signals=False)

    @worker.task(silent=True, ttl=3600)
    async def noop(n: int) -> int:
        ring(n)
        return n

    return worker, noop


class Streaq(RedisPeer):
    name = "streaq"
    kind = "queue"
    packages = ("streaq", "coredis")
    completion = "bell"
    checked = 50  # each takes 100 ms
    notes = "One worker process, tasks silent; done when the body rings; its own way to a result is `streaq-result`."

    async def connect(self) -> None:
        self.streaq, self.task = make_worker(self.url, 1)
        await self.streaq.__aenter__()

    async def disconnect(self) -> None:
        if hasattr(self, "streaq"):
            await self.streaq.__aexit__(None, None, None)

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.task.enqueue(arg)

    async def end(self, handle: Any) -> Any:
        return (await handle.result(timeout=60)).result


class StreaqResult(Streaq):
    name = "streaq-result"
    completion = "result"
    notes = "As streaq; done when its own `result()` returns."


async def main(url: str, concurrency: int) -> None:
    worker, _ = make_worker(url, concurrency)
    running = asyncio.create_task(worker.run_async())
    say_ready()
    await running


SYSTEMS = [Streaq, StreaqResult]

if __name__ == "__main__":
    run_worker(main)
