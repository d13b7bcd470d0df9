"""The ledger of a fault run: what clients and steps know, kept outside the store, one JSON line each, appended.

``kind`` says what a line is: `namespace`; `start`, `cancel`, `event`, `result` what a client was answered; `expect`
what a run must return; `begin`, `raise`, `end`, `got`, `consumed`, `slept` what step code did; `fault` what was
injected, from `t` to `until`; `seen` what `invariants.observe` saw of a run. ``t`` is this machine's monotonic clock,
which all processes share and no fault sets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic as clock
from typing import Any


def write(path: str, kind: str, **fields: Any) -> None:
    """Appends a line."""
    append(path, {"kind": kind, "t": clock(), **fields})


def append(path: str, line: dict[str, Any]) -> None:
    """In one write: lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, json.dumps(line).encode() + b"\n")
    finally:
        os.close(fd)


class Book:
    """A ledger, for who writes and for who reads."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def write(self, kind: str, **fields: Any) -> None:
        """A line of the test or of a client."""
        write(self.path, kind, **fields)

    @contextmanager
    def fault(self, what: str, **fields: Any) -> Iterator[None]:
        """A fault that lasts as long as the block."""
        began = clock()
        try:
            yield
        finally:
            write(self.path, "fault", **{"what": what, **fields, "t": began, "until": clock()})

    def lines(self, *kinds: str) -> list[dict[str, Any]]:
        """All lines of these kinds (of any, by default), in order."""
        try:
            text = Path(self.path).read_text()
        except FileNotFoundError:
            return []
        # The last one may be under way: a reader can see half of another process's write.
        found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in found if not kinds or line["kind"] in kinds]
