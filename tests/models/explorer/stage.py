"""What steps and clients know of one schedule, in memory; and the gates at which steps wait to be let on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from faults.book import Book

from .actors import Current
from .loop import Clock


class MemoryBook(Book):
    """A ledger like that of the fault tests, by the world's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("")
        self._clock = clock
        self._lines: list[dict[str, Any]] = []

    def write(self, kind: str, **fields: Any) -> None:
        self._lines.append({"kind": kind, "t": self._clock.now, **fields})

    def forget(self, which: Callable[[dict[str, Any]], bool]) -> None:
        """Strikes some lines out: what they say is not to be held against the store."""
        self._lines = [line for line in self._lines if not which(line)]

    def lines(self, *kinds: str) -> list[dict[str, Any]]:
        return [line for line in self._lines if not kinds or line["kind"] in kinds]


class Stage:
    """Of the schedule that is being played."""

    def __init__(self, clock: Clock) -> None:
        self.book = MemoryBook(clock)
        self._open: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)

    def begin(self, run: str, step: str) -> str:
        """A step begins; its nonce."""
        assert Current.actor is not None
        nonce = Current.actor.token(4)
        self.book.write("begin", run=run, step=step, nonce=nonce)
        return nonce

    async def gate(self, name: str) -> None:
        """Waits until the scenario lets it on."""
        if name not in self._open:
            future = asyncio.get_running_loop().create_future()
            self._waiting[name].append(future)
            await future

    def open(self, *names: str) -> None:
        """Lets steps on."""
        for name in names:
            self._open.add(name)
            for future in self._waiting.pop(name, ()):
                if not future.done() and not future.get_loop().is_closed():
                    future.set_result(None)

    def is_waiting(self, name: str) -> bool:
        """Whether a step waits there."""
        return any(not future.done() for future in self._waiting[name])


class Now:
    """Where steps find it."""

    stage: Stage
