"""dramatiq on Redis: threads in several processes, a dispatching script in the server.

A plain task queue: no steps, no children. Its way is blocking calls: the client enqueues from one thread, and a thread
would have to wait for each result; one does where there is one at a time (`latency`). In its favour: a message
counts as done when its body rings, before its result is stored; and it has a worker process for each core, as its
command line would start, where others have one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.bell import ring
from benchmarks.launch import RedisPeer, say_ready

URL = "DURABLE_BENCH_URL"
PROCESSES = os.cpu_count() or 2
THREADS = 8


def declare(url: str) -> tuple[RedisBroker, Any]:
    """The broker with a result backend, and the one actor."""
    broker = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=url), store_results=True, result_ttl=3_600_000))
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="noop")
    def noop(n: int) -> int:
        ring(n)
        return n

    return broker, noop


class Dramatiq(RedisPeer):
    name = "dramatiq"
    kind = "queue"
    packages = ("dramatiq",)
    completion = "bell"
    by_result = frozenset({"latency"})
    notes = f"{PROCESSES} worker processes of {THREADS} threads; done when the body rings, but for latency: by result."

    async def connect(self) -> None:
        self.broker, self.actor = declare(self.url)

    async def disconnect(self) -> None:
        if hasattr(self, "broker"):
            self.broker.close()

    async def begin(self, flow: str, arg: int) -> Any:
        message = self.actor.send(arg)
        await asyncio.sleep(0)
        return message

    async def end(self, handle: Any) -> Any:
        # One at a time, in this thread: nothing else is to be done meanwhile.
        return handle.get_result(block=True, timeout=60_000)


def main() -> None:
    """`dramatiq` itself, told where the server is; its processes import this module and find the actor."""
    from dramatiq.cli import main as cli
    from dramatiq.cli import make_argument_parser

    os.environ[URL] = sys.argv[1]
    say_ready()
    arguments = ["--processes", str(PROCESSES), "--threads", str(THREADS), "--skip-logging", __spec__.name]
    sys.exit(cli(make_argument_parser().parse_args(arguments)))


SYSTEMS = [Dramatiq]

if __name__ == "__main__":
    main()
elif URL in os.environ:
    declare(os.environ[URL])
