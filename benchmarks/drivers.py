"""What the client does in each case, the same code for every system; returns what it found.

Rates are per second. `cpu_us` is CPU per unit (run, child, event) in µs, by role. Every driver warms up first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter, time
from typing import Any

from benchmarks.processes import cpu_s, forget_peak, peak_kib, rss_kib
from benchmarks.systems import Figures, System

Driver = Callable[[System, int, int], Awaitable[Figures]]

_numbers = iter(range(1, 1 << 40))
"""Arguments of runs: each once per process, so that no bell is mistaken for an earlier one."""


def warm_up(n: int) -> int:
    """How many before those that count."""
    return max(1, min(300, n // 5))


class Meter:
    """Time and CPU by role between its making and `figures`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._before = self._cpu()
        self._started = perf_counter()

    def _cpu(self) -> dict[str, float]:
        return {role: cpu_s(pids) for role, pids in self._system.processes().items()}

    def figures(self, units: int) -> Figures:
        seconds = perf_counter() - self._started
        after = self._cpu()
        cpu = {role: round((after[role] - self._before.get(role, 0.0)) / units * 1e6, 1) for role in after}
        return {"rate": round(units / seconds, 1), "seconds": round(seconds, 4), "cpu_us": cpu}


async def one(system: System, flow: str) -> Any:
    """One run, from its start to its end as the client sees it."""
    arg = next(_numbers)
    handle = await system.start_run(flow, arg)
    if system.completion == "bell":
        return await system.bell.wait(arg)
    return await system.result(handle)


async def lanes(n: int, in_flight: int, do: Callable[[], Awaitable[Any]]) -> None:
    """Does it `n` times, so many at once."""
    numbers = iter(range(n))

    async def lane() -> None:
        for _ in numbers:
            await do()

    await asyncio.gather(*(lane() for _ in range(min(n, in_flight))))


def throughput(flow: str) -> Driver:
    """Many runs at once, each awaited by who started it."""

    async def drive(system: System, n: int, in_flight: int) -> Figures:
        await lanes(warm_up(n), in_flight, lambda: one(system, flow))
        meter = Meter(system)
        await lanes(n, in_flight, lambda: one(system, flow))
        return meter.figures(n)

    return drive


def latency(flow: str) -> Driver:
    """One at a time, from the call to the result."""

    async def drive(system: System, n: int, in_flight: int) -> Figures:
        del in_flight
        times = []
        for i in range(n + warm_up(n)):
            started = perf_counter()
            await one(system, flow)
            if i >= warm_up(n):
                times.append((perf_counter() - started) * 1000)
        return quantiles(times)

    return drive


def quantiles(times_ms: list[float]) -> Figures:
    """The median and the one in a hundred."""
    times_ms = sorted(times_ms)
    return {
        "p50_ms": round(times_ms[len(times_ms) // 2], 3),
        "p99_ms": round(times_ms[min(len(times_ms) - 1, len(times_ms) * 99 // 100)], 3),
    }


def fan_out(flow: str) -> Driver:
    """One parent with `n` children."""

    async def drive(system: System, n: int, in_flight: int) -> Figures:
        del in_flight
        await system.result(await system.start_run(flow, min(n, 100)))
        pids = {role: each for role, each in system.processes().items() if "client" not in role}
        idle = {role: rss_kib(each) for role, each in pids.items()}
        for each in pids.values():
            forget_peak(each)
        meter = Meter(system)
        await system.result(await system.start_run(flow, n))
        peak = {role: round((peak_kib(each) - idle[role]) / 1024, 1) for role, each in pids.items()}
        return {**meter.figures(n), "peak_mib": peak}

    return drive


async def start_only(system: System, n: int, in_flight: int) -> Figures:
    """Starts, as fast as the client can; ends when the last one is accepted, with the worker at work beside it."""
    handles: list[Any] = []

    async def start() -> None:
        handles.append(await system.start_run("noop", next(_numbers)))

    await lanes(warm_up(n), in_flight, start)
    meter = Meter(system)
    await lanes(n, in_flight, start)
    figures = meter.figures(n)
    await _settle(system, handles)
    return figures


async def _settle(system: System, handles: list[Any]) -> None:
    """What was started ends before something else is measured."""
    if system.kind == "durable":
        for handle in handles:
            await system.result(handle)


async def _park(system: System, n: int, in_flight: int, arg: int = 1) -> list[Any]:
    handles: list[Any] = []

    async def start() -> None:
        handles.append(await system.start_run("wait", arg))

    await lanes(n, in_flight, start)
    await system.until_parked(handles)
    return handles


async def parked(system: System, n: int, in_flight: int) -> Figures:
    """Memory of runs that wait; then each is sent its event: `wake` is from the first event to the last result."""
    await _wake(system, await _park(system, warm_up(n), in_flight), in_flight)
    workers = [pid for role, pids in system.processes().items() if "worker" in role for pid in pids]
    before = rss_kib(workers), system.server_bytes()
    meter = Meter(system)
    handles = await _park(system, n, in_flight)
    found = {
        "worker_kib": round(max(0, rss_kib(workers) - before[0]) / n, 3),
        "server_kib": round((system.server_bytes() - before[1]) / 1024 / n, 3),
        "park": meter.figures(n),
    }
    meter = Meter(system)
    await _wake(system, handles, in_flight)
    return {**found, "wake": meter.figures(n)}


async def _wake(system: System, handles: list[Any], in_flight: int) -> None:
    waiting = iter(handles)

    async def do() -> None:
        handle = next(waiting)
        await system.send_event(handle, 1)
        await system.result(handle)

    await lanes(len(handles), in_flight, do)


EVENTS_EACH = 10


async def events(system: System, n: int, in_flight: int) -> Figures:
    """`n` events into runs that take ten each, one after the other."""
    runs = max(1, n // EVENTS_EACH)
    await _wake(system, await _park(system, warm_up(runs), in_flight), in_flight)
    handles = iter(await _park(system, runs, in_flight, EVENTS_EACH))

    async def do() -> None:
        handle = next(handles)
        for i in range(EVENTS_EACH):
            await system.send_event(handle, i)
        await system.result(handle)

    meter = Meter(system)
    await lanes(runs, in_flight, do)
    return meter.figures(runs * EVENTS_EACH)


HISTOGRAM_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


async def timers(system: System, n: int, in_flight: int, spread_s: float = 2.0) -> Figures:
    """`n` runs that sleep until moments spread over some seconds: how late each woke."""
    system.bell.clear()
    # All are to sleep before the first is due.
    starting_s = max(1.0, n / 2_500)
    first = (time() + starting_s) * 1000
    dues = iter([int(first + spread_s * 1000 * i / n) for i in range(n)])
    handles: list[Any] = []

    async def do() -> None:
        handles.append(await system.start_run("timer", next(dues)))

    meter = Meter(system)
    await lanes(n, in_flight, do)
    was_late = time() * 1000 > first
    for handle in handles:
        await system.result(handle)
    late = sorted(heard - due for due, heard in system.bell.rung)
    histogram = {f"<={top} ms": sum(1 for each in late if each <= top) for top in HISTOGRAM_MS}
    found = {**meter.figures(n), **quantiles(late), "max_ms": round(late[-1], 1), "early": sum(x < 0 for x in late)}
    return {**found, "woken": len(late), "late_by": histogram, "started_in_time": not was_late}


async def recover(system: System, n: int, in_flight: int) -> Figures:
    """The worker is killed amid runs of ten steps; another is started at once: from the kill to the last result."""
    handles: list[Any] = []

    async def start() -> None:
        handles.append(await system.start_run("slow10", next(_numbers)))

    await lanes(n, in_flight, start)
    await asyncio.sleep(0.25)
    started = perf_counter()
    await system.kill_worker()
    await system.start_worker()
    ready = perf_counter()
    for handle in handles:
        await system.result(handle)
    return {"seconds": round(perf_counter() - started, 3), "worker_start_s": round(ready - started, 3)}


async def replay(system: System, n: int, in_flight: int) -> Figures:
    """One run of `n` steps: what a step costs as the journal grows; then by another worker, from the journal."""
    del in_flight
    meter = Meter(system)
    handle = await system.start_run("long", n)
    await system.until_parked([handle])
    append = meter.figures(n)
    await system.stop_worker()
    await system.start_worker()
    meter = Meter(system)
    await system.send_event(handle, 1)
    await system.result(handle)
    found = meter.figures(n)
    return {"replay_ms": round(found["seconds"] * 1000, 2), "cpu_us": found["cpu_us"], "append": append}


MIXED = ("noop", "noop", "noop", "noop", "noop", "steps10", "steps10", "parent", "parent", "wait")


async def mixed(system: System, n: int, in_flight: int) -> Figures:
    """Of ten runs five of one step, two of ten, two with a child, and one that waits for an event."""
    flows = iter(MIXED[i % len(MIXED)] for i in range(n + warm_up(n)))

    async def do() -> None:
        flow = next(flows)
        if flow != "wait":
            await one(system, flow)
            return
        handle = await system.start_run(flow, 1)
        await system.send_event(handle, 1)
        await system.result(handle)

    await lanes(warm_up(n), in_flight, do)
    meter = Meter(system)
    await lanes(n, in_flight, do)
    return meter.figures(n)


DRIVERS: dict[str, Driver] = {
    "noop": throughput("noop"),
    "steps10": throughput("steps10"),
    "call_child": throughput("parent"),
    "fanout": fan_out("fanout"),
    "map": fan_out("mapped"),
    "latency": latency("noop"),
    "child_latency": latency("parent"),
    "start_only": start_only,
    "parked": parked,
    "events": events,
    "timers": timers,
    "recover": recover,
    "replay": replay,
    "mixed": mixed,
}
