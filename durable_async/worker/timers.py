"""Fires what is due: sleeps, delays, the grace of cancels, runs' own time; notices unfinished walks and paused queues.

One loop per worker, whatever the number of timers: it asks for what is due at the next due time it knows of, and every
`POLL_S` for what others have armed. A timer handed out and not fired comes back after a while.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from durable_async.store.store import Store
from durable_async.worker.clock import ServerClock
from durable_async.worker.endings import Endings
from durable_async.worker.looks import Looks
from durable_async.worker.outbox import Outbox

log = logging.getLogger("durable_async.worker")

POLL_S = 0.1
BATCH = 200


class Timers:
    """The timer loop of one worker."""

    def __init__(
        self,
        store: Store,
        clock: ServerClock,
        outbox: Outbox,
        on_walks: Callable[[list[tuple[str, bytes]]], None],
        on_gates: Callable[[dict[str, str]], None],
        endings: Endings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._on_walks = on_walks
        self._on_gates = on_gates
        self._endings = endings
        self._next_ms: float | None = None
        self._wake = asyncio.Event()
        self.is_stopping = False
        self.looks = Looks()

    def armed(self, due_ms: float) -> None:
        """This worker has parked a run until then."""
        if self._next_ms is None or due_ms < self._next_ms:
            self._next_ms = due_ms
            self._wake.set()

    def look_now(self) -> None:
        """Something to do has just been written."""
        self._next_ms = 0
        self._wake.set()

    async def run(self) -> None:
        """Looks until told to stop."""
        while not self.is_stopping:
            if not await self._look():
                await self._pause()

    async def _pause(self) -> None:
        wait = POLL_S * random.uniform(0.7, 1.0)
        while self._next_ms is None or self._clock.seconds_until(self._next_ms) > 0:
            if self._next_ms is not None:
                wait = min(wait, self._clock.seconds_until(self._next_ms))
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _look(self) -> bool:
        """One look; True if there is more to do at once."""
        now_ms, members, next_due, walks, gates = await self._store.poll_due(BATCH)
        self._clock.heard(now_ms)
        self._on_gates(gates)
        self._next_ms = next_due
        if walks:
            self._on_walks(walks)
        await self._fire(members)
        self.looks.note(has_found=bool(members or walks))
        return len(members) == BATCH

    async def _fire(self, members: list[str]) -> None:
        sleeps = [m for m in members if m[0] in "wd"]
        if sleeps:
            await self._store.fire_timers(sleeps)
        for member in members:
            if member[0] == "q":
                await self._store.admit_runs(member[1:])
            if member[0] == "g":
                await self._endings.cut(member[1:])
            elif member[0] == "r":
                await self._endings.time_out(member[1:])


Periodic = Callable[[], Awaitable[None]]
