"""F4, P14, P15: random programs under random strikes come to what plain asyncio says that they come to.

A failure shows the programs and the schedule; `python -m models.programs` runs them again (see there).
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import budget
import pytest
import redis
from faults.book import Book
from faults.rig import STRIKES, wired

from durable_async.server.ephemeral import EphemeralServer

from .programs import make
from .programs_plain import NAMES, NeverEndsError, work
from .programs_rig import Loaded, ProgramCase, Schedule, draw, in_turn, load

TOGETHER = 6
"""Programs of one case."""
AT_ONCE = 6
"""Cases at the same time."""


@pytest.fixture
def raw(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_server.url) as connection, wired():
        yield connection


def loaded_if_it_ends(seed: int) -> Loaded | None:
    """The program of a seed; None if plain asyncio does not end it either."""
    try:
        return load(make(seed))
    except NeverEndsError:
        return None


@pytest.mark.parametrize("seed", [20050, 20064])
def test_plain_asyncio_leaves_nothing_to_the_garbage_collector(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never ends; one whose gather leaves a branch behind that waits for an event that nobody has."""
    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: found.append(about.object))

    async def collecting(given: Any, name: str, **how: Any) -> str:
        gc.collect()
        return await work(given, name, **how)

    monkeypatch.setitem(NAMES, "work", collecting)
    assert (loaded_if_it_ends(seed) is None) == (seed == 20050)
    gc.collect()
    assert not found


class Campaign:
    """Many cases on one server."""

    def __init__(self, server: EphemeralServer, raw: redis.Redis, namespace: str, folder: Path) -> None:
        self.server, self.raw, self.namespace, self.folder = server, raw, namespace, folder
        self.cases: list[ProgramCase] = []
        self.problems: list[str] = []

    async def case(self, loaded: list[Loaded], schedule: Schedule) -> ProgramCase:
        """One of them, to its end."""
        name = str(len(self.cases))
        book = Book(self.folder / f"ledger{name}")
        case = ProgramCase(self.server.url, self.raw, f"{self.namespace}-{name}", book, loaded, schedule)
        self.cases.append(case)
        try:
            await case.run()
        except AssertionError as error:
            self.problems.append(str(error))
        return case

    async def under_strikes(self, loaded: list[Loaded], schedules: int) -> None:
        """Some programs without strikes, in memory and by replay, and then under so many schedules."""
        first = loaded[0].program.seed
        case = await self.case(loaded, Schedule())
        await self.case(loaded, Schedule(is_resident=False))
        for n in range(schedules):
            if budget.is_spent():
                break
            await self.case(loaded, draw(1000 * first + n, case.calls))

    def random(self, first: int, count: int, schedules: int) -> None:
        """So many programs, each under so many schedules; checks that the strikes met something."""
        found = [loaded for seed in range(first, first + count) if (loaded := loaded_if_it_ends(seed)) is not None]
        assert count - len(found) <= max(1, count // 50), "most programs have a result"
        groups = [found[at : at + TOGETHER] for at in range(0, len(found), TOGETHER)]
        asyncio.run(in_turn([partial(self.under_strikes, loaded, schedules) for loaded in groups], AT_ONCE))
        strikes = sum(len(case.schedule.strikes) for case in self.cases)
        met = sum(len(case.struck) for case in self.cases)
        # pytest shows it with -rP.
        sys.stdout.write(
            f"{len(found)} programs, {len(self.cases)} cases, {strikes} strikes, {met} of them met a call\n"
        )
        # What killed workers leave is reported now: in the middle of somebody's `ast.parse` CPython 3.11 trips over it.
        gc.collect()
        self.check()

    def every_call(self, one: Loaded, strike: str) -> None:
        """One program, struck at each of its calls in turn."""
        calls = asyncio.run(self.case([one], Schedule())).calls
        # A few more, since batches differ.
        schedules = [Schedule(((strike, at),), is_resident=bool(at % 2)) for at in range(1, calls + 4)]
        asyncio.run(in_turn([partial(self.case, [one], schedule) for schedule in schedules], 2 * AT_ONCE))
        self.check()

    def check(self) -> None:
        """That every case came out right, and the strikes met something."""
        assert not self.problems, f"{len(self.problems)} of {len(self.cases)} cases\n" + "\n\n".join(self.problems)
        struck = Counter(name for case in self.cases for name in case.struck)
        # By chance, so not each kind of call every time.
        assert struck["commit_run"] and len(struck) > 2, struck


@pytest.fixture
def campaign(shared_server: EphemeralServer, raw: redis.Redis, namespace: str, tmp_path: Path) -> Campaign:
    return Campaign(shared_server, raw, namespace, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 30, 60])
def test_f4_random_programs_come_to_what_plain_asyncio_says(campaign: Campaign, first: int) -> None:
    campaign.random(first, 30, 4)


@pytest.mark.long
def test_f4_many_random_programs(campaign: Campaign) -> None:
    first = int(os.environ.get("DURABLE_PROGRAMS_FIRST", "1000"))
    campaign.random(first, int(os.environ.get("DURABLE_PROGRAMS_COUNT", "600")), 12)


@pytest.mark.long
@pytest.mark.parametrize("seed", [5, 31, 34, 46])
@pytest.mark.parametrize("strike", STRIKES)
def test_d02_d23_every_call_of_a_program(campaign: Campaign, strike: str, seed: int) -> None:
    campaign.every_call(load(make(seed)), strike)
