"""`python -m benchmarks growth`: how cost grows with what there is, of ours alone; a table and a plot for each curve.

| curve | x | is to be |
|---|---|---|
| store | runs in the store, ended and kept | per-run cost flat |
| parked | parked runs resident in the worker | per-run cost flat, memory linear |
| children | children of one parent | per-child cost flat |
| journal | steps in one run's journal | per-step cost of appending flat, replay linear |
| million | parked runs in the store | bytes for each; how soon a worker that joins serves |

States are made by the engine itself: every run was started by a client and brought where it is by a worker, through
the same scripts as ever, many in one write. Costs are CPU, not time, in the median of some measurements: they tell the
same on a machine with other work. The append-only file is not rewritten meanwhile: whatever does it would count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.curves import CURVES, Curve
from benchmarks.report import FOLDER, machine
from benchmarks.tables import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `growth` takes."""
    parser.add_argument("--quick", action="store_true", help="to smaller stores: two minutes instead of fifteen")
    parser.add_argument("--curves", default=",".join(CURVES), help="names with commas between; by default all")
    parser.add_argument("--most", type=int, help="up to which x, for all of them")
    parser.add_argument("--out", type=Path, help="the folder for the files")
    parser.add_argument("--draw", type=Path, help="only draws and writes anew what this JSON file holds")


def run(options: argparse.Namespace) -> int:
    """Measures, writes, and says what is flat."""
    if options.draw:
        return write(json.loads(options.draw.read_text(encoding="utf-8")), options.out or options.draw.parent)
    folder = options.out or (FOLDER / "quick" if options.quick else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "growth.json"
    known = json.loads(path.read_text(encoding="utf-8"))["curves"] if path.exists() else {}
    for name in options.curves.split(","):
        measure, most, quick, n = CURVES[name]
        curve = asyncio.run(measure(options.most or (quick if options.quick else most), n))
        known[name] = {**_plain(curve), "machine": machine()}
        path.write_text(json.dumps({"curves": known}, indent=1) + "\n", encoding="utf-8")
    return write({"curves": known}, folder)


def _plain(curve: Curve) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in Curve.__slots__}


def write(data: dict[str, Any], folder: Path) -> int:
    """Table and plots."""
    curves = [Curve(**{name: facts[name] for name in Curve.__slots__}) for facts in data["curves"].values()]
    folder.joinpath("growth.md").write_text(markdown(curves, data), encoding="utf-8")
    try:
        import matplotlib  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        print("no plots: matplotlib is not installed (the extra `bench`)", file=sys.stderr)
    else:
        from benchmarks.plots_growth import draw

        draw(curves, folder)
    for curve in curves:
        for sentence in curve.verdict():
            print(f"{curve.name}: {sentence}")
    print(f"{folder}/growth.md")
    return 0


def markdown(curves: list[Curve], data: dict[str, Any]) -> str:
    """A table for each curve, and what became of it."""
    parts = ["# How cost grows\n", "CPU in µs, medians; see `benchmarks/growth.py`.\n"]
    for curve in curves:
        facts = data["curves"][curve.name]["machine"]
        columns = list(dict.fromkeys(name for point in curve.points for name in point if name != "x"))
        rows = [[f"{point['x']:,}", *(f"{point[name]:,}" for name in columns)] for point in curve.points]
        parts += [
            f"## {curve.name}: {curve.title}, by {curve.x}\n",
            table([curve.x, *columns], rows),
            "\n".join(f"* {sentence}" for sentence in curve.verdict()) + "\n",
            f"{facts['cpus']} cores ({facts['model']}), Python {facts['python']}; load before: {facts['load']}.\n",
        ]
    return "\n".join(part for part in parts if part)
