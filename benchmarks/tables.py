"""A report in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.cases import CASES
from benchmarks.results import FLOOR, OURS, OURS_ALWAYS, OWN, Cell, Results, floor_times, verdicts
from benchmarks.stats import short


def markdown(results: Results) -> str:
    """All of it."""
    data = results.data
    durable, queues = results.peers("durable"), results.peers("queue")
    own = [name for name in OWN if name in results.systems]
    floors = [name for name, facts in results.systems.items() if facts["kind"] == "floor"]
    parts = [
        "# Benchmarks\n",
        machine(data),
        "## Targets\n",
        table(["wanted", "found", "best peer", "met"], [[a, b, c, yes_no(d)] for a, b, c, d in verdicts(results)]),
        "## Durable engines\n",
        f"Medians of {data['repeats']}, the lowest and the highest; ↑ more is better, ↓ less is. Bold is the best.\n",
        by_case(results, [*own, *durable], lambda case, system: answer(results, case, system, [*own, *durable])),
    ]
    if queues:
        parts += [
            "## Plain queues\n",
            "They record no steps, have no children and do not wait; ours do the same work *as durable workflows*.\n",
            by_case(results, [*own, *queues], lambda *at: answer(results, *at, [*own, *queues]), of=queues),
        ]
    parts += [
        "## CPU\n",
        "µs per unit (run, child, step or event): server / worker / client.\n",
        by_case(results, [*own, *durable, *queues], lambda case, system: cpu(results, case, system), has_units=False),
    ]
    if floors:
        parts += [
            "## The floor\n",
            "What any durable engine must do on this server, raw and pipelined (`benchmarks/peers/floor.py`); and the",
            "same behind the checks that make it safe (`benchmarks/peers/floor_fenced.py`).\n",
            by_case(results, floors, lambda case, system: answer(results, case, system, [])),
            "CPU in the server, µs per unit, and in multiples of the floor's.\n",
            by_case(results, [*floors, *own], lambda case, system: times(results, case, system), has_units=False),
        ]
    parts += [timers(results), "## What was measured\n", about(results), missing(data)]
    return "\n".join(part for part in parts if part)


def machine(data: dict[str, Any]) -> str:
    facts = data["machine"]
    on = f"{facts['cpus']} cores ({facts['model']}), {facts['memory_gib']} GiB, {facts['system']}"
    when = f"{data['when']}, {data['seconds'] / 60:.0f} minutes; load before: {facts['load']}"
    said = [f"{on}, Python {facts['python']}; {when}. Server, worker and client share the machine."]
    if data["is_quick"]:
        said.append("**Quick**: fewer repeats of fewer runs. For a look, not for quoting.")
    if facts["load"] > 0.5:
        said.append("**The machine was busy with something else when this began.**")
    return "\n\n".join(said) + "\n"


def by_case(
    results: Results, systems: Sequence[str], cell: Cell, *, has_units: bool = True, of: Sequence[str] = ()
) -> str:
    """A row for each case that one of the systems was measured in, a column for each system that has any.

    Only cases that one of `of` has, if some are named.
    """
    rows = []
    cases = [case for case in results.cases() if not of or any(cell(case, system) for system in of)]
    cells_of = {case: [cell(case, system) for system in systems] for case in cases}
    kept = [place for place in range(len(systems)) if any(cells[place] for cells in cells_of.values())]
    for case, every in cells_of.items():
        cells = [every[place] for place in kept]
        if any(cells):
            facts = CASES[case]
            unit = f": {facts.title}, {facts.unit} {'↑' if facts.is_more_better else '↓'}" if has_units else ""
            rows.append([f"`{case}`{unit}", *cells])
    return table(["", *(systems[place] for place in kept)], rows)


def answer(results: Results, case: str, system: str, among: Sequence[str]) -> str:
    summary = results.summary(case, system)
    if summary is None:
        return ""
    text = short(summary.median)
    best = results.best(case, among)
    if best and best[0] == system:
        text = f"**{text}**"
    if CASES[case].is_fixed and results.n(case, system) != results.n(case, OURS) and results.n(case, OURS):
        text += f" (n = {results.n(case, system):,})"
    return f"{text} [{short(summary.low)}-{short(summary.high)}]"


def cpu(results: Results, case: str, system: str) -> str:
    found = results.cpu(case, system)
    return " / ".join(
        f"{name} {value:,.0f}" if name not in ROLES else f"{value:,.0f}" for name, value in in_order(found)
    )


ROLES = ("server", "worker", "client")


def in_order(found: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(found.items(), key=lambda item: ROLES.index(item[0]) if item[0] in ROLES else 1.5)


def times(results: Results, case: str, system: str) -> str:
    floor = "floor-always" if system in (OURS_ALWAYS, "floor-always") else FLOOR
    found, cpu = floor_times(results, case, system, floor), results.cpu(case, system).get("server")
    if cpu is None:
        return ""
    return f"{short(cpu)}" + (f" ({found:.2g} x)" if found else "")


def timers(results: Results) -> str:
    """How late timers were, as a histogram."""
    systems = [name for name, facts in results.systems.items() if facts["kind"] != "floor"]
    systems = [name for name in systems if results.samples("timers", name)]
    if not systems:
        return ""
    rows = []
    for name in systems:
        last = results.samples("timers", name)[-1]
        shares = [f"{count / last['woken']:.0%}" for count in last["late_by"].values()]
        rows.append([name, f"{results.n('timers', name):,}", *shares, f"{last['max_ms']:,.0f} ms", str(last["early"])])
    bounds = list(results.samples("timers", systems[0])[-1]["late_by"])
    title = "## Timers\n\nSo many of them were late by at most so much, spread over two seconds; the last round.\n"
    return title + "\n" + table(["", "timers", *bounds, "latest", "early"], rows)


def about(results: Results) -> str:
    rows = []
    for name, facts in results.systems.items():
        versions = ", ".join(f"{package} {number}" for package, number in facts["versions"].items())
        rows.append([name, facts["kind"], facts["durability"], versions, facts["notes"]])
    return table(["", "kind", "durability", "versions", "notes"], rows)


def missing(data: dict[str, Any]) -> str:
    said = [f"* {name} is not here: {why}" for name, why in data["absent"].items()]
    for error in data["errors"]:
        many = f" (n = {error['n']:,})" if "n" in error else ""
        said += [f"* {error['system']}, {error.get('case', 'start')}{many}: {error['error'] or 'no reason given'}"]
    return "\n## What could not be measured\n\n" + "\n".join(dict.fromkeys(said)) + "\n" if said else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def yes_no(is_met: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "-"}[is_met]
