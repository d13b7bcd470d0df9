"""The cases: what is asked of every system that offers them, in which units, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question."""

    title: str
    figure: str
    """Which of the figures is the answer."""
    unit: str
    is_more_better: bool = True
    n: int
    """Of a full report, for the fastest systems; others are asked for fewer, so that each takes a few seconds."""
    quick_n: int
    in_flight: int = 500
    needs_fresh: bool = False
    """Whether it is to find an empty store and an idle worker: what is left by other cases would show."""


CASES: dict[str, Case] = {
    "noop": Case(title="one step", figure="rate", unit="runs/s", n=10_000, quick_n=3_000),
    "steps10": Case(title="ten steps in a row", figure="rate", unit="runs/s", n=1_500, quick_n=500),
    "call_child": Case(title="one child", figure="rate", unit="parents/s", n=4_000, quick_n=1_500),
    "fanout": Case(
        title="1,000 children at once", figure="seconds", unit="s", is_more_better=False, n=1_000, quick_n=1_000
    ),
    "map": Case(
        title="10,000 children by map", figure="seconds", unit="s", is_more_better=False, n=10_000, quick_n=2_000
    ),
    "mixed": Case(title="a mixture", figure="rate", unit="runs/s", n=4_000, quick_n=1_000),
    "latency": Case(
        title="start to result, one at a time", figure="p50_ms", unit="ms", is_more_better=False, n=500, quick_n=150
    ),
    "child_latency": Case(
        title="the same with a child", figure="p50_ms", unit="ms", is_more_better=False, n=300, quick_n=100
    ),
    "start_only": Case(title="starts", figure="rate", unit="starts/s", n=10_000, quick_n=3_000),
    "events": Case(title="events into waiting runs", figure="rate", unit="events/s", n=10_000, quick_n=3_000),
    "woken": Case(
        title="10,000 parked runs, each woken by an event", figure="seconds", unit="s", is_more_better=False,
        n=10_000, quick_n=2_000,
    ),
    "parked": Case(
        title="memory of a parked run in the worker", figure="worker_kib", unit="KiB", is_more_better=False,
        n=10_000, quick_n=2_000, needs_fresh=True,
    ),
    "timers": Case(
        title="10,000 timers: how late", figure="p50_ms", unit="ms", is_more_better=False, n=10_000, quick_n=2_000,
        needs_fresh=True,
    ),
    "replay": Case(
        title="a journal of 5,000 steps read by another worker", figure="replay_ms", unit="ms", is_more_better=False,
        n=5_000, quick_n=2_000, in_flight=1, needs_fresh=True,
    ),
    "recover": Case(
        title="kill -9 of the worker to the last result", figure="seconds", unit="s", is_more_better=False,
        n=100, quick_n=100, needs_fresh=True,
    ),
}  # fmt: skip
"""By name."""
