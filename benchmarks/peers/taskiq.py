"""taskiq on Redis, by taskiq-redis: on a stream, with acknowledgement, and on a list, without.

A plain task queue: no steps, no children. Its bias, in its favour: `wait_result` asks every 0.2 s, which nobody would
call its speed, so a task counts as done when its body rings, before its result is stored. On the list a killed worker
loses what it had taken; on the stream another one gets it after ten minutes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from taskiq import AsyncBroker
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, run_worker, say_ready


async def noop(n: int) -> int:
    ring(n)
    return n


def make_broker(url: str, kind: str) -> AsyncBroker:
    """Broker and task; results kept for an hour, as the documentation wants an end of them."""
    results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(url, result_ex_time=3600)
    broker: AsyncBroker
    if kind == "stream":
        broker = RedisStreamBroker(url, consumer_id="0").with_result_backend(results)
    else:
        broker = ListQueueBroker(url).with_result_backend(results)
    broker.register_task(noop, task_name="noop")
    return broker


class Taskiq(RedisPeer):
    name = "taskiq"
    kind = "queue"
    packages = ("taskiq", "taskiq-redis")
    completion = "bell"
    notes = "Stream broker, acknowledged when executed; done when the body rings, since results are polled."
    broker_kind = "stream"

    async def connect(self) -> None:
        self.broker = make_broker(self.url, self.broker_kind)
        await self.broker.startup()
        self.task = self.broker.find_task("noop")

    async def disconnect(self) -> None:
        if hasattr(self, "broker"):
            await self.broker.shutdown()

    def worker_arguments(self) -> list[str]:
        return [*super().worker_arguments(), self.broker_kind]

    async def begin(self, flow: str, arg: int) -> Any:
        assert self.task is not None
        return await self.task.kiq(arg)

    async def end(self, handle: Any) -> Any:
        found = await handle.wait_result(check_interval=0.01, timeout=60)
        found.raise_for_error()
        return found.return_value


class TaskiqList(Taskiq):
    name = "taskiq-list"
    notes = "List broker: no acknowledgement, a killed worker loses what it had taken; otherwise as taskiq."
    broker_kind = "list"


async def main(url: str, concurrency: int) -> None:
    broker = make_broker(url, sys.argv[4])
    worker = asyncio.create_task(run_receiver_task(broker, max_async_tasks=concurrency, run_startup=True))
    say_ready()
    await worker


SYSTEMS = [Taskiq, TaskiqList]

if __name__ == "__main__":
    run_worker(main)
