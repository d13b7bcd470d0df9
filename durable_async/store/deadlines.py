"""The deadlines of many calls, with one timer.

Nearly every call is answered long before its own: then it has cost a place in a dict, and no timer of the loop.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Call(Protocol):
    """What may come too late."""

    def expire(self) -> None:
        """Its time is over."""


class Deadlines:
    """Calls that all get the same time, `seconds`, from when they are watched: the first in is the first due."""

    __slots__ = ("_due", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[Call, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def watch(self, call: Call) -> None:
        """`call` expires when its time is over, unless it is forgotten first."""
        due = self._due[call] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def forget(self, call: Call) -> None:
        """It has its answer."""
        self._due.pop(call, None)

    def _look(self) -> None:
        self._timer = None
        loop = self._loop
        now = loop.time()
        while self._due:
            call, due = next(iter(self._due.items()))
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self._due[call]
            call.expire()
