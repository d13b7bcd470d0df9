"""Judges what the demo's steps noted outside the store: nothing lost, nothing done again that need not be.

What may be done again is known exactly. A process killed by SIGKILL can have, in each run it held, one step under way:
begun, and its outcome not yet in the store. Of its steps in a run, that is the last one. Everything else counts against
the engine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RUN_OF_STEP: Final[Mapping[str, str]] = {
    "reserve_stock": "order",
    "charge_card": "payment",
    "smtp_send": "confirmation",
    "print_label": "order",
    "ship": "order",
}
"""Every step, and the run of an order in which it is called."""


@dataclass(slots=True)
class Execution:
    """One execution of a step, from its lines."""

    order: int
    step: str
    pid: int
    mark: str
    """How far it came: start, failed or end."""
    begun: int
    """The number of its first line: the order in which executions began."""


@dataclass(slots=True)
class Proof:
    """What was found; it holds if `wrong` is empty."""

    executions: int = 0
    steps: int = 0
    failed_attempts: int = 0
    repeated: list[str] = field(default_factory=list)
    """Steps that ran again because the killed process had them in flight."""
    wrong: list[str] = field(default_factory=list)


def read_ledger(path: Path) -> list[Execution]:
    """The executions in the order in which they began."""
    found: dict[str, Execution] = {}
    with path.open(encoding="ascii") as lines:
        for number, text in enumerate(lines):
            line = json.loads(text)
            if line["mark"] == "start":
                found[line["execution"]] = Execution(line["order"], line["step"], line["pid"], "start", number)
            else:
                found[line["execution"]].mark = line["mark"]
    return list(found.values())


def in_flight(executions: Iterable[Execution], pid: int) -> int:
    """How many executions of a process have begun and not ended."""
    return sum(1 for each in executions if each.pid == pid and each.mark == "start")


def prove(executions: list[Execution], orders: Iterable[int], killed: int | None) -> Proof:
    """Holds the executions against what has to be true of them.

    Args:
        executions: as `read_ledger` returns them.
        orders: the numbers of all orders.
        killed: the pid of the process that was killed; None if none was.
    """
    proof = Proof(executions=len(executions))
    by_step: dict[tuple[int, str], list[Execution]] = defaultdict(list)
    last: dict[tuple[int, str], Execution] = {}
    for each in executions:
        by_step[each.order, each.step].append(each)
        if each.pid == killed:
            last[each.order, RUN_OF_STEP.get(each.step, "")] = each
    for order in orders:
        for step, run in RUN_OF_STEP.items():
            proof.steps += 1
            _judge(proof, by_step.pop((order, step), []), order, step, last.get((order, run)))
    for order, step in by_step:
        proof.wrong.append(f"order {order}: {step} ran, and nobody asked for it")
    return proof


def _judge(proof: Proof, runs: list[Execution], order: int, step: str, last_of_killed: Execution | None) -> None:
    """One step of one order: attempts that failed, perhaps one that the kill cut, and one that counts."""
    name = f"order {order}: {step}"
    failed = [each for each in runs if each.mark == "failed"]
    others = [each for each in runs if each.mark != "failed"]
    proof.failed_attempts += len(failed)
    if not others or others[-1].mark != "end":
        proof.wrong.append(f"{name} never ended")
        return
    if len(failed) > 1:
        # The services fail once per order, whoever asks.
        proof.wrong.append(f"{name} failed {len(failed)} times")
    for each in others[:-1]:
        if each is not last_of_killed:
            how = "was cut" if each.mark == "start" else "ran again after it had ended"
            proof.wrong.append(f"{name} {how} on process {each.pid}, which was not killed with it in flight")
            continue
        how = "cut half-way" if each.mark == "start" else "done, but the kill came before it was recorded"
        proof.repeated.append(f"{name} ({how} on process {each.pid}, run again on {others[-1].pid})")
