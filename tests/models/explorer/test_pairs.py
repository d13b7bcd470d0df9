"""Every order of two things that happen at once, with and without faults; the known-bad variants are found."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import budget
import pytest

from durable_async.server.ephemeral import ephemeral_server

from .pairs import PAIRS
from .play import Bounds
from .reduction import Touch
from .search import Explorer
from .variants import VARIANTS, Variant
from .walks import BOUNDS, MANY

QUICK = (
    ("park-finish", "0"), ("park-finish", "1/0"), ("park-timeout", "0"), ("finish-cancel", "0"),
    ("finish-cancel", "1/0"), ("create-cancel", "0/1"), ("spawn-cancel", "0"), ("claim-claim", "0"),
    ("claim-claim", "1/0"), ("release-reap", "0/0"), ("event-wait", "0"), ("timeout-event", "0/1"),
    ("start-start", "0"), ("start-conflict", "0"), ("sweep-finish", "0/1"), ("expiry-read", "0"), ("expiry-start", "0"),
    ("renewal-deliver", "0/1"), ("leave-admit", "0/1"), ("pause-claim", "0/1"),
)  # fmt: skip
"""Pairs, and the bounds within which they are always explored: faults, and switches if these are bounded."""
ALL = [pytest.param(*case) for case in QUICK] + [
    pytest.param(name, bounds, marks=pytest.mark.long) for name in PAIRS for bounds in ("0", "1/0", "1/1", "1", "2/0")
]
WALKS = 25
LONG_WALKS = 20_000


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    """On a server of its own."""
    with ephemeral_server() as server, Explorer(server.url) as made:
        yield made
    with warnings.catch_warnings():
        # What has crashed in a schedule was never closed.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def note(**figures: object) -> None:
    """A line for docs/reliability, if somebody collects them."""
    if path := os.environ.get("DURABLE_FAULTS_REPORT"):
        with Path(path).open("a") as out:
            out.write(json.dumps({"row": "explorer", **figures}) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bounds"), ALL)
def test_every_order(explorer: Explorer, name: str, bounds: str) -> None:
    count = 0
    for outcome in explorer.all(PAIRS[name], Bounds.read(bounds)):
        assert not outcome.problems, outcome.report(name, Bounds.read(bounds))
        count += 1
        if budget.is_spent():
            break
    assert count > 1 or budget.is_spent()
    note(pair=name, bounds=bounds, schedules=count, is_whole=not budget.is_spent())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_known_bad_variants_are_found(explorer: Explorer, variant: Variant) -> None:
    scenario = dataclasses.replace(PAIRS[variant.pair], kinds=variant.kinds)
    explorer.server.variant(variant.scripts)
    try:
        with variant.in_force():
            found = next((each for each in explorer.all(scenario, variant.bounds) if each.problems), None)
    finally:
        explorer.server.variant({})
    assert found, "nobody noticed"


def ends_of(explorer: Explorer, name: str, **how: bool) -> tuple[int, set[Any]]:
    """How many schedules there are, and in which states nobody could go on."""
    outcomes = list(explorer.all(PAIRS[name], Bounds(0), **how))
    return len(outcomes), {outcome.end for outcome in outcomes if outcome.is_whole}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["event-wait", "park-finish", "finish-cancel"]
    + [pytest.param(name, marks=pytest.mark.long) for name in ("claim-claim", "spawn-cancel", "start-start")],
)
def test_what_is_left_out_ends_as_what_is_played(explorer: Explorer, name: str) -> None:
    count, ends = ends_of(explorer, name, is_reduced=False, merges=False)
    merged, same = ends_of(explorer, name, is_reduced=False)
    reduced, as_well = ends_of(explorer, name)
    assert ends == same == as_well
    assert reduced < merged <= count
    assert ends_of(explorer, name, merges=False)[1] == ends


@pytest.mark.parametrize("name", ["event-wait", "park-finish", "finish-cancel"])
def test_steps_that_are_wrongly_taken_for_independent_are_noticed(
    explorer: Explorer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ends = ends_of(explorer, name)
    monkeypatch.setattr(Touch, "meets", lambda one, other: False)
    assert ends_of(explorer, name)[1] < ends


@pytest.mark.slow
@pytest.mark.parametrize("first", [pytest.param(0), pytest.param(WALKS, marks=pytest.mark.long)])
def test_random_walks(explorer: Explorer, first: int) -> None:
    count = 0
    for seed in range(first, first + (LONG_WALKS if first else WALKS)):
        outcome = explorer.walk(MANY, BOUNDS, seed)
        assert not outcome.problems, f"seed {seed}\n" + outcome.report("many", BOUNDS)
        count += 1
        if budget.is_spent():
            break
    note(walks=count, first=first)


def test_a_schedule_that_leaves_another_one_is_the_same_from_its_beginning(explorer: Explorer) -> None:
    pair = PAIRS["finish-cancel"]
    whole = [outcome for outcome in explorer.all(pair, Bounds(0)) if outcome.is_whole]
    assert len(whole) > 1
    assert [explorer.one(pair, Bounds(0), each.decisions).end for each in whole] == [each.end for each in whole]


def test_a_seed_that_goes_wrong_is_shown_and_can_be_shown_again(explorer: Explorer) -> None:
    bad = next(variant for variant in VARIANTS if variant.name == "a park does not look at the mail")
    explorer.server.variant(bad.scripts)
    try:
        outcome = next(each for seed in range(20) if (each := explorer.walk(MANY, BOUNDS, seed)).problems)
        again = explorer.one(MANY, BOUNDS, outcome.decisions)
    finally:
        explorer.server.variant({})
    told = outcome.report(MANY.name, BOUNDS)
    assert "from here on everything is tried" in told
    assert "commit_run id=twice entry=Qe1 want=park" in told
    assert f"replay many {BOUNDS} {','.join(map(str, outcome.decisions))}" in told
    assert all(f"!! {fault.split()[0]}" in told for fault in outcome.faults)
    assert (again.problems, again.trace) == (outcome.problems, outcome.trace)


def test_the_same_seed_is_the_same_trace(explorer: Explorer) -> None:
    one = explorer.walk(MANY, BOUNDS, 7, wants_trace=True)
    again = explorer.walk(MANY, BOUNDS, 7, wants_trace=True)
    other = explorer.walk(MANY, BOUNDS, 8, wants_trace=True)
    assert one.trace == again.trace
    assert one.trace != other.trace
    # The decisions alone do as well, without the seed.
    assert explorer.one(MANY, BOUNDS, one.decisions).trace == one.trace
