"""A history as a file: one JSON object for a run and its descendants, bytes as Latin-1 text so that it can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from durable_async.store.commands import Claimed

FOLDER = Path(__file__).parent / "histories"
KEPT = (
    "workflow", "queue", "parent", "ref", "depth", "attempt", "created", "started", "version", "status", "gen",
    "deadline",
)  # fmt: skip
"""Fields of the record that a replay depends on."""


@dataclass(frozen=True)
class Recorded:
    """One run."""

    id: str
    record: dict[str, str]
    journal: list[bytes]

    def end(self, length: int) -> int:
        """Where the life ends that a journal of this length is in; a failed run that was taken up again has several."""
        return next(at for at in range(length, len(self.journal)) if self.journal[at][:1] == b"Z")

    def claimed(self, length: int) -> Claimed:
        """What a worker is told that takes the run over when its journal has this length."""
        f = self.record
        later_lives = sum(line[:1] == b"V" for line in self.journal[length:])
        return Claimed(
            epoch=1,
            started_ms=int(f["started"]),
            workflow=f["workflow"],
            queue=f["queue"],
            parent=f.get("parent", ""),
            ref=f.get("ref", ""),
            hint="",
            parent_queue="",
            attempt=int(f.get("attempt", 1)),
            depth=int(f.get("depth", 0)),
            created_ms=int(f["created"]),
            version=f.get("version"),
            retention_ms=-1,
            gen=int(f.get("gen", 1)) - later_lives,
            deadline_ms=int(f["deadline"]) if f.get("deadline") else None,
            journal=self.journal[:length],
            journal_length=length,
            inbox=[],
        )


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
