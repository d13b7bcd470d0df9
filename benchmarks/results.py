"""What a report has measured, asked for in the words of its tables. Reads what `benchmarks.report` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.cases import CASES, answered, driver_of
from benchmarks.stats import Summary, median_by_role, summarize, times_better

OURS, OURS_ALWAYS, FLOOR = "durable-async", "durable-async-always", "floor"
SHORT_LEASE = "durable-async-lease-2s"
OWN = (OURS, OURS_ALWAYS, SHORT_LEASE)


class Results:
    """One report."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.systems: dict[str, dict[str, Any]] = data["systems"]

    def samples(self, case: str, system: str) -> list[dict[str, Any]]:
        """The figures of each repeat."""
        wanted = (driver_of(case), system)
        return [each["figures"] for each in self.data["samples"] if (each["case"], each["system"]) == wanted]

    def n(self, case: str, system: str) -> int:
        """How many were asked for; 0 if nothing was."""
        wanted = (driver_of(case), system)
        return next((each["n"] for each in self.data["samples"] if (each["case"], each["system"]) == wanted), 0)

    def summary(self, case: str, system: str) -> Summary | None:
        """The answer to a case; None where the system does not offer it, or failed."""
        samples = self.samples(case, system) if case in self.offered(system) else []
        answers = [answer for each in samples if (answer := CASES[case].answer(each)) is not None]
        return summarize(answers) if answers else None

    def cpu(self, case: str, system: str) -> dict[str, float]:
        """Median CPU per unit in µs, by role; empty where it was not measured."""
        parts = [CASES[case].part(each) for each in self.samples(case, system)]
        return median_by_role([each["cpu_us"] for each in parts if "cpu_us" in each])

    def figure(self, case: str, system: str, name: str) -> Summary | None:
        """Another figure than the answer, of a case or of the part that it is."""
        parts = [CASES[case].part(each) for each in self.samples(case, system)]
        found = [float(each[name]) for each in parts if name in each]
        return summarize(found) if found else None

    def offered(self, system: str) -> set[str]:
        """The cases that a system answers."""
        return set(answered(self.systems.get(system, {}).get("cases", ())))

    def cases(self) -> list[str]:
        """Those that were measured, in order."""
        measured = {each["case"] for each in self.data["samples"]}
        return [case for case in self.data["cases"] if driver_of(case) in measured]

    def peers(self, kind: str) -> list[str]:
        """Systems of others, of one kind."""
        return [name for name, facts in self.systems.items() if facts["kind"] == kind and name not in OWN]

    def is_comparable(self, case: str, system: str) -> bool:
        """Whether it was asked for as many as we were, where n is a part of the question."""
        return not CASES[case].is_fixed or self.n(case, system) == self.n(case, OURS) or not self.n(case, OURS)

    def best(self, case: str, systems: Iterable[str]) -> tuple[str, float] | None:
        """The best of some systems in a case, by its median; those asked for another n than we, if n matters, aside."""
        found = {}
        for name in systems:
            summary = self.summary(case, name)
            if summary and self.is_comparable(case, name):
                found[name] = summary.median
        if not found:
            return None
        name = (max if CASES[case].is_more_better else min)(found, key=found.__getitem__)
        return name, found[name]

    def ahead(self, case: str, systems: Iterable[str], ours: str = OURS) -> tuple[str, float] | None:
        """How many times better than the best of them we are."""
        best, own = self.best(case, systems), self.summary(case, ours)
        if not best or not own:
            return None
        return best[0], times_better(own.median, best[1], is_more_better=CASES[case].is_more_better)


Verdict = tuple[str, str, str, bool | None]
"""What is wanted, what was found, against what; whether it is met, None if it was not measured."""


def verdicts(results: Results) -> list[Verdict]:
    """The targets of the project, and what became of them."""
    durable, queues = results.peers("durable"), results.peers("queue")
    asyncio_queues = [name for name in queues if not name.startswith("dramatiq")]
    wanted: list[tuple[str, str, list[str], float]] = [
        ("noop", "durable engine", durable, 12),
        ("steps10", "durable engine", durable, 8),
        ("call_child", "durable engine", durable, 9),
        ("fanout", "durable engine", durable, 15),
        ("latency", "durable engine", durable, 6),
        ("child_latency", "durable engine", durable, 6),
        ("parked", "durable engine", durable, 6),
        ("noop", "plain asyncio queue", asyncio_queues, 7),
        ("noop", "plain queue of any kind", queues, 5),
    ]
    found = [_ahead(results, *each) for each in wanted]
    return [*found, _woken(results), *_always(results), *_floor(results), _worker_cpu(results)]


def _ahead(results: Results, case: str, whom: str, systems: list[str], times: float) -> Verdict:
    ahead = results.ahead(case, systems)
    label = f"{case}: ≥ {times:g} x the best {whom}"
    if ahead is None:
        return label, "not measured", "", None
    return label, f"{ahead[1]:.2g} x", ahead[0], ahead[1] >= times


def _woken(results: Results) -> Verdict:
    label = "10,000 parked runs woken by events in ≤ 2 s"
    seconds = results.figure("woken", OURS, "seconds")
    if seconds is None or results.n("woken", OURS) < 10_000:
        return label, "not measured", "", None
    return label, f"{seconds.median:.2f} s", "", seconds.median <= 2.0


def _always(results: Results) -> list[Verdict]:
    """Whether syncing each write costs at most a fifth, in the cases that count runs."""
    found: list[Verdict] = []
    for case in ("noop", "steps10", "call_child", "fanout"):
        ahead = results.ahead(case, [OURS], OURS_ALWAYS)
        label = f"{case}: with `appendfsync always` ≥ 80 % of everysec"
        if ahead is None:
            found.append((label, "not measured", "", None))
        else:
            found.append((label, f"{ahead[1]:.0%}", "", ahead[1] >= 0.8))
    return found


def _floor(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    for case in ("noop", "steps10", "call_child", "fanout"):
        label = f"{case}: server CPU ≤ 2.5 x of the floor"
        times = floor_times(results, case, OURS)
        if times is None:
            found.append((label, "not measured", "", None))
        else:
            found.append((label, f"{times:.2g} x", "", times <= 2.5))
    return found


def _worker_cpu(results: Results) -> Verdict:
    label = "noop: ≤ 60 µs of worker CPU"
    cpu = results.cpu("noop", OURS).get("worker")
    if cpu is None:
        return label, "not measured", "", None
    return label, f"{cpu:.0f} µs", "", cpu <= 60


def floor_times(results: Results, case: str, system: str, floor: str = FLOOR) -> float | None:
    """The server's CPU per unit of a system, in multiples of the floor's."""
    mine, least = results.cpu(case, system).get("server"), results.cpu(case, floor).get("server")
    return mine / least if mine and least else None


Cell = Callable[[str, str], str]
"""What a table has in one place: by case and system."""
