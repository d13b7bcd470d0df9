"""What peers have in common: their worker processes, and that a wrong result is no figure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments, host
from benchmarks.bell import Bell
from benchmarks.host import find_systems
from benchmarks.launch import Peer, WrongResult, _is_alive
from benchmarks.processes import tree
from benchmarks.systems import Options

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print('born', flush=True); import signal; signal.pause()"],
                         stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print("noise", flush=True)
print("ready", flush=True)
child.wait()
"""


class Liar(Peer):
    """Answers at once, but for one run wrongly; its worker has a process of its own."""

    name = "liar"
    durability = "none"
    program = PARENT

    async def begin(self, flow: str, arg: int) -> Any:
        return arg

    async def end(self, handle: Any) -> Any:
        return 0 if handle == 13 else handle

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir

    async def stop(self) -> None:
        await self.kill_worker()

    def processes(self) -> dict[str, list[int]]:
        return {"worker": self.worker_pids(), "client": [os.getpid()]}

    def worker_arguments(self) -> list[str]:
        return []


@pytest.fixture
async def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    popen = subprocess.Popen

    def run_program(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        assert command == [sys.executable, "-m", Liar.__module__]
        return popen([sys.executable, "-c", Liar.program], **options)

    bell = Bell(tmp_path / "bell")
    bell.open()
    system = Liar(Options(), bell)
    await system.start(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", run_program)
    yield system
    await system.stop()
    bell.close()


async def test_a_wrong_result_is_an_error(liar: Liar) -> None:
    assert await liar.result(await liar.start_run("noop", 12)) == 12
    with pytest.raises(WrongResult, match="0 instead of 13"):
        await liar.result(await liar.start_run("noop", 13))


async def test_what_the_bell_counted_is_looked_at_afterwards(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(system: Liar, n: int, in_flight: int) -> dict[str, Any]:
        for arg in range(n):
            await system.start_run("noop", arg)
        return {"rate": 1.0}

    monkeypatch.setattr("benchmarks.drivers.DRIVERS", {"noop": drive})
    liar.completion = "bell"  # type: ignore[misc]
    assert await liar.run_case("noop", 13, 1) == {"rate": 1.0}
    with pytest.raises(WrongResult):
        await liar.run_case("noop", 14, 1)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_leaves_with_all_it_has_started(
    liar: Liar, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    await liar.start_worker()
    pids = list(tree(liar.worker_pids()[0]))
    assert len(pids) == 2
    monkeypatch.setattr("benchmarks.launch._LEAVE_SECONDS", 0.1)
    await (liar.kill_worker() if how is signal.SIGKILL else liar.stop_worker())
    assert not any(map(_is_alive, pids))
    assert liar.worker_pids() == []


async def test_a_worker_that_does_not_start_says_why(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "program", "raise SystemExit('no such server')")
    with pytest.raises(RuntimeError, match="no such server"):
        await liar.start_worker()


def test_a_python_that_cannot_run_benchmarks_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    listed = '{"found": {"a": {"kind": "queue", "cases": ["noop"], "notes": ""}}, "absent": {"b": "no", "c": "no"}}'
    other = listed.replace('"a"', '"d"').replace('"b": "no", ', "")
    run = subprocess.run

    def answer(command: list[str], **options: Any) -> Any:
        if command[0] == str(broken):
            return run(command, **options)
        return subprocess.CompletedProcess(command, 0, listed if command[0] == "one" else other)

    monkeypatch.setattr(host.subprocess, "run", answer)
    found, absent = find_systems([str(broken), "one", "two"])
    assert {name: each.python for name, each in found.items()} == {"a": "one", "d": "two"}
    assert absent == {"c": "no"}, "b is a module that the second Python has, with systems of other names"


def test_environments_that_were_not_made_are_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "HOME", tmp_path)
    assert environments.pythons() == []
    python = tmp_path / "arq/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert environments.pythons() == [str(python)]
