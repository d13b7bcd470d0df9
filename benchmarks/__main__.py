"""`python -m benchmarks CASE`: one case of one system, once, as a JSON line; `report`: all, with tables and plots."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import environments, growth, report, scaling
from benchmarks.cases import CASES, driver_of
from benchmarks.host import Host, find_systems


def one(options: argparse.Namespace) -> int:
    """One case, once, in a process of its own."""
    found, absent = find_systems([sys.executable, *environments.pythons()])
    if options.system not in found:
        raise SystemExit(f"{options.system} cannot run here: {absent.get(options.system, f'there are {list(found)}')}")
    how = {"concurrency": options.concurrency, "uvloop": options.uvloop}
    host = Host(found[options.system], how)
    try:
        figures = host.ask(driver_of(options.command), options.n or CASES[options.command].n, options.in_flight)
    finally:
        host.stop()
    asked = {"case": options.command, "n": options.n or CASES[options.command].n, "in_flight": options.in_flight}
    print(json.dumps({**asked, **figures, **host.facts, **how, "machine": report.machine()}))
    return int("error" in figures)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="CASE|report|growth|scaling")
    growing = commands.add_parser("growth", help="how cost grows, of ours")
    growth.add_arguments(growing)
    growing.set_defaults(run=growth.run)
    widening = commands.add_parser("scaling", help="throughput by number of worker processes, of ours")
    scaling.add_arguments(widening)
    widening.set_defaults(run=scaling.run)
    reporting = commands.add_parser("report", help=report.__doc__)
    report.add_arguments(reporting)
    reporting.set_defaults(run=report.run)
    for name, case in CASES.items():
        single = commands.add_parser(name, help=f"{case.title}, {case.unit}")
        single.add_argument("-n", type=int, help=f"how many; by default {case.n:,}")
        single.add_argument("--system", default="durable-async", help="a name in benchmarks/peers")
        single.add_argument("--concurrency", type=int, default=500, help="slots of the worker")
        single.add_argument("--in-flight", type=int, default=case.in_flight, help="how many at once")
        single.add_argument("--uvloop", action="store_true", help="worker and client on uvloop")
        single.set_defaults(run=one)
    options = parser.parse_args()
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
