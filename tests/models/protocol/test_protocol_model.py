"""The protocol as it was built: no small world breaks a law, and each rule left out breaks one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import budget
import pytest

from .explorer import Search
from .variants import VARIANTS, Variant
from .words import Scene
from .worlds import all_worlds, small_worlds

SMALL = list(small_worlds())
MOST = 20_000
"""States of a small world, at most."""
LONG_MOST = 2_000_000


@pytest.mark.parametrize("scene", [scene for _, scene in SMALL], ids=[name for name, _ in SMALL])
def test_small_bounds(scene: Scene) -> None:
    result = Search(scene, most=MOST).run()
    assert not result.broken, str(result)
    assert result.is_whole, f"more than {MOST} states: this world is for the long run"


@pytest.mark.long
@pytest.mark.parametrize("world", list(all_worlds()), ids=lambda world: world[0])
def test_large_bounds(world: tuple[str, Scene]) -> None:
    """What is more than fits, or more than there is time for, is explored so far, the shortest ways first."""
    result = Search(world[1], most=LONG_MOST, is_spent=budget.is_spent).run()
    assert not result.broken, str(result)
    if path := os.environ.get("DURABLE_FAULTS_REPORT"):
        line = {"row": "model", "world": world[0], "states": result.states, "moves": result.moves}
        with Path(path).open("a") as out:
            out.write(json.dumps({**line, "is_whole": result.is_whole}) + "\n")


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_rule_left_out_breaks_something(variant: Variant) -> None:
    result = Search(variant.scene(), most=60_000).run()
    assert result.broken, f"{variant} left out breaks nothing in {variant.programs!r}: {result}"


def test_every_rule_is_left_out_once() -> None:
    text = "\n".join(path.read_text() for path in Path(__file__).parent.glob("[!tv]*.py"))
    rules = set(re.findall(r'\.has\(\s*"([^"]+)"', text)) | {"only an empty stream is removed"}
    assert {rule for variant in VARIANTS for rule in variant.off} == rules


def test_a_trace_can_be_read() -> None:
    [variant] = [variant for variant in VARIANTS if str(variant) == "a park looks for messages"]
    told = str(Search(variant.scene()).run()).splitlines()
    assert told[0] == "BROKEN: P is parked, and a message for it waits"
    assert told[1] == "   1 A reads P0 from queue:q"
    assert re.fullmatch(r" +\d+ server: commit_run #2 \[step s1 ok\] park of P by A -> PARKED", told[-1])
