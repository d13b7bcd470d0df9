"""What steps tell a test: lines of one file, appended by whatever process runs the step."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path


def note(path: str, line: str) -> None:
    """Appends a line, in one write: lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


async def noted(path: str, line: str) -> None:
    """In a step: waits until somebody has noted this line."""
    ledger = Ledger(Path(path))
    while line not in ledger.lines():
        await asyncio.sleep(0.01)


class Ledger:
    """The test's side of the file; `path` goes into a run's input."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def lines(self) -> list[str]:
        """Everything noted so far, in order."""
        try:
            return Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []

    def note(self, line: str) -> None:
        """A line from the test, for steps that wait for it."""
        note(self.path, line)

    def counts(self) -> Counter[str]:
        """How often each line was noted."""
        return Counter(self.lines())

    def starting(self, prefix: str) -> list[str]:
        """The lines that begin with a prefix, in order, without it."""
        return [line.removeprefix(prefix) for line in self.lines() if line.startswith(prefix)]
