"""What one run costs the engine in instructions, counted by valgrind: the same each time, on a busy machine too.

Held against instructions.json as test_costs.py holds its counts; `python tests/test_instructions.py` takes what it
finds as the new baseline of the Python that runs it. A count is that of a number of runs more, over what a program that
is the same otherwise needs: what Python and imports take is not in it. Cachegrind without its caches, since it counts
what callgrind counts in half the time. Left out where valgrind or a baseline for this very Python is missing: another
build of the interpreter needs other instructions.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest

import durable_async

BASELINE = Path(__file__).with_name("instructions.json")
PROGRAM = Path(__file__).with_name("hot_loop.py")
PYTHON = f"{platform.python_version()} {platform.machine()}"
CASES = ("noop", "steps10", "call_child", "replay10")
FEW, RUNS = 20, 100
"""How many runs are in every count, so that whatever happens once has happened; and how many more are counted."""
GROWTH = 0.05

valgrind = shutil.which("valgrind")


def counted(more: str) -> int:
    """Instructions of the whole program with further runs of one case."""
    assert valgrind is not None
    package, site = Path(durable_async.__file__).parent, Path(msgpack.__file__).parents[1]
    runs = [f"{case}={FEW + RUNS * (case == more)}" for case in CASES]
    program = [sys.executable, "-S", "-s", "-P", str(PROGRAM), str(package), str(site), *runs]
    tool = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    # Nothing of the environment: its size alone moves memory, and the order of sets with it.
    environment = {"PATH": os.defpath, "PYTHONHASHSEED": "0"}
    done = subprocess.run([*tool, *program], env=environment, capture_output=True, text=True)
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    assert done.returncode == 0 and found, done.stderr
    return int(found[1].replace(",", ""))


def count() -> dict[str, int]:
    """Instructions of one run, by case."""
    # In a fresh checkout the first to import would be counted for the compiling, too.
    compileall.compile_dir(Path(durable_async.__file__).parent, quiet=2)
    with ThreadPoolExecutor(2) as pool:
        few, *each = pool.map(counted, ["", *CASES])
    return {case: round((found - few) / RUNS) for case, found in zip(CASES, each, strict=True)}


def known() -> dict[str, dict[str, int]]:
    """The baselines, by Python."""
    loaded: dict[str, dict[str, int]] = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    return loaded


@pytest.mark.slow
@pytest.mark.skipif(valgrind is None, reason="valgrind is not installed")
@pytest.mark.skipif(PYTHON not in known(), reason=f"no baseline for Python {PYTHON}")
def test_no_run_takes_the_engine_more_or_fewer_instructions_than_is_written_down() -> None:
    baseline, found = known()[PYTHON], count()
    wrong = [
        f"{case}: {baseline[case]:,} -> {number:,}"
        for case, number in found.items()
        if abs(number - baseline[case]) > GROWTH * baseline[case]
    ]
    assert not wrong, "write down with `python tests/test_instructions.py` what is meant to be:\n" + "\n".join(wrong)


if __name__ == "__main__":
    BASELINE.write_text(json.dumps(dict(sorted({**known(), PYTHON: count()}.items())), indent=2) + "\n")
