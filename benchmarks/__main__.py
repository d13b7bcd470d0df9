"""`python -m benchmarks CASE [-n N] [--system NAME]`: one case of one system, once."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from typing import Any

from benchmarks.cases import CASES


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One case, once, in a process of its own."""
    how = {"concurrency": options.concurrency, "uvloop": options.uvloop}
    asked = {"case": options.case, "n": options.n or CASES[options.case].n, "in_flight": options.in_flight}
    command = [sys.executable, "-m", "benchmarks.one", options.system, json.dumps(how)]
    done = subprocess.run(command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True)
    system, figures = (json.loads(line) for line in done.stdout.splitlines())
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "machine": platform.machine()}
    return {**asked, **figures, **system, **how, **machine}


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("-n", type=int, help="runs; by default what gives a few seconds")
    parser.add_argument("--system", default="durable-async", help="a name in benchmarks/peers")
    parser.add_argument("--concurrency", type=int, default=500, help="slots of the worker")
    parser.add_argument("--in-flight", type=int, default=500, help="runs the client keeps going at once")
    parser.add_argument("--uvloop", action="store_true", help="worker and client on uvloop")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
