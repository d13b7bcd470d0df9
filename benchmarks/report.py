"""`python -m benchmarks report`: every case x system in one run, as JSON, Markdown and plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.cases import CASES, answered
from benchmarks.host import Found, find_systems
from benchmarks.matrix import Matrix, Plan
from benchmarks.results import Results, verdicts
from benchmarks.tables import markdown

FOLDER = Path(__file__).with_name("results")
QUICK = ("parked", "woken", "noop", "steps10", "call_child", "latency", "child_latency", "fanout", "events")
BUDGET_S = {False: 24 * 60.0, True: 5.5 * 60.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    parser.add_argument("--quick", action="store_true", help="fewer cases, fewer runs, three rounds: a few minutes")
    parser.add_argument("--repeat", type=int, help="rounds over all systems; by default 5, quick 3")
    parser.add_argument("--cases", help="names with commas between; by default all")
    parser.add_argument("--systems", help="names with commas between, or their beginnings; by default all")
    parser.add_argument("--python", action="append", default=[], help="a further Python, for systems it alone has")
    parser.add_argument("--budget", type=float, help="minutes that it may take")
    parser.add_argument("--out", type=Path, help="the folder for the files")
    parser.add_argument("--draw", type=Path, help="only draws and writes anew what this JSON file of a report holds")
    parser.add_argument("--uvloop", action="store_true", help="where a system leaves the choice")


def run(options: argparse.Namespace) -> int:
    """Measures, writes, and says which targets were met."""
    if options.draw:
        return write(json.loads(options.draw.read_text(encoding="utf-8")), options.out or options.draw.parent)
    found, absent = find_systems([sys.executable, *options.python, *environments.pythons()])
    cases = chosen(options.cases, QUICK if options.quick else tuple(CASES), tuple(CASES))
    systems = pick(found, options.systems, cases)
    plan = Plan(
        systems=systems,
        cases=cases,
        repeats=options.repeat or (3 if options.quick else 5),
        is_quick=options.quick,
        options={"uvloop": options.uvloop},
        seconds_each=0.5 if options.quick else 1.5,
        budget_s=options.budget * 60 if options.budget else BUDGET_S[options.quick],
    )
    facts = {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine()}
    outcome = Matrix(plan).run()
    for name, system in outcome.systems.items():
        system["cases"] = sorted(systems[name].cases)
    data = {
        **facts,
        "is_quick": options.quick,
        "repeats": plan.repeats,
        "options": plan.options,
        "cases": cases,
        "seconds": round(outcome.seconds),
        "systems": outcome.systems,
        "absent": absent if not options.systems else {},
        "errors": outcome.errors,
        "samples": outcome.samples,
    }
    return write(data, options.out or (FOLDER / "quick" if options.quick else FOLDER))


def chosen(names: str | None, usual: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """Names out of an option, in the order of what is known.

    Raises:
        SystemExit: if one is not known.
    """
    wanted = names.split(",") if names else list(usual)
    if unknown := sorted(set(wanted) - set(known)):
        raise SystemExit(f"no such case: {', '.join(unknown)}. There are {', '.join(known)}")
    return [name for name in known if name in wanted]


def pick(found: dict[str, Found], names: str | None, cases: list[str]) -> dict[str, Found]:
    """Systems whose names, or the beginnings of whose names, are given, and which offer one of the cases."""
    picked = {name: system for name, system in found.items() if set(answered(system.cases)) & set(cases)}
    if names:
        wanted = names.split(",")
        exact = {name: system for name, system in picked.items() if name in wanted}
        begins = {name: s for name, s in picked.items() if any(name.startswith(w) and w not in exact for w in wanted)}
        picked = {name: picked[name] for name in picked if name in exact or name in begins}
    if not picked:
        raise SystemExit(f"no such system: {names}. There are {', '.join(found)}")
    return picked


def machine() -> dict[str, Any]:
    """What it runs on."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "cpus": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def write(data: dict[str, Any], folder: Path) -> int:
    """JSON, Markdown, plots; the targets on standard output."""
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(data)
    folder.joinpath("report.json").write_text(dump(data), encoding="utf-8")
    folder.joinpath("report.md").write_text(markdown(results), encoding="utf-8")
    draw_all(results, folder)
    for wanted, found, peer, is_met in verdicts(results):
        mark = {True: "met    ", False: "NOT met", None: "       "}[is_met]
        print(f"{mark}  {wanted}: {found}{f' ({peer})' if peer else ''}")
    print(f"{folder}/report.md")
    return 0


def draw_all(results: Results, folder: Path) -> None:
    """The plots, where matplotlib is there."""
    try:
        import matplotlib  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        print("no plots: matplotlib is not installed (the extra `bench`)", file=sys.stderr)
        return
    from benchmarks.plots import draw

    draw(results, folder)


def dump(data: dict[str, Any]) -> str:
    """JSON with one sample a line, so that two reports can be compared by eye."""
    samples = ",\n".join("  " + json.dumps(sample) for sample in data["samples"])
    rest = json.dumps({name: value for name, value in data.items() if name != "samples"}, indent=1)
    return f'{rest.removesuffix("}").rstrip()},\n "samples": [\n{samples}\n ]\n}}\n'
