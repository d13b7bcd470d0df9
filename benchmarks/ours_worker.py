"""Our worker process: `python -m benchmarks.ours_worker URL CONCURRENCY LEASE [uvloop]`. SIGTERM drains it."""

from __future__ import annotations

import asyncio
import signal
import sys

from benchmarks import flows
from durable_async import Durable
from durable_async.worker.collector import calm_collector


async def main(url: str, concurrency: int, lease: float) -> None:
    left = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, left.set)
    durable = Durable(url, workflows=flows.ALL)
    async with durable.worker(concurrency=concurrency, max_resident=100_000, lease=lease):
        calm_collector()  # as `durable worker` does
        print("ready", flush=True)
        await left.wait()


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.install()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
