"""The worker process of a benchmark: `python -m benchmarks.worker URL CONCURRENCY [asyncio]`.

It runs as `durable worker` does: on uvloop if that is installed, unless asyncio is asked for. Prints which it is.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks import flows
from durable_async import Durable
from durable_async.cli.exits import run_async
from durable_async.worker.collector import calm_collector


async def main(url: str, concurrency: int) -> None:
    durable = Durable(url, workflows=flows.ALL)
    async with durable.worker(concurrency=concurrency, max_resident=100_000):
        calm_collector()  # as `durable worker` does
        print(type(asyncio.get_running_loop()).__module__.partition(".")[0], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run = asyncio.run if "asyncio" in sys.argv else run_async
    run(main(sys.argv[1], int(sys.argv[2])))
