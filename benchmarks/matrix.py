"""Every case x system, round-robin: which, how many, in which order; and the samples.

A repeat is one round over all systems, each started anew and asked for all of its cases; each round begins with another
system. So whatever the machine does in the meantime meets all of them alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from benchmarks.cases import CASES, answered, drivers_of
from benchmarks.host import Found, Host, SystemFailed
from benchmarks.results import OWN
from benchmarks.stats import fitting

CASE_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 20.0
"""Of the try before: who has not done so few by then is too slow for this report, which says so."""
LONGEST_S = 8.0
"""Of one measurement whose n is a part of the question; a system that would take longer is asked for fewer."""


@dataclass(slots=True)
class Plan:
    """What is to be measured."""

    systems: dict[str, Found]
    cases: list[str]
    repeats: int
    is_quick: bool
    options: dict[str, Any]
    seconds_each: float
    """How long one measurement is to take."""
    budget_s: float
    """All of it; `seconds_each` is lowered to fit."""


@dataclass(slots=True)
class Outcome:
    """What was measured."""

    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


Asker = Callable[[str, int, int, float], dict[str, Any]]


class Matrix:
    """The run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._outcome = Outcome()
        self._n: dict[tuple[str, str], int] = {}
        self._unit_s: dict[tuple[str, str], float] = {}
        self._around_s: dict[str, float] = {}
        """Of each system, what a round takes beside what grows with n."""
        self._begun = 0.0
        self._failures: dict[str, int] = dict.fromkeys(plan.systems, 0)

    def run(self) -> Outcome:
        """All of it; takes minutes, and says on standard error how far it is."""
        self._begun = begun = monotonic()
        self._assume()
        unknown = [name for name in self._plan.systems if not self._is_known(name)]
        self._round("calibrating", unknown, self._calibrate)
        self._choose(self._plan.budget_s - (monotonic() - begun))
        for repeat in range(self._plan.repeats):
            names = list(self._plan.systems)
            turn = repeat % len(names)
            self._round(f"round {repeat + 1}", names[turn:] + names[:turn], lambda *a, r=repeat: self._sample(r, *a))
        self._outcome.seconds = monotonic() - begun
        return self._outcome

    def _is_known(self, system: str) -> bool:
        return system in OWN or self._plan.systems[system].kind == "floor"

    def _assume(self) -> None:
        """Ours, and the floor, are asked for as many as there are, without a try."""
        for name in filter(self._is_known, self._plan.systems):
            self._around_s[name] = 2.0
            for driver in self.drivers(name):
                self._n[name, driver] = self._most(driver)
                self._unit_s[name, driver] = self._plan.seconds_each / self._most(driver)

    def _most(self, driver: str) -> int:
        return CASES[driver].quick_n if self._plan.is_quick else CASES[driver].n

    def drivers(self, system: str) -> list[str]:
        """What one system is asked for."""
        offered = answered(self._plan.systems[system].cases)
        return drivers_of(case for case in self._plan.cases if case in offered)

    def _round(self, title: str, names: list[str], each: Callable[[str, str, Host], None]) -> None:
        for name in names:
            if self._failures[name] > 1:
                continue
            print(f"{monotonic() - self._begun:5.0f} s  {title}: {name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryFile() as log:
                try:
                    self._one(name, each, log)
                except SystemFailed as error:
                    self._failures[name] += 1
                    log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                    print(f"{name}: {error}\n{log.read().decode(errors='replace')}", file=sys.stderr, flush=True)
                    self._outcome.errors.append({"system": name, "error": str(error), "round": title})

    def _one(self, name: str, each: Callable[[str, str, Host], None], log: Any) -> None:
        begun = monotonic()
        host = Host(self._plan.systems[name], self._plan.options, log)
        asked = 0.0
        try:
            self._outcome.systems[name] = {"kind": self._plan.systems[name].kind, **host.facts}
            for driver in self.drivers(name):
                if (name, driver) in self._n or each == self._calibrate:
                    before = monotonic()
                    each(name, driver, host)
                    asked += monotonic() - before
        finally:
            host.stop()
            self._around_s.setdefault(name, monotonic() - begun - asked)

    def _calibrate(self, name: str, driver: str, host: Host) -> None:
        case = CASES[driver]
        self._n[name, driver] = self._most(driver)
        if case.is_slow or driver == "timers":
            self._unit_s[name, driver] = self._unit_s.get((name, "noop"), 0.0)
            return
        figures = host.ask(driver, probe_n(driver), case.in_flight, PROBE_TIMEOUT_S)
        if "error" in figures:
            self._outcome.errors.append({"system": name, "case": driver, "n": probe_n(driver), **figures})
            del self._n[name, driver]
            return
        self._unit_s[name, driver] = unit_s(figures)

    def _choose(self, budget_s: float) -> None:
        around = sum(self._around_s.values())
        seconds = self._plan.seconds_each
        while self._plan.repeats * (around + self._total(seconds)) > budget_s and seconds > 0.2:
            seconds *= 0.9
        self._set(seconds)
        total = self._plan.repeats * (around + self._total(seconds))
        print(f"about {total / 60:.0f} minutes, {seconds:.2f} s each", file=sys.stderr, flush=True)

    def _total(self, seconds: float) -> float:
        self._set(seconds)
        # What is warmed up and settled is about a third more; timers and the killed worker wait whatever n is.
        waits = {"timers": 6.0, "recover": 10.0}
        return sum(1.3 * n * self._unit_s[key] + 0.1 + waits.get(key[1], 0.0) for key, n in self._n.items())

    def _set(self, seconds: float) -> None:
        for name, driver in self._n:
            case, most = CASES[driver], self._most(driver)
            if driver == "recover" or self._is_known(name):
                continue
            # As many timers as it wakes in their time.
            target = LONGEST_S if case.is_fixed else 2.0 if driver == "timers" else seconds
            self._n[name, driver] = fitting(target, self._unit_s[name, driver], min(most, probe_n(driver)), most)

    def _sample(self, repeat: int, name: str, driver: str, host: Host) -> None:
        n = self._n[name, driver]
        figures = host.ask(driver, n, CASES[driver].in_flight, CASE_TIMEOUT_S)
        where = {"case": driver, "system": name, "repeat": repeat, "n": n}
        if "error" in figures:
            self._outcome.errors.append({**where, "error": figures["error"]})
        else:
            self._outcome.samples.append({**where, "figures": figures})


def probe_n(driver: str) -> int:
    """How many tell how many are enough."""
    return max(20, CASES[driver].n // 50)


def unit_s(figures: Mapping[str, Any]) -> float:
    """Seconds that one unit takes, out of whatever a driver found."""
    total = 0.0
    for part in (figures, *(figures[name] for name in ("park", "wake", "append") if name in figures)):
        if "rate" in part:
            total += 1 / part["rate"] if part["rate"] else 0.0
        elif "p50_ms" in part:
            total += part["p50_ms"] / 1000
    return total
