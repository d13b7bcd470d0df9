"""``python -m models.explorer`` in the tests' folder: the figures of the pairs, random walks, one schedule again.

* ``pairs FAULTS[/SWITCHES] [NAME…]`` every schedule within these bounds;
* ``walks FIRST COUNT [FAULTS]`` random schedules, by their seeds;
* ``replay NAME FAULTS[/SWITCHES] DECISIONS`` one schedule, with its trace; `-` for no decisions.
"""

from __future__ import annotations

import sys
from time import perf_counter

from durable_async.server.ephemeral import ephemeral_server

from .pairs import PAIRS
from .play import Bounds
from .search import Explorer
from .walks import BOUNDS, MANY

SCENARIOS = {**PAIRS, MANY.name: MANY}


def say(text: str) -> None:
    """Prints a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def replay(explorer: Explorer, name: str, bounds: str, decisions: str) -> int:
    """Plays one schedule, and shows it."""
    numbers = () if decisions == "-" else tuple(int(number) for number in decisions.split(","))
    outcome = explorer.one(SCENARIOS[name], Bounds.read(bounds), numbers)
    say(outcome.report(name, Bounds.read(bounds)))
    return bool(outcome.problems)


def pairs(explorer: Explorer, bounds: str, *names: str) -> int:
    """Plays every schedule of these pairs; stops at the first that goes wrong."""
    for name in names or PAIRS:
        began, count, ends = perf_counter(), 0, 0
        for outcome in explorer.all(PAIRS[name], Bounds.read(bounds)):
            count += 1
            ends += outcome.is_whole
            if outcome.problems:
                say(outcome.report(name, Bounds.read(bounds)))
                return 1
        seconds = perf_counter() - began
        say(f"| {name} | {bounds} | {count} schedules, {ends} ends | {count / seconds:.0f} a second |")
    return 0


def walks(explorer: Explorer, first: str, count: str, faults: str = str(BOUNDS.faults)) -> int:
    """Plays random schedules; stops at the first that goes wrong."""
    began, calls = perf_counter(), explorer.server.calls
    bounds = Bounds.read(faults)
    for seed in range(int(first), int(first) + int(count)):
        outcome = explorer.walk(MANY, bounds, seed)
        if outcome.problems:
            say(f"seed {seed}\n{outcome.report(MANY.name, bounds)}")
            return 1
    seconds = perf_counter() - began
    say(f"{count} walks, {explorer.server.calls - calls} commands, {int(count) / seconds:.0f} a second")
    return 0


def main(arguments: list[str]) -> int:
    """What the module's docstring says."""
    what, *rest = arguments or ["pairs", "0"]
    with ephemeral_server() as server, Explorer(server.url) as explorer:
        return {"replay": replay, "pairs": pairs, "walks": walks}[what](explorer, *rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
