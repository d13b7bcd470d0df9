"""How the curves of `benchmarks.growth` are measured: states made by the engine itself, and costs at some places."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.bell import Bell
from benchmarks.drivers import Meter, lanes, throughput
from benchmarks.peers.ours import Ours
from benchmarks.processes import rss_kib
from benchmarks.servers import client_of, used_memory
from benchmarks.stats import median_by_role
from benchmarks.systems import Options

AT_ONCE = 500
FLAT = 1.25
"""Up to this factor between the dearest and the cheapest point a cost is flat; measurements differ by as much."""


@dataclass(slots=True)
class Curve:
    """Costs at some places."""

    name: str
    title: str
    x: str
    points: list[dict[str, Any]] = field(default_factory=list)
    flat: dict[str, int] = field(default_factory=dict)
    """Which figures are to be flat, and from which x on: below it what comes once per run or parent is most of it."""
    linear: str = ""
    """Which figure is to grow as x does, if one is."""

    def factor(self, figure: str) -> float:
        """The dearest over the cheapest point of a figure that is to be flat."""
        values = [point[figure] for point in self.points if point["x"] >= self.flat[figure]]
        return max(values) / min(values) if values and min(values) > 0 else float("inf")

    def verdict(self) -> list[str]:
        """A sentence for each figure that is to be flat."""
        said = []
        for figure, least in self.flat.items():
            span = [point["x"] for point in self.points if point["x"] >= least]
            if len(span) > 1:
                factor = self.factor(figure)
                word = "flat" if factor <= FLAT else "NOT flat"
                said.append(f"{figure} is {word} from {span[0]:,} to {span[-1]:,} {self.x}: factor {factor:.2f}")
        return said


@asynccontextmanager
async def running() -> AsyncIterator[Ours]:
    """Ours, whose append-only file only grows."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bell = Bell(Path(folder, "bell"))
        bell.open()
        system = Ours(Options(), bell)
        try:
            await system.start(Path(folder))
            with client_of(system.server) as client:
                client.config_set("auto-aof-rewrite-percentage", 0)
            yield system
        finally:
            await system.stop()
            bell.close()


async def per_run(system: Ours, n: int, times: int = 3) -> dict[str, float]:
    """CPU of one `noop` in µs, by role."""
    noop = throughput("noop")
    return median_by_role([(await noop(system, n, AT_ONCE))["cpu_us"] for _ in range(times)])


async def store(most: int, n: int) -> Curve:
    """Runs that have ended and are kept."""
    curve = Curve("store", "cost of a one-step run", "runs in the store", flat={"server_us": 100, "worker_us": 100})
    async with running() as system:
        index = keys_of(system).index
        with client_of(system.server) as client:
            for x in decades(100, most):
                if (missing := x - client.zcard(index)) > 0:
                    await lanes(missing, AT_ONCE, lambda: noop(system))
                before = client.zcard(index)
                # Each measurement leaves its own runs behind: as few as still tell something.
                cpu = await per_run(system, min(n, max(100, x // 5)), 5)
                curve.points.append({"x": (before + client.zcard(index)) // 2, **micro(cpu)})
                tell(curve)
    return curve


def keys_of(system: Ours) -> Any:
    """The names of its keys."""
    return system.durable._session.store.keys


async def noop(system: Ours) -> None:
    await system.result(await system.start_run("noop", 1))


async def parked(most: int, n: int) -> Curve:
    """Runs that wait, in the memory of the worker."""
    curve = Curve(
        "parked", "cost of a one-step run", "parked runs in the worker", flat={"server_us": 1, "worker_us": 1}
    )
    async with running() as system:
        await throughput("noop")(system, n, AT_ONCE)
        idle, there = rss_kib(system.processes()["worker"]), 0
        for x in (0, *decades(1, most)):
            await park(system, x - there)
            there = x
            cpu = await per_run(system, n)
            held = (rss_kib(system.processes()["worker"]) - idle) / 1024
            curve.points.append({"x": x, **micro(cpu), "worker_mib": round(held, 1)})
            tell(curve)
    return curve


async def park(system: Ours, n: int) -> None:
    """So many runs more that wait, seen by the queue: nothing in it, and nothing that was read and not settled."""
    if n <= 0:
        return
    await lanes(n, AT_ONCE, lambda: system.start_run("wait", 1))
    with client_of(system.server) as client:
        queue = keys_of(system).queue("default")
        while client.xlen(queue):
            await asyncio.sleep(0.02)


async def children(most: int, n: int) -> Curve:
    """Children of one parent; of small families many, so that as many children are counted."""
    curve = Curve("children", "cost of a child", "children of one parent", flat={"server_us": 10, "worker_us": 10})
    async with running() as system:
        for x in decades(1, most):
            families = max(1, n // x)
            at_once = max(1, AT_ONCE // x)

            async def family(x: int = x) -> None:
                await system.result(await system.start_run("fanout", x))

            samples = []
            for _ in range(4):
                meter = Meter(system)
                await lanes(families, at_once, family)
                samples.append(meter.figures(families * x)["cpu_us"])
            curve.points.append({"x": x, **micro(median_by_role(samples[1:]))})
            tell(curve)
    return curve


async def journal(most: int, n: int) -> Curve:
    """Steps of one run: written, and read by another worker."""
    curve = Curve(
        "journal", "cost of a step", "steps in the journal",
        flat={"append_server_us": 100, "append_worker_us": 100, "replay_worker_us": 1_000}, linear="replay_ms",
    )  # fmt: skip
    async with running() as system:
        await replayed(system, 100)
        for x in (each for each in (10, 100, 1_000, 3_000, 10_000, 30_000) if each <= most):
            samples = [await replayed(system, x) for _ in range(max(1, min(3, n // x)))]
            curve.points.append({"x": x, **{name: round(value, 2) for name, value in median_by_role(samples).items()}})
            tell(curve)
    return curve


async def replayed(system: Ours, steps: int) -> dict[str, float]:
    """One run of so many steps, written by one worker and read by another."""
    meter = Meter(system)
    handle = await system.start_run("long", steps)
    await system.until_parked([handle])
    append = meter.figures(steps)
    await system.stop_worker()
    await system.start_worker()
    # One that waits for it: the first run of a new worker pays for what is imported late.
    await noop(system)
    meter = Meter(system)
    await system.send_event(handle, 1)
    await system.result(handle)
    replay = meter.figures(steps)
    return {
        "append_server_us": append["cpu_us"]["server"],
        "append_worker_us": append["cpu_us"]["worker"],
        "append_us": append["seconds"] / steps * 1e6,
        "replay_ms": replay["seconds"] * 1000,
        "replay_worker_us": replay["cpu_us"]["worker"],
    }


async def million(most: int, n: int) -> Curve:
    """A store full of parked runs, most of which no worker has in memory; and a worker that joins."""
    curve = Curve(
        "million", "a store full of parked runs", "parked runs in the store",
        flat={"server_us": 1_000, "joins_s": 1_000, "bytes_each": 10_000},
    )  # fmt: skip
    async with running() as system:
        await throughput("noop")(system, n, AT_ONCE)
        held = there = 0
        for x in decades(1_000, most):
            # Without what the measurements leave behind.
            before = used_memory(system.server)
            await park(system, x - there)
            there = x
            held += used_memory(system.server) - before
            await system.stop_worker()
            started = perf_counter()
            await system.start_worker()
            joined = perf_counter() - started
            await noop(system)
            served = perf_counter() - started
            cpu = await per_run(system, n)
            curve.points.append(
                {"x": x, "bytes_each": round(held / x), "joins_s": round(joined, 3), "serves_s": round(served, 3),
                 **micro(cpu)}
            )  # fmt: skip
            tell(curve)
    return curve


def decades(first: int, last: int) -> list[int]:
    """Powers of ten from one number to another."""
    found = [first]
    while found[-1] * 10 <= last:
        found.append(found[-1] * 10)
    return found


def micro(cpu: dict[str, float]) -> dict[str, float]:
    return {f"{role}_us": round(cpu[role], 1) for role in ("server", "worker")}


def tell(curve: Curve) -> None:
    print(f"{curve.name}: {json.dumps(curve.points[-1])}", file=sys.stderr, flush=True)


Measure = Callable[[int, int], Coroutine[Any, Any, Curve]]
CURVES: dict[str, tuple[Measure, int, int, int]] = {
    "store": (store, 1_000_000, 10_000, 2_000),
    "parked": (parked, 10_000, 10_000, 2_000),
    "children": (children, 10_000, 1_000, 5_000),
    "journal": (journal, 10_000, 3_000, 3_000),
    "million": (million, 1_000_000, 10_000, 2_000),
}
"""By name: how it is measured, up to which x, up to which with `--quick`; runs or children of one measurement."""
