"""Every way to break the package that is listed still is one, and a test is known that notices it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .gate import ROOT, SURVIVED, TESTS, Caught, known
from .mutants import all_mutants
from .table import write_table

UNTRIED = Caught("not tried yet", 0.0)
PAGE = ROOT / "docs" / "reliability" / "mutants.md"


def test_every_mutant_applies_and_none_is_known_to_survive() -> None:
    found = known()
    for mutant in all_mutants():
        for file, good, _ in mutant.patches:
            assert good in (ROOT / "durable_async" / file).read_text(), f"{file} has changed: so must {mutant.id}"
        # A line that is new has not been tried yet: the page says so. A rule comes with its test.
        caught = found.get(mutant.id, SURVIVED if mutant.what else UNTRIED)
        assert caught.test, f"run `python -m mutation --only {mutant.id}` in tests/, and commit what it writes"


@pytest.mark.long
def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    write_table(all_mutants(), known(), tmp_path / "mutants.md")
    assert PAGE.read_text() == (tmp_path / "mutants.md").read_text(), "run `python -m mutation --table` in tests/"


@pytest.mark.long
def test_every_mutant_is_caught() -> None:
    """In another process: this one has imported what is to be broken."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "mutation", "--check"], cwd=TESTS, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
