"""The events of one run: what arrived and was not consumed, and who waits for what."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple


class Arrived(NamedTuple):
    """An event, with its place in the order in which the run's events arrived."""

    number: int
    name: str
    payload: bytes


class Mailbox:
    """First in, first out per name; an event goes to the longest-waiting wait of its name, or is kept.

    A wait is a future, and may stand in the queues of several names: the first event of any of them is its own. Most
    runs see no event: what they would need is made at the first use, and waits are plain lists. A parked run is to be
    small.
    """

    __slots__ = ("_arrived", "_kept", "_waits")

    def __init__(self) -> None:
        self._arrived = 0
        self._kept: dict[str, deque[Arrived]] | None = None
        self._waits: dict[str, list[asyncio.Future[Arrived]]] | None = None

    def put(self, name: str, payload: bytes) -> None:
        """Hands an event to the first live wait of its name, or keeps it."""
        self._arrived += 1
        event = Arrived(self._arrived, name, payload)
        if not self._hand_over(event):
            self._box(name).append(event)

    def _hand_over(self, event: Arrived) -> bool:
        waits = self._waits.get(event.name) if self._waits else None
        while waits:
            future = waits.pop(0)
            if not future.done():
                future.set_result(event)
                return True
        return False

    def _box(self, name: str) -> deque[Arrived]:
        if self._kept is None:
            self._kept = {}
        return self._kept.setdefault(name, deque())

    def take(self, *names: str) -> Arrived | None:
        """The kept event of these names that arrived first, consumed; None if there is none."""
        if not self._kept:
            return None
        boxes = [box for name in names if (box := self._kept.get(name))]
        if not boxes:
            return None
        box = min(boxes, key=_oldest)
        event = box.popleft()
        if not box:
            del self._kept[event.name]
        return event

    def wait(self, name: str, future: asyncio.Future[Arrived]) -> None:
        """Queues a wait behind the others of its name."""
        if self._waits is None:
            self._waits = {}
        self._waits.setdefault(name, []).append(future)

    def give_back(self, event: Arrived) -> None:
        """Undoes the taking of an event: who else waits for its name gets it, or it is kept where it was."""
        if not self._hand_over(event):
            box = self._box(event.name)
            at = next((i for i, later in enumerate(box) if later.number > event.number), len(box))
            box.insert(at, event)

    def forget(self, name: str, future: asyncio.Future[Arrived]) -> None:
        """Removes a wait that ended otherwise."""
        waits = self._waits.get(name) if self._waits else None
        if waits is not None and self._waits is not None:
            if future in waits:
                waits.remove(future)
            if not waits:
                del self._waits[name]

    def unconsumed(self) -> list[tuple[str, bytes]]:
        """Names and payloads of what nobody has consumed, in the order of arrival."""
        kept = [event for box in (self._kept or {}).values() for event in box]
        return [(event.name, event.payload) for event in sorted(kept)]

    def waiting(self) -> list[str]:
        """The names that are waited for, in the order of their first wait."""
        return [name for name, waits in (self._waits or {}).items() if any(not f.done() for f in waits)]


def _oldest(box: deque[Arrived]) -> int:
    return box[0].number
