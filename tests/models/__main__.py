"""Runs programs again: ``python -m models SEED...`` in tests/; what a test that has failed shows is what to give it.

``--strike crash-after:17`` strikes the first worker at its 17th call, a second one the worker that comes then; without
any, and with ``--times``, it is run so many times under strikes by chance. ``--shorter`` leaves out what is not needed
for the failure.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis
from faults.book import Book
from faults.rig import wired

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from .programs import Program, Stmt, make
from .programs_rig import ProgramCase, Schedule, draw, load


class Again:
    """Some programs on a server of their own."""

    def __init__(self, server: EphemeralServer, raw: redis.Redis, folder: str) -> None:
        self.server, self.raw, self.folder, self.count = server, raw, Path(folder), 0

    def case(self, programs: list[Program], schedule: Schedule) -> ProgramCase:
        """One of them, not yet run."""
        self.count += 1
        book, loaded = Book(self.folder / f"ledger{self.count}"), [load(program) for program in programs]
        return ProgramCase(self.server.url, self.raw, f"again{self.count}", book, loaded, schedule)

    def fails(self, programs: list[Program], schedule: Schedule, times: int) -> str:
        """What is wrong; empty if nothing is, or if the text means nothing any more."""
        calls = 0
        for n in range(times):
            by_chance = draw(n, calls) if calls and not schedule.strikes else schedule
            try:
                case = self.case(programs, by_chance)
            except Exception:
                return ""
            try:
                asyncio.run(case.run())
            except AssertionError as error:
                return str(error)
            calls = calls or case.calls
        return ""


def removable(program: Program) -> Iterator[tuple[list[Stmt], Stmt]]:
    """Every statement that can be left out, outer ones first."""

    def inside(block: list[Stmt]) -> Iterator[tuple[list[Stmt], Stmt]]:
        for stmt in list(block):
            if not stmt.is_fixed:
                yield block, stmt
            for inner in stmt.blocks:
                yield from inside(inner)

    for body in reversed(program.definitions.values()):
        yield from inside(body)


def shorten(again: Again, programs: list[Program], schedule: Schedule) -> str:
    """Leaves out what can be left out; what is wrong with what is left."""
    found = again.fails(programs, schedule, 3)
    for program in list(programs):
        others = [one for one in programs if one is not program]
        if others and (text := again.fails(others, schedule, 3)):
            programs[:], found = others, text
    for program in programs:
        for block, stmt in list(removable(program)):
            if stmt not in block:
                continue
            at = block.index(stmt)
            del block[at]
            if text := again.fails(programs, schedule, 3):
                found = text
            else:
                block.insert(at, stmt)
        text = program.source
        for name in [name for name in program.definitions if text.count(name) == 1]:
            del program.definitions[name]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models")
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--size", type=int, default=10)
    parser.add_argument("--strike", action="append", default=[], metavar="KIND:CALL")
    parser.add_argument("--replay", action="store_true", help="every await is a replay")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--shorter", action="store_true")
    given = parser.parse_args()
    strikes = tuple((kind, int(at)) for kind, _, at in (one.partition(":") for one in given.strike))
    schedule = Schedule(strikes, not given.replay)
    programs = [make(seed, given.size) for seed in given.seeds]
    with (
        ephemeral_server() as server,
        redis.Redis.from_url(server.url) as raw,
        tempfile.TemporaryDirectory() as folder,
        wired(),
    ):
        again = Again(server, raw, folder)
        found = shorten(again, programs, schedule) if given.shorter else again.fails(programs, schedule, given.times)
    sys.stdout.write(found or "\n".join(program.source for program in programs))
    sys.stdout.write("\nfails\n" if found else "\nas plain asyncio says\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
