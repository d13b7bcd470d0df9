"""`python -m benchmarks CASE -n N`."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from benchmarks.cases import CASES
from benchmarks.rig import rig, settings


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One case, once."""
    case, _ = CASES[options.case]
    async with rig(options) as running:
        figures = await case(running, options)
        info = await running.server_info()
    return {"case": options.case, "n": options.n, **figures, **settings(options, info)}


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("-n", type=int, help="runs; by default what gives a few seconds")
    parser.add_argument("--concurrency", type=int, default=500, help="slots of the worker")
    parser.add_argument("--in-flight", type=int, default=500, help="runs the client keeps going at once")
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--uvloop", action="store_true", help="run the worker on uvloop")
    options = parser.parse_args()
    if options.n is None:
        options.n = CASES[options.case][1]
    print(json.dumps(asyncio.run(measure(options))))


if __name__ == "__main__":
    main()
