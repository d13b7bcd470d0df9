"""Arithmetic of a report: medians, spreads, ratios. Knows no systems and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Summary:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float
    quarter: float
    three_quarters: float
    count: int


def summarize(values: Sequence[float]) -> Summary:
    """Of at least one value; quarters are interpolated between neighbours."""
    ordered = sorted(values)
    return Summary(
        median=median(ordered),
        low=ordered[0],
        high=ordered[-1],
        quarter=quantile(ordered, 0.25),
        three_quarters=quantile(ordered, 0.75),
        count=len(ordered),
    )


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value below which so large a part lies, interpolated; of values in order."""
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def times_better(ours: float, theirs: float, *, is_more_better: bool) -> float:
    """How many times better we are; below 1 we are worse. Infinite where the better one is 0."""
    better, worse = (ours, theirs) if is_more_better else (theirs, ours)
    return better / worse if worse else float("inf")


def median_by_role(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each role over some measurements, of those that have it."""
    roles = dict.fromkeys(role for sample in samples for role in sample)
    return {role: median([sample[role] for sample in samples if role in sample]) for role in roles}


def fitting(seconds_each: float, per_unit_s: float, least: int, most: int) -> int:
    """How many units take so many seconds: two digits of it, within bounds."""
    if per_unit_s <= 0:
        return most
    wanted = max(least, min(most, int(seconds_each / per_unit_s)))
    scale = int("1" + "0" * (len(str(wanted)) - 2)) if wanted > 99 else 1
    return max(least, wanted // scale * scale)


def short(number: float) -> str:
    """For people: three digits that count, and commas."""
    if number == float("inf"):
        return "∞"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
