"""One function per case; each returns the figures of its JSON line."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from benchmarks import flows
from benchmarks.rig import Rig, peak_kib, rss_kib
from durable_async import Workflow

Case = Callable[[Rig, argparse.Namespace], Awaitable[dict[str, Any]]]


async def _many(rig: Rig, workflow: Workflow[Any, Any], n: int, in_flight: int) -> float:
    """Runs `n` runs, so many at once; seconds from the first start to the last result."""
    numbers = iter(range(n))

    async def lane() -> None:
        for i in numbers:
            handle = await rig.durable.start(workflow, i)
            await handle.result()

    started = perf_counter()
    await asyncio.gather(*(lane() for _ in range(in_flight)))
    return perf_counter() - started


def _throughput(workflow: Workflow[Any, Any], per_run: int) -> Case:
    async def case(rig: Rig, options: argparse.Namespace) -> dict[str, Any]:
        await _many(rig, workflow, min(500, options.n), options.in_flight)
        before = rig.cpu_s()
        seconds = await _many(rig, workflow, options.n, options.in_flight)
        after = rig.cpu_s()
        cpu = {name: round((after[name] - before[name]) / options.n * 1e6, 1) for name in after}
        return {"rate": round(options.n * per_run / seconds, 1), "cpu_us": cpu}

    return case


def _latency(workflow: Workflow[Any, Any]) -> Case:
    async def case(rig: Rig, options: argparse.Namespace) -> dict[str, Any]:
        times = []
        for i in range(options.n + 50):
            started = perf_counter()
            handle = await rig.durable.start(workflow, i)
            await handle.result()
            times.append((perf_counter() - started) * 1000)
        times = sorted(times[50:])
        return {"p50_ms": round(times[len(times) // 2], 3), "p99_ms": round(times[len(times) * 99 // 100], 3)}

    return case


def _fanout(workflow: Workflow[int, int]) -> Case:
    async def case(rig: Rig, options: argparse.Namespace) -> dict[str, Any]:
        await (await rig.durable.start(workflow, 100)).result()
        before, idle_kib = rig.cpu_s(), rss_kib(rig.worker_pid)
        idle_server_kib = rss_kib(rig.server.pid)
        started = perf_counter()
        await (await rig.durable.start(workflow, options.n)).result()
        seconds = perf_counter() - started
        after = rig.cpu_s()
        cpu = {name: round((after[name] - before[name]) / options.n * 1e6, 1) for name in after}
        return {
            "seconds": round(seconds, 4),
            "cpu_us": cpu,
            "worker_peak_mib": round((peak_kib(rig.worker_pid) - idle_kib) / 1024, 1),
            "server_peak_mib": round((peak_kib(rig.server.pid) - idle_server_kib) / 1024, 1),
        }

    return case


async def _parked(rig: Rig, options: argparse.Namespace) -> dict[str, Any]:
    await _park(rig, 1_000, 0)
    before = (rss_kib(rig.worker_pid), int((await rig.server_info())["used_memory"]))
    await _park(rig, options.n, 1_000)
    after = (rss_kib(rig.worker_pid), int((await rig.server_info())["used_memory"]))
    return {
        "worker_kib": round((after[0] - before[0]) / options.n, 3),
        "server_kib": round((after[1] - before[1]) / 1024 / options.n, 3),
    }


async def _park(rig: Rig, n: int, first: int) -> None:
    numbers = iter(range(first, first + n))

    async def lane() -> None:
        for i in numbers:
            await rig.durable.start(flows.parked, i, id=f"parked-{i:08d}")

    await asyncio.gather(*(lane() for _ in range(50)))
    store = rig.durable._session.store
    for i in range(first, first + n):
        key = store.keys.run(f"parked-{i:08d}")
        while await store.caller.call(("HGET", key, "status")) != b"parked":
            await asyncio.sleep(0.05)


CASES: dict[str, tuple[Case, int]] = {
    "noop": (_throughput(flows.noop, 1), 20_000),
    "steps10": (_throughput(flows.steps10, 10), 3_000),
    "call_child": (_throughput(flows.parent, 1), 8_000),
    "latency": (_latency(flows.noop), 2_000),
    "child_latency": (_latency(flows.parent), 1_000),
    "fanout": (_fanout(flows.fanout), 1_000),
    "map": (_fanout(flows.mapped), 10_000),
    "parked": (_parked, 10_000),
}
"""By name: the case, and its usual n."""
