"""The cases: what is asked of every system that offers them, in which units, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question."""

    title: str
    figure: str
    """Which of the figures is the answer; `a.b` is the figure b of the part a."""
    unit: str
    is_more_better: bool = True
    n: int
    """At most, in a full report; a slow system is asked for fewer, so that it takes some seconds, unless `is_fixed`."""
    quick_n: int
    in_flight: int = 500
    is_fixed: bool = False
    """Whether n is a part of the question."""
    driver: str = ""
    """The driver that finds it, if that is not the one of its own name: one measurement may answer several cases."""
    is_slow: bool = False
    """Whether most of it is waiting: left out of quick reports."""

    def answer(self, figures: dict[str, Any]) -> float | None:
        """The figure that counts, out of what a driver found; None if that did not measure it."""
        found: Any = figures
        for name in self.figure.split("."):
            if name not in found:
                return None
            found = found[name]
        return float(found)

    def part(self, figures: dict[str, Any]) -> dict[str, Any]:
        """What belongs to this case, out of what a driver found: of `a.b` the part a, else everything."""
        name, dot, _ = self.figure.partition(".")
        found: dict[str, Any] = figures[name] if dot else figures
        return found


def _ms(title: str, n: int, quick_n: int, figure: str = "p50_ms", **more: Any) -> Case:
    return Case(title=title, figure=figure, unit="ms", is_more_better=False, n=n, quick_n=quick_n, **more)


def _seconds(title: str, n: int, quick_n: int, **more: Any) -> Case:
    return Case(title=title, figure="seconds", unit="s", is_more_better=False, n=n, quick_n=quick_n, **more)


CASES: dict[str, Case] = {
    # First, since a worker's memory is measured: what other cases leave in it would be reused.
    "parked": Case(
        title="memory of a parked run, worker", figure="worker_kib", unit="KiB", is_more_better=False,
        n=10_000, quick_n=2_000,
    ),
    "woken": Case(
        title="parked runs, each woken by an event", figure="wake.rate", unit="runs/s", n=10_000, quick_n=2_000,
        driver="parked",
    ),
    "noop": Case(title="one step", figure="rate", unit="runs/s", n=10_000, quick_n=3_000),
    "steps10": Case(title="ten steps in a row", figure="rate", unit="runs/s", n=1_500, quick_n=500),
    "call_child": Case(title="one child", figure="rate", unit="parents/s", n=4_000, quick_n=1_500),
    "mixed": Case(title="a mixture", figure="rate", unit="runs/s", n=4_000, quick_n=1_000),
    "start_only": Case(title="starts alone", figure="rate", unit="starts/s", n=10_000, quick_n=3_000),
    "events": Case(title="events into waiting runs", figure="rate", unit="events/s", n=10_000, quick_n=3_000),
    "latency": _ms("start to result, one at a time", 500, 150),
    "child_latency": _ms("the same with a child", 300, 100),
    "fanout": _seconds("1,000 children at once", 1_000, 1_000, is_fixed=True),
    "map": Case(title="10,000 children by map", figure="rate", unit="children/s", n=10_000, quick_n=2_000),
    "timers": _ms("timers: how late, half of them", 10_000, 2_000),
    "append": Case(
        title="steps of one run, one after the other", figure="append.rate", unit="steps/s", n=5_000, quick_n=5_000,
        in_flight=1, is_fixed=True, driver="replay",
    ),
    "replay": _ms(
        "a journal of 5,000 steps read by another worker", 5_000, 5_000, "replay_ms", in_flight=1, is_fixed=True
    ),
    "recover": _seconds("kill -9 of the worker to the last result", 100, 100, is_fixed=True, is_slow=True),
}  # fmt: skip
"""By name, in the order in which one system goes through them."""


def driver_of(case: str) -> str:
    """The driver that answers a case."""
    return CASES[case].driver or case


def answered(offered: Iterable[str]) -> list[str]:
    """The cases that are answered by the drivers of some cases, which may be more than these."""
    drivers = {driver_of(case) for case in offered if case in CASES}
    return [case for case in CASES if driver_of(case) in drivers]


def drivers_of(cases: Iterable[str]) -> list[str]:
    """The drivers that answer some cases, each once, in the order of `CASES`."""
    wanted = {driver_of(case) for case in cases}
    return [case for case in CASES if case in wanted]
