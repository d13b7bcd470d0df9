"""The reference model by itself: the table in the docs is what it says, and it knows every script and every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from durable_async.store.keys import Keys
from durable_async.store.scripts import SCRIPTS

from .lockstep_properties import PROPERTIES
from .reference.keyspace import KEY_FAMILIES
from .reference.state import TERMINAL
from .reference.table import TRANSITIONS, cell, table
from .reference.wire import CALLS

PAGE = Path(__file__).parents[2] / "docs" / "reliability" / "transitions.md"
BEGIN, END = "<!-- table -->\n", "\n<!-- end -->"


def test_the_docs_show_what_the_model_says() -> None:
    """`python -m models.test_reference` in tests/ writes it anew."""
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == table()


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_one_ended_run_stands_for_the_others(transition: str) -> None:
    assert len({cell(status, transition) for status in TERMINAL if status != "failed"}) == 1


def test_it_knows_every_script() -> None:
    assert set(CALLS) == set(SCRIPTS)


def test_it_knows_every_key() -> None:
    keys = Keys("n")
    found = {name.removeprefix(keys.base).partition(":")[0] for name in (*keys.permanent(), *keys.room("q"))}
    found |= {getattr(keys, name).removeprefix(keys.base).rstrip(":") for name in Keys.__slots__ if "prefix" in name}
    assert found == KEY_FAMILIES


def test_every_property_says_which_it_is() -> None:
    assert all((holds.__doc__ or "").startswith("P") and "." in (holds.__doc__ or "") for holds in PROPERTIES)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(BEGIN) + len(BEGIN)] + table() + text[text.index(END) :], encoding="utf-8")
