"""The events of one run: what arrived and was not consumed, and who waits for what."""

from __future__ import annotations

import asyncio
from collections import deque


class Mailbox:
    """First in, first out per name; an event goes to the longest-waiting wait of its name, or is kept.

    Most runs see no event: what they would need is made at the first use, and waits are plain lists. A parked run is
    to be small.
    """

    __slots__ = ("_kept", "_waits")

    def __init__(self) -> None:
        self._kept: dict[str, deque[bytes]] | None = None
        self._waits: dict[str, list[asyncio.Future[bytes]]] | None = None

    def put(self, name: str, payload: bytes) -> None:
        """Hands an event to the first live wait of its name, or keeps it."""
        waits = self._waits.get(name) if self._waits else None
        while waits:
            future = waits.pop(0)
            if not future.done():
                future.set_result(payload)
                return
        self._box(name).append(payload)

    def _box(self, name: str) -> deque[bytes]:
        if self._kept is None:
            self._kept = {}
        return self._kept.setdefault(name, deque())

    def take(self, name: str) -> bytes | None:
        """The oldest kept event of this name, consumed; None if there is none."""
        kept = self._kept.get(name) if self._kept else None
        if not kept or self._kept is None:
            return None
        payload = kept.popleft()
        if not kept:
            del self._kept[name]
        return payload

    def wait(self, name: str, future: asyncio.Future[bytes]) -> None:
        """Queues a wait behind the others of its name."""
        if self._waits is None:
            self._waits = {}
        self._waits.setdefault(name, []).append(future)

    def give_back(self, name: str, payload: bytes) -> None:
        """Puts an event back in front: it reached a wait that was cancelled in the same moment."""
        self._box(name).appendleft(payload)

    def forget(self, name: str, future: asyncio.Future[bytes]) -> None:
        """Removes a wait that ended otherwise."""
        waits = self._waits.get(name) if self._waits else None
        if waits is not None and self._waits is not None:
            if future in waits:
                waits.remove(future)
            if not waits:
                del self._waits[name]

    def waiting(self) -> list[str]:
        """The names that are waited for, in the order of their first wait."""
        return [name for name, waits in (self._waits or {}).items() if any(not f.done() for f in waits)]
