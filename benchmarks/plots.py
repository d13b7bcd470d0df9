"""Plots of a report, as SVG and PNG. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.results import OWN, Results
from benchmarks.stats import short

INK, FAINT = "#24292f", "#d0d7de"
COLOURS = {"ours": "#0b6bcb", "durable": "#8c959f", "queue": "#d9b44a", "floor": "#5a9e6f"}
OVERVIEW = ("noop", "steps10", "call_child", "fanout", "latency", "child_latency", "woken", "parked")


def draw(results: Results, folder: Path) -> None:
    """`overview`, for the README; `cases` with all cases; `cpu`; `timers`."""
    import matplotlib as mpl

    mpl.use("Agg")
    overview = [case for case in OVERVIEW if case in results.cases()]
    for cases, name in ((overview, "overview"), (results.cases(), "cases")):
        if cases:
            bars(results, cases, folder / name, columns=4)
    cpu(results, folder / "cpu")
    timers(results, folder / "timers")


def bars(results: Results, cases: Sequence[str], path: Path, columns: int) -> None:
    """A small chart for each case, a bar for each system, with its spread."""
    from matplotlib import pyplot as plt

    rows = -(-len(cases) // columns)
    tall = max((len(measured(results, case)) for case in cases), default=1)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, rows * (0.8 + 0.22 * tall)), squeeze=False)
    for place, ax in enumerate(axes.flat):
        if place >= len(cases):
            ax.set_visible(False)
            continue
        _case(results, cases[place], ax)
    data = results.data
    figure.suptitle(
        f"{data['machine']['cpus']} shared cores, {data['when'][:10]}; medians of {data['repeats']}, lowest to highest",
        fontsize=9, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    save(figure, path)


def measured(results: Results, case: str) -> list[str]:
    """Systems that were measured in a case, the best first; not floors, nor who was asked for fewer where n counts."""
    found = {name: results.summary(case, name) for name, facts in results.systems.items() if facts["kind"] != "floor"}
    medians = {name: s.median for name, s in found.items() if s and results.is_comparable(case, name)}
    return sorted(medians, key=medians.__getitem__, reverse=CASES[case].is_more_better)


def colour(results: Results, system: str) -> str:
    return COLOURS["ours" if system in OWN else results.systems[system]["kind"]]


def _case(results: Results, case: str, ax: Any) -> None:
    names = measured(results, case)
    top = 0.0
    for place, name in enumerate(names):
        summary = results.summary(case, name)
        assert summary is not None
        ax.barh(place, summary.median, color=colour(results, name), height=0.72)
        ax.plot([summary.low, summary.high], [place, place], color=INK, linewidth=0.8)
        ax.text(summary.high, place, f" {short(summary.median)}", va="center", fontsize=7, color=INK)
        top = max(top, summary.high)
    ax.set_yticks(range(len(names)), names, fontsize=7, color=INK)
    ax.invert_yaxis()
    ax.set_xlim(0, (top or 1) * 1.25)
    ax.set_xticks([])
    facts = CASES[case]
    better = "more is better" if facts.is_more_better else "less is better"
    ax.set_title(f"{facts.title}\n{facts.unit}, {better}", fontsize=8, loc="left", color=INK)
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
    ax.spines["left"].set_color(FAINT)
    ax.tick_params(length=0)


def cpu(results: Results, path: Path) -> None:
    """CPU per run of `noop`, `steps10` and `call_child`, stacked by process."""
    from matplotlib import pyplot as plt

    cases = [case for case in ("noop", "steps10", "call_child") if case in results.cases()]
    if not cases:
        return
    figure, axes = plt.subplots(1, len(cases), figsize=(4.2 * len(cases), 3.6), squeeze=False)
    shades = ["#0b6bcb", "#57a5f0", "#b6d7f9", "#e3b341"]
    for case, ax in zip(cases, axes.flat, strict=True):
        names = [name for name in [*measured(results, case), "floor"] if results.cpu(case, name)]
        roles = list(dict.fromkeys(role for name in names for role in results.cpu(case, name)))
        left = [0.0] * len(names)
        for role, shade in zip(roles, shades * 2, strict=False):
            widths = [results.cpu(case, name).get(role, 0.0) for name in names]
            ax.barh(range(len(names)), widths, left=left, color=shade, label=role, height=0.72)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for place, total in enumerate(left):
            ax.text(total, place, f" {short(total)}", va="center", fontsize=7, color=INK)
        ax.set_yticks(range(len(names)), names, fontsize=7)
        ax.invert_yaxis()
        ax.set_xscale("symlog", linthresh=100)
        ax.set_title(f"{CASES[case].title}: CPU per run, µs (log)", fontsize=8, loc="left")
        ax.legend(fontsize=6, frameon=False, loc="lower right")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    save(figure, path)


def timers(results: Results, path: Path) -> None:
    """How late timers were: which part of them by at most so much."""
    from matplotlib import pyplot as plt

    systems = [name for name, facts in results.systems.items() if facts["kind"] != "floor"]
    systems = [name for name in systems if results.samples("timers", name)]
    if not systems:
        return
    figure, ax = plt.subplots(figsize=(5, 3))
    for name in systems:
        last = results.samples("timers", name)[-1]
        bounds = [float(bound.removeprefix("<=").removesuffix(" ms")) for bound in last["late_by"]]
        shares = [count / last["woken"] * 100 for count in last["late_by"].values()]
        width = 2 if name in OWN else 1
        ax.plot(bounds, shares, marker=".", label=f"{name}, {results.n('timers', name):,}", linewidth=width)
    ax.set_xscale("log")
    ax.set_xlabel("late by at most, ms", fontsize=8)
    ax.set_ylabel("% of timers", fontsize=8)
    ax.legend(fontsize=7, frameon=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Both kinds of file; an SVG that is the same for the same figures."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = path.name
    figure.tight_layout()
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=130)
    plt.close(figure)
