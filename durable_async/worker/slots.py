"""How many runs may be active at once: claimed or being claimed, and not parked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Slots:
    """A counter with a callback. A parked run holds no slot."""

    __slots__ = ("_on_free", "_waiters", "active", "changed", "limit")

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        self.limit = limit
        self.active = 0
        self.changed = asyncio.Event()
        """Set whenever a slot gets free; who waits clears it."""
        self._on_free = on_free
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no run may be taken now."""
        return self.active >= self.limit

    def take(self) -> None:
        """One more run is active."""
        self.active += 1

    async def next(self) -> None:
        """Takes a slot as soon as there is one, before runs that wait in queues: for one that has lent its own."""
        if not self.is_full:
            self.active += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.free()
            raise

    def free(self) -> None:
        """One run has parked, ended, or left."""
        self.active -= 1
        while self._waiters and not self.is_full:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.active += 1
                waiter.set_result(None)
        self._on_free()
        self.changed.set()
