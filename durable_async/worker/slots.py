"""How many runs may be active at once: claimed or being claimed, and not parked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Slots:
    """A counter with a callback. A parked run holds no slot."""

    __slots__ = ("_on_free", "active", "changed", "limit")

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        self.limit = limit
        self.active = 0
        self.changed = asyncio.Event()
        """Set whenever a slot gets free; who waits clears it."""
        self._on_free = on_free

    @property
    def is_full(self) -> bool:
        """Whether no run may be taken now."""
        return self.active >= self.limit

    def take(self) -> None:
        """One more run is active."""
        self.active += 1

    def free(self) -> None:
        """One run has parked, ended, or left."""
        self.active -= 1
        self._on_free()
        self.changed.set()
