"""What the Python side knows of the rules in lib/structure: the kinds, the children that a sentence names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import durable_async.store
from durable_async.engine.records import Kind, record
from durable_async.engine.untold import is_untold
from durable_async.store.structure import ACTIVE, DAMAGE, INCURABLE, awaited_in, glob_of


def test_every_kind_has_a_sentence() -> None:
    text = (Path(durable_async.store.__file__).parent / "lua" / "lib" / "structure.lua").read_text()
    kinds = set(re.findall(r"found\.(\w+) = |found\.(\w+), plan\.\w+ =|'(\w+_(?:gone|left))'", text))
    assert {name for group in kinds for name in group if name} | {"unreadable"} == set(DAMAGE)
    incurable = re.search(r"INCURABLE = \{([^}]*)\}", text)
    assert incurable and set(re.findall(r"(\w+) = true", incurable.group(1))) == INCURABLE
    active = re.search(r"ACTIVE = \{([^}]*)\}", text)
    assert active and set(re.findall(r"(\w+) = true", active.group(1))) == ACTIVE


@pytest.mark.parametrize(
    ("waiting", "children"),
    [
        ("child p/a", ["p/a"]),
        ("child p/a, child p/b, event x and 2 more", ["p/a", "p/b"]),
        ("child p/a, child p/~0f and 12 more", ["p/a", "p/~0f"]),
        ("event go, child other/x", []),
        ("timer until 2026-01-01T09:00:00Z", []),
        ("", []),
    ],
)
def test_whom_a_sentence_names(waiting: str, children: list[str]) -> None:
    assert awaited_in("p/q" if "~" not in waiting else "p", waiting) == children


def test_a_pattern_of_a_text() -> None:
    assert glob_of("durable:{a-b.0}:") == "durable:{a\\-b.0}:"
    assert glob_of("[*?]") == "\\[\\*\\?\\]"


def test_what_a_journal_tells() -> None:
    begun = record(Kind.CHILD, 1, "child:c#1", "p/c", "w", b"d", 1)
    failed = b"M1 1 Cfp/c\nboom"
    assert is_untold([b"S", begun], "p/c")
    assert not is_untold([b"S", begun, failed], "p/c")
    assert is_untold([b"S", begun, failed, begun], "p/c")
    assert not is_untold([b"S", begun], "p/d")
    assert not is_untold([b"S", b"Rgarbage"], "p/c")
