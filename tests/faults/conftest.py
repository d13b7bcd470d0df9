"""Worker processes for fault tests, from the nursery of the semantics tests, and the report."""

from __future__ import annotations

import gc
import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from semantics.crowd import Nursery

Report = Callable[..., None]


@pytest.fixture(autouse=True)
def _struck_things_go_here() -> Iterator[None]:
    """What a strike has cut off is never closed: it goes with its own test, not with one that the collector meets."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Makes worker processes; what is left of them ends with the session."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of this test's random choices; printed if it fails. `$DURABLE_FAULTS_SEED` repeats one."""
    chosen = int(os.environ.get("DURABLE_FAULTS_SEED") or random.randrange(10**6))
    request.node.add_report_section("setup", "seed", f"DURABLE_FAULTS_SEED={chosen}")
    return chosen


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Appends a row's figures, as a line of JSON, to `$DURABLE_FAULTS_REPORT`."""

    def write(row: str, **figures: Any) -> None:
        line = json.dumps({"row": row, "test": request.node.name, **figures})
        request.node.add_report_section("call", "figures", line)
        if path := os.environ.get("DURABLE_FAULTS_REPORT"):
            with Path(path).open("a") as out:
                out.write(line + "\n")

    return write
