"""One row of the fault matrix, struck once: its seed, its ledger, its workers, and what is noted of it.

A test says which rows it is by `@pytest.mark.row("D9")`. `matrix.py` runs them all and knows which have no test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from semantics.crowd import Nursery

from .book import Book
from .fleet import Fleet
from .invariants import figures_of, pauses
from .servers import server_name

LONG = int(os.environ.get("DURABLE_FAULTS_TREES", "1500"))


def sizes(short: int, long: int = LONG) -> pytest.MarkDecorator:
    """How many trees: a few in each run of the matrix, very many in the ``long`` one."""
    return pytest.mark.parametrize("trees", [short, pytest.param(long, marks=pytest.mark.long)])


@dataclass
class Row:
    """What a test of the matrix is given."""

    name: str
    seed: int
    namespace: str
    nursery: Nursery
    folder: Path
    book: Book
    write: Callable[..., None]

    def fleet(self, url: str, **options: Any) -> Fleet:
        """Workers and clients of this row."""
        fleet = Fleet(url, self.namespace, self.nursery, self.book, self.seed, **options)
        fleet.logs = [self.nursery.log] if self.nursery.log is not None else []
        return fleet

    def tell(self, fleet: Fleet | None, **more: Any) -> None:
        """Notes the figures, once everything has been judged."""
        book = self.book
        again, times = figures_of(book)
        figures: dict[str, Any] = {
            "seed": self.seed,
            "server": server_name(),
            "faults": fleet.faults if fleet is not None else 0,
            "runs": len({line["run"] for line in book.lines("begin")}),
            "acknowledged": len({line["id"] for line in book.lines("start")}),
            "finished": len({line["id"] for line in book.lines("result")}),
            "steps_again": again,
            "recoveries": times,
            "pauses": pauses(book),
        }
        self.write(self.name, **{**figures, **more})
