"""What one run costs, counted and not timed: commands at the server, bytes, Python calls of ours.

Held against costs.json, so that a cost that creeps in is seen by whoever lets it in; `python tests/test_costs.py` takes
what it finds as the new baseline. Being further off than `GROWTH` fails in both directions: what was won is kept.
Not guaranteed: that a cheaper count is cheaper. It is CPU that counts, and `benchmarks` measures it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import durable_async
from durable_async import Durable, call_workflow, step, workflow
from durable_async.server.ephemeral import ephemeral_server

BASELINE = Path(__file__).with_name("costs.json")
OURS = str(Path(durable_async.__file__).parent)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RUNS = 400
GROWTH = 0.05
DATA = (
    *("hset", "hmget", "hget", "rpush", "lrange", "ltrim", "del", "pexpire", "zadd", "zrem", "zcard"),
    *("llen", "type", "hlen", "xlen"),
)
"""Commands on the data of runs; those of streams and polls depend on how many runs share them."""


@step
async def work(n: int) -> int:
    return n


@workflow
async def noop(n: int) -> int:
    return await work(n)


@workflow
async def steps10(n: int) -> int:
    for _ in range(10):
        n = await work(n)
    return n


@workflow
async def call_child(n: int) -> int:
    return await call_workflow(noop, n)


CASES = (noop, steps10, call_child)


class Bench:
    """A server, a client and a worker in this process."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.calls = 0

    async def many(self, definition: Any) -> None:
        """All started, then all awaited: how they share ticks does not depend on the machine's speed."""
        handles = [await self.durable.start(definition, i) for i in range(RUNS)]
        for handle in handles:
            await handle.result(timeout=60)

    async def info(self) -> dict[str, str]:
        text = (await self.durable._session.store.caller.call(("INFO", "everything"))).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def _count(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            self.calls += 1

    async def cost(self, definition: Any) -> dict[str, float]:
        """What one run of a workflow costs."""
        await self.many(definition)
        before, self.calls = await self.info(), 0
        sys.setprofile(self._count)
        try:
            await self.many(definition)
        finally:
            sys.setprofile(None)
        after = await self.info()
        spent: Counter[str] = Counter()
        for name in DATA:
            spent["commands"] += calls_of(after, name) - calls_of(before, name)
        for short, name in (("AOF bytes", "aof_current_size"), ("bytes in", "total_net_input_bytes")):
            spent[short] = int(after[name]) - int(before[name])
        spent[f"calls on {PYTHON}"] = self.calls
        return {name: round(number / RUNS, 2) for name, number in spent.items()}


def calls_of(info: dict[str, str], name: str) -> int:
    line = info.get(f"cmdstat_{name}", "calls=0,")
    return int(line.removeprefix("calls=").partition(",")[0])


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    # While the server syncs, it does not write, and what it has not written yet it does not count.
    config = {"auto-aof-rewrite-percentage": 0}
    with ephemeral_server(appendonly=True, fsync="no", extra_config=config) as server:
        durable = Durable(server.url, workflows=CASES)
        # A long lease: what goes by the clock would count, too.
        async with durable, durable.worker(concurrency=RUNS, lease=600):
            yield Bench(durable)


@pytest.mark.skipif(sys.gettrace() is not None, reason="the calls of a debugger or of coverage would count")
async def test_no_run_costs_more_or_less_than_is_written_down() -> None:
    baseline = json.loads(BASELINE.read_text())
    wrong: list[str] = []
    async with bench() as running:
        for definition in CASES:
            wrong += await differing(running, definition, baseline[definition.name])
    assert not wrong, "write down with `python tests/test_costs.py` what is meant to be:\n" + "\n".join(wrong)


async def differing(running: Bench, definition: Any, baseline: dict[str, float]) -> list[str]:
    """What is further off than allowed, of the least of up to three measurements.

    On a machine with too much to do, fewer runs share a tick: they cost more for once, and never less.
    """
    least: dict[str, float] = {}
    wrong: list[str] = []
    for _ in range(3):
        for name, number in (await running.cost(definition)).items():
            least[name] = min(number, least.get(name, number))
        known = {name: baseline[name] for name in least if name in baseline}
        wrong = [
            f"{definition.name}: {name} {value} -> {least[name]}"
            for name, value in known.items()
            if abs(least[name] - value) > GROWTH * value
        ]
        if not wrong:
            break
    return wrong


async def write() -> None:
    """Takes what is found as the baseline; that of other Pythons stays."""
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    async with bench() as running:
        for definition in CASES:
            known[definition.name] = {**known.get(definition.name, {}), **await running.cost(definition)}
    BASELINE.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(write())
