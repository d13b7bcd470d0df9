"""The report's side of `benchmarks.one`: a system in a process of its own, asked for one case after the other."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from time import monotonic
from typing import IO, Any

START_S = 60.0
STOP_S = 20.0


class SystemFailed(Exception):
    """It did not start, or ended in the midst, or did not answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """A system that can run here, and the Python that can run it."""

    name: str
    python: str
    kind: str
    cases: frozenset[str]
    notes: str


def find_systems(pythons: list[str]) -> tuple[dict[str, Found], dict[str, str]]:
    """What can run with any of these Pythons, the first that can; and why others cannot."""
    found: dict[str, Found] = {}
    absents: list[dict[str, str]] = []
    for python in pythons:
        command = [python, "-m", "benchmarks.one", "--list"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            print(f"{python} cannot run the benchmarks", file=sys.stderr)
            continue
        listed = json.loads(done.stdout)
        for name, facts in listed["found"].items():
            facts["cases"] = frozenset(facts["cases"])
            found.setdefault(name, Found(name, python, **facts))
        absents.append(listed["absent"])
    # A name may be that of a module with systems of other names: it is absent if no Python has it.
    absent = {name: why for name, why in absents[0].items() if all(name in each for each in absents)} if absents else {}
    return found, {name: why for name, why in absent.items() if name not in found}


class Host:
    """One system that runs. What it prints on its standard error goes to `log`."""

    def __init__(self, system: Found, options: dict[str, Any], log: IO[bytes] | None = None) -> None:
        command = [system.python, "-m", "benchmarks.one", system.name, json.dumps(options)]
        self._rest = b""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            self.facts = self._answer(START_S)
        except BaseException:
            self.stop()
            raise
        """What it said of itself: durability, notes, versions."""

    def ask(self, driver: str, n: int, in_flight: int, timeout: float = 120.0) -> dict[str, Any]:
        """Figures of one case, or `{"error": …}`.

        Raises:
            SystemFailed: if it has ended, or does not answer at all.
        """
        asked = {"case": driver, "n": n, "in_flight": in_flight, "timeout": timeout}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise SystemFailed("it has ended") from error
        return self._answer(timeout + START_S)

    def stop(self) -> None:
        """Lets it stop what it started; what does not leave is killed, with all of its process group."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        end = monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], max(0.0, end - monotonic()))[0]:
                raise SystemFailed(f"no answer within {seconds:.0f} s")
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise SystemFailed("it has ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def this_python() -> str:
    """The Python that runs the report."""
    return sys.executable
