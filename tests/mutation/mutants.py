"""All of them."""

from __future__ import annotations

from lua.test_mutants import MUTANTS

from .gate import Mutant, lua_mutant
from .rules import RULES


def all_mutants() -> list[Mutant]:
    """Rules first, then single lines of scripts."""
    lines = [lua_mutant(*values) for values in MUTANTS]
    found = [*RULES, *lines]
    assert len({m.id for m in found}) == len(found), "an id is used twice"
    return found
