"""The harness at work: rounds and their order, what fails in them, the bell, CPU of processes; and one real report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import matrix
from benchmarks.bell import VARIABLE, Bell
from benchmarks.host import Found, SystemFailed
from benchmarks.matrix import Matrix, Plan
from benchmarks.processes import cpu_s, own_cpu_s, rss_kib, tree

ROOT = Path(__file__).resolve().parents[2]


class Scripted:
    """A system that answers at once, and notes what it is asked for."""

    asked: list[tuple[str, str, int]]
    broken: dict[str, Any]

    def __init__(self, system: Found, options: dict[str, Any], log: Any) -> None:
        self._name = system.name
        self.facts = {"durability": "none", "notes": "", "versions": {}}
        if self.broken.get(self._name) == "start":
            raise SystemFailed("it has ended")

    def ask(self, driver: str, n: int, in_flight: int, timeout: float) -> dict[str, Any]:
        type(self).asked.append((self._name, driver, n))
        if self.broken.get(self._name) == driver:
            return {"error": "ValueError: no"}
        return {"rate": 100.0 if self._name == "b" else 1e9, "cpu_us": {}}

    def stop(self) -> None:
        pass


def plan(names: str, cases: list[str], **options: Any) -> Plan:
    systems = {name: Found(name, sys.executable, "durable", frozenset(cases), "") for name in names}
    usual = {"repeats": 3, "is_quick": False, "options": {}, "seconds_each": 1.0, "budget_s": 3600.0}
    return Plan(systems=systems, cases=cases, **{**usual, **options})


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    Scripted.asked, Scripted.broken = [], {}
    monkeypatch.setattr(matrix, "Host", Scripted)
    return Scripted


def test_systems_take_turns_and_each_round_begins_with_another(scripted: type[Scripted]) -> None:
    outcome = Matrix(plan("abc", ["noop"])).run()
    assert [name for name, _, _ in scripted.asked] == list("abcabcbcacab")
    order = [(each["system"], each["repeat"]) for each in outcome.samples]
    assert order[:4] == [("a", 0), ("b", 0), ("c", 0), ("b", 1)]


def test_a_slow_system_is_asked_for_fewer(scripted: type[Scripted]) -> None:
    outcome = Matrix(plan("ab", ["noop"])).run()
    assert {each["system"]: each["n"] for each in outcome.samples} == {"a": 10_000, "b": 200}


def test_a_budget_makes_measurements_shorter(scripted: type[Scripted]) -> None:
    outcome = Matrix(plan("b", ["mixed"], budget_s=3.0)).run()
    assert outcome.samples[0]["n"] == 80, "the least"


def test_a_case_that_fails_is_told_and_not_asked_again(scripted: type[Scripted]) -> None:
    scripted.broken = {"a": "steps10"}
    outcome = Matrix(plan("a", ["noop", "steps10"])).run()
    assert [error["case"] for error in outcome.errors] == ["steps10"]
    assert {each["case"] for each in outcome.samples} == {"noop"}


def test_a_system_that_does_not_start_is_left_out(scripted: type[Scripted]) -> None:
    scripted.broken = {"a": "start"}
    outcome = Matrix(plan("ab", ["noop"])).run()
    assert [error["system"] for error in outcome.errors] == ["a", "a"], "one more try, and no third"
    assert len(outcome.samples) == 3


async def test_the_bell_tells_who_rang_before_and_after_somebody_waits(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell")
    bell.open()
    ringing = "import sys; sys.path.append(sys.argv[1]); from benchmarks.bell import ring; ring(7); ring(8)"
    try:
        environment = {**os.environ, VARIABLE: bell.path}
        subprocess.run([sys.executable, "-c", ringing, str(ROOT)], env=environment, check=True)
        await bell.wait(8)
        await bell.wait(7)
        assert [number for number, _ in bell.rung] == [7, 8]
    finally:
        bell.close()


def test_cpu_is_that_of_a_tree_and_of_this_process_alone() -> None:
    before = own_cpu_s(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        assert cpu_s([child.pid]) >= 0.2, "a child of it that has ended counts"
        assert rss_kib([child.pid]) > 1_000
        assert os.getpid() not in tree(child.pid)
        child.stdin.write(b"\n")
        child.stdin.close()
    spent = cpu_s([os.getpid()]) - before
    assert spent <= time.process_time(), "what children used is theirs"
    assert own_cpu_s(child.pid) == 0.0, "it has ended"


def test_a_report_of_ours_and_the_floor(tmp_path: Path) -> None:
    """A real one, small: files are written, figures are there, our run is dearer than the floor's."""
    arguments = ["report", "--quick", "--cases", "noop,replay", "--systems", "durable-async,floor", "--repeat", "1"]
    command = [sys.executable, "-m", "benchmarks", *arguments, "--budget", "0.01", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    assert data["errors"] == []
    figures = {(each["case"], each["system"]): each["figures"] for each in data["samples"]}
    ours, floor = figures["noop", "durable-async"]["cpu_us"], figures["noop", "floor"]["cpu_us"]
    assert ours["server"] > floor["server"] > 0
    assert ours["worker"] > 0
    assert figures["replay", "durable-async"]["replay_ms"] > 0
    assert "server CPU ≤ 2.5 x of the floor" in done.stdout
    assert "## The floor" in tmp_path.joinpath("report.md").read_text(encoding="utf-8")
