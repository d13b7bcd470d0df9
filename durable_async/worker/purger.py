"""Keeps the index of runs free of those whose retention is over.

Records, journals and lists of children expire by themselves; the members of a sorted set do not. Every worker goes
round the index, oldest runs first, a chunk at each turn of its housekeeping, and goes on at once while it finds
something.
"""

from __future__ import annotations

from durable_async.store.store import Store

CHUNK = 200
MOST_CHUNKS = 50
"""At one turn: ten thousand runs."""


class Purger:
    """One worker's way round the index."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at = 0
        """How many members have been looked at in this round and stay."""

    async def sweep(self) -> int:
        """One chunk, or several while there is something to remove. Returns how many were removed."""
        total = 0
        for _ in range(MOST_CHUNKS):
            looked, removed = await self._store.purge_index(self._at, CHUNK)
            # Those removed make room: whoever was behind them is now where they were.
            self._at = self._at + looked - removed if looked == CHUNK else 0
            total += removed
            if removed == 0 or looked < CHUNK:
                break
        return total
