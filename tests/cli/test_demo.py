"""The demo proves itself; and its proof would notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from durable_async.cli.demo_proof import RUN_OF_STEP, Execution, prove, read_ledger

from ._support import Project

KILLED, OTHER = 1, 2


@pytest.mark.slow
def test_demo(project: Project) -> None:
    done = project.run("demo", "--orders", "30", "--lease", "1")
    assert done.code == 0, done.out + done.err
    assert "30 of 30 orders finished with the right result" in done.out
    assert "kill -9 of worker" in done.out
    assert done.out.splitlines()[-1].startswith("proved:")
    assert done.err == ""


def test_demo_keeps_its_files_if_asked(project: Project) -> None:
    done = project.run("demo", "--orders", "2", "--lease", "0.5", "--data-dir", "kept")
    assert done.code == 0, done.out + done.err
    executions = read_ledger(project.directory / "kept" / "ledger.jsonl")
    assert {each.step for each in executions} == set(RUN_OF_STEP)
    again = project.run("demo", "--data-dir", "kept")
    assert (again.code, again.err.count("\n")) == (2, 1)


def history(*more: tuple[str, int, str]) -> list[Execution]:
    """Order 1 without trouble on the other worker, then what is given: step, pid, mark."""
    steps = [(step, OTHER, "end") for step in RUN_OF_STEP]
    return [Execution(1, step, pid, mark, n) for n, (step, pid, mark) in enumerate([*more, *steps])]


def test_proof_holds() -> None:
    proof = prove(history(), [1], KILLED)
    assert (proof.wrong, proof.repeated) == ([], [])
    assert (proof.steps, proof.executions) == (5, 5)


@pytest.mark.parametrize("mark", ["start", "end"])
def test_what_was_in_flight_may_run_again(mark: str) -> None:
    proof = prove(history(("ship", KILLED, mark)), [1], KILLED)
    assert proof.wrong == []
    assert len(proof.repeated) == 1


def test_attempts_that_fail_are_no_repetitions() -> None:
    proof = prove(history(("charge_card", OTHER, "failed")), [1], KILLED)
    assert (proof.wrong, proof.repeated, proof.failed_attempts) == ([], [], 1)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ([("ship", OTHER, "end")], "ran again after it had ended"),
        ([("ship", OTHER, "start")], "was cut"),
        ([("reserve_stock", KILLED, "end"), ("ship", KILLED, "start")], "reserve_stock ran again"),
        ([("charge_card", OTHER, "failed"), ("charge_card", OTHER, "failed")], "failed 2 times"),
        ([("burn_money", OTHER, "end")], "nobody asked"),
    ],
)
def test_proof_fails(more: list[tuple[str, int, str]], part: str) -> None:
    proof = prove(history(*more), [1], KILLED)
    assert len(proof.wrong) == 1
    assert part in proof.wrong[0]


def test_proof_fails_if_a_step_is_missing_or_never_ended() -> None:
    assert len(prove(history(), [1, 2], KILLED).wrong) == 5
    without = [each for each in history() if each.step != "ship"]
    assert prove(without, [1], KILLED).wrong == ["order 1: ship never ended"]
    unended = [*without, Execution(1, "ship", OTHER, "start", 9)]
    assert prove(unended, [1], KILLED).wrong == ["order 1: ship never ended"]


def test_ledger(tmp_path: Path) -> None:
    lines = [
        {"order": 1, "step": "ship", "execution": "a", "pid": 7, "mark": "start", "at": 0.0},
        {"order": 1, "step": "ship", "execution": "b", "pid": 8, "mark": "start", "at": 0.0},
        {"order": 1, "step": "ship", "execution": "b", "pid": 8, "mark": "end", "at": 0.0},
    ]
    (tmp_path / "ledger").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(e.pid, e.mark) for e in read_ledger(tmp_path / "ledger")] == [(7, "start"), (8, "end")]
