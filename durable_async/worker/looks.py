"""Counts the looks for work of one loop, so that somebody can tell when all of them find nothing any more."""

from __future__ import annotations

import asyncio


class Looks:
    """How many looks have ended, and how many of them found something."""

    __slots__ = ("_news", "ended", "found")

    def __init__(self) -> None:
        self.ended = 0
        self.found = 0
        self._news = asyncio.Event()

    def note(self, *, has_found: bool) -> None:
        """A look has ended, and what it found is being dealt with."""
        self.ended += 1
        self.found += has_found
        self._news.set()

    async def whole(self) -> None:
        """Returns when a look has ended that began after this call: the second one, since one may be under way."""
        goal = self.ended + 2
        while self.ended < goal:
            self._news.clear()
            await self._news.wait()
