"""arq: tasks in a sorted set of Redis that its worker polls.

A plain task queue: no steps, no children. In maintenance only; it needs an older redis-py, hence an environment of its
own. Its bias, in its favour: a job counts as done when its body rings, before its result is stored, since `result()`
polls; and the worker polls every 10 ms instead of every half second as it comes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings
from arq.version import VERSION
from arq.worker import Worker

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, run_worker, say_ready


async def noop(ctx: Any, n: int) -> int:
    ring(n)
    return n


class Arq(RedisPeer):
    name = "arq"
    kind = "queue"
    packages = ("arq", "redis")
    completion = "bell"
    notes = "One worker process, which polls every 10 ms (as it comes: 500 ms); done when the body rings."

    @classmethod
    def missing(cls) -> str:
        is_old = tuple(int(part) for part in VERSION.split(".")[:2]) < (0, 26)
        return super().missing() or ("arq before 0.26 finds no server on a unix socket" if is_old else "")

    async def connect(self) -> None:
        self.pool = await create_pool(RedisSettings.from_dsn(self.url))

    async def disconnect(self) -> None:
        if hasattr(self, "pool"):
            await self.pool.aclose()

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.pool.enqueue_job("noop", arg)

    async def end(self, handle: Any) -> Any:
        return await handle.result(timeout=60, poll_delay=0.01)


async def main(url: str, concurrency: int) -> None:
    logging.disable(logging.INFO)
    worker = Worker(
        [func(noop, name="noop")],
        redis_settings=RedisSettings.from_dsn(url),
        max_jobs=concurrency,
        poll_delay=0.01,
        handle_signals=False,
        log_results=False,
    )
    running = asyncio.create_task(worker.async_run())
    say_ready()
    await running


SYSTEMS = [Arq]

if __name__ == "__main__":
    run_worker(main)
