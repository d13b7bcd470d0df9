"""The worker process of a benchmark: `python -m benchmarks.worker URL CONCURRENCY [uvloop]`."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import flows
from durable_async import Durable
from durable_async.worker.collector import calm_collector


async def main(url: str, concurrency: int) -> None:
    durable = Durable(url, workflows=flows.ALL)
    async with durable.worker(concurrency=concurrency, max_resident=100_000):
        calm_collector()  # as `durable worker` does
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.install()
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
