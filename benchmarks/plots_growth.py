"""A plot for each curve of `benchmarks.growth`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.curves import Curve
from benchmarks.plots import save

SHADES = ("#0b6bcb", "#57a5f0", "#e3b341", "#5a9e6f", "#8c959f", "#b35900")


def draw(curves: Sequence[Curve], folder: Path) -> None:
    """`growth-<name>` of each."""
    import matplotlib as mpl

    mpl.use("Agg")
    for curve in curves:
        _draw(curve, folder / f"growth-{curve.name}")


def _draw(curve: Curve, path: Path) -> None:
    from matplotlib import pyplot as plt

    points = [point for point in curve.points if point["x"] > 0]
    flat = [name for name in curve.flat if name.endswith("_us")]
    rest = [name for name in points[0] if name not in {*flat, "x"} and not name.endswith("_us")]
    figure, axes = plt.subplots(1, 1 + len(rest), figsize=(3.8 * (1 + len(rest)), 3), squeeze=False)
    first, *others = axes.flat
    for name, shade in zip(flat, SHADES, strict=False):
        first.plot([p["x"] for p in points], [p[name] for p in points], marker="o", color=shade, label=name)
    first.set_ylim(bottom=0)
    _finish(first, curve, f"{curve.title}, CPU in µs")
    first.legend(fontsize=7, frameon=False)
    for ax, name in zip(others, rest, strict=True):
        xs, ys = [p["x"] for p in points], [p[name] for p in points]
        ax.plot(xs, ys, marker="o", color=SHADES[0])
        if name == curve.linear:
            ax.plot(xs, [ys[-1] / xs[-1] * x for x in xs], color=SHADES[4], linestyle=":", label="linear")
            ax.set_yscale("log")
            ax.legend(fontsize=7, frameon=False)
        else:
            ax.set_ylim(bottom=0)
        _finish(ax, curve, name)
    save(figure, path)


def _finish(ax: Any, curve: Curve, title: str) -> None:
    ax.set_xscale("log")
    ax.set_xlabel(curve.x, fontsize=8)
    ax.set_title(title, fontsize=8, loc="left")
    ax.tick_params(labelsize=7)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def draw_scaling(data: dict[str, Any], path: Path) -> None:
    """Throughput by number of worker processes: measured here, simulated here and on a larger machine."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 3.6))
    here, there = data["here"], data["there"]
    xs = [each["workers"] for each in here]
    middle = [each["rate"] for each in here]
    spread = [[each["rate"] - each["low"] for each in here], [each["high"] - each["rate"] for each in here]]
    ax.errorbar(
        xs, middle, yerr=spread, marker="o", color=SHADES[0], label=f"measured, {data['machine']['cpus']} cores"
    )
    ax.plot(xs, [each["simulated"] for each in here], ":", color=SHADES[0], label="simulated, the same cores")
    ax.plot([e["workers"] for e in there], [e["simulated"] for e in there], "--", marker=".", color=SHADES[2],
            label="simulated, 32 cores, 4 clients")  # fmt: skip
    ax.axhline(data["server_limit"], color=SHADES[4], linewidth=0.8)
    ax.text(there[-1]["workers"], data["server_limit"], "the server is used up", fontsize=7, ha="right", va="bottom")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("worker processes", fontsize=8)
    ax.set_title(f"{data['case']}: runs/s", fontsize=8, loc="left")
    ax.legend(fontsize=7, frameon=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    save(figure, path)
