"""A history as a file: one JSON object for a run and its descendants, bytes as Latin-1 text so that it can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_async.store.commands import Claimed

FOLDER = Path(__file__).parent / "histories"
KEPT = (
    "workflow", "queue", "parent", "ref", "depth", "attempt", "created", "started", "version", "context", "status",
    "gen", "deadline",
)  # fmt: skip
"""Fields of the record that a replay depends on."""


@dataclass(frozen=True)
class Recorded:
    """One run."""

    id: str
    record: dict[str, str]
    journal: list[bytes]

    def claimed(self, length: int) -> Claimed:
        """What a worker is told that takes the run over when its journal has this length."""
        # The answer of claim_runs.lua, of which only these fields are read.
        f: list[Any] = [None] * 64
        at = {
            "started": 8, "workflow": 9, "queue": 10, "parent": 11, "ref": 12, "attempt": 15, "depth": 16,
            "created": 17, "version": 18,
        }  # fmt: skip
        for name, index in at.items():
            if name in self.record:
                f[index] = self.record[name].encode("latin-1")
        return Claimed.from_reply([0, 1, f, self.journal[:length], length, []])


def dump(runs: list[Recorded], path: Path) -> None:
    """Writes a history."""
    found = [
        {"id": run.id, "record": run.record, "journal": [line.decode("latin-1") for line in run.journal]}
        for run in runs
    ]
    path.write_text(json.dumps(found, indent=1) + "\n")


def load(path: Path) -> list[Recorded]:
    """Reads a history."""
    return [
        Recorded(run["id"], run["record"], [line.encode("latin-1") for line in run["journal"]])
        for run in json.loads(path.read_text())
    ]
