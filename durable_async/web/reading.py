"""What the pages show, read a page at a time: never a whole history, and payloads only where they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from durable_async.client.durable import Durable
from durable_async.client.queries import EPOCH, Queries
from durable_async.client.reading import history_events
from durable_async.shapes import HistoryEvent, QueueInfo, RunInfo, ScheduleInfo, WorkerInfo

T = TypeVar("T")

PAGE: Final = 50
MOST: Final = 100
"""Rows of one page."""
LINES: Final = 10
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of a history that are read for one page, about."""
FRESH_S: Final = 2.0
SHARE: Final = 20


class Cached(Generic[T]):
    """A look that is dear, shared by all who ask: repeated after two seconds, or twenty times what it took."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._look = look
        self._lock: asyncio.Lock | None = None
        self._found: T | None = None
        self._good_until = 0.0

    async def get(self) -> T:
        """What was found last, or now."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._found is None or monotonic() > self._good_until:
                began = monotonic()
                self._found = await self._look()
                took = monotonic() - began
                self._good_until = monotonic() + max(FRESH_S, SHARE * took)
            return self._found


@dataclass(frozen=True, slots=True)
class Overview:
    """Queues, workers and schedules."""

    queues: Sequence[QueueInfo] = ()
    workers: Sequence[WorkerInfo] = ()
    schedules: Sequence[ScheduleInfo] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Reading:
    """Reads for the pages of one dashboard."""

    def __init__(self, durable: Durable, *, has_values: bool) -> None:
        self._durable = durable
        self._has_values = has_values
        self.overview = Cached(self._overview)

    async def _overview(self) -> Overview:
        durable = self._durable
        return Overview(await durable.queues(), await durable.workers(), await durable.schedules())

    def runs(self, *, has_values: bool = False) -> Queries:
        """Listings; values are plain data, whatever types the workflows have."""
        durable = self._durable
        is_shown = has_values and self._has_values
        return Queries(durable._session.store, durable.codec, {}, durable._read_limit, has_values=is_shown)

    async def history(self, run: RunInfo, start: int) -> tuple[list[HistoryEvent], int | None]:
        """A page of a history from the entry `start`, and where the next one begins.

        Raises:
            CorruptPayload: if an entry cannot be read.
        """
        store = self._durable._session.store
        created_ms = (run.created_at - EPOCH) // timedelta(milliseconds=1)
        lines: list[bytes] = []
        size = 0
        while len(lines) < MOST and size < MOST_BYTES:
            at = start + len(lines)
            command: tuple[Any, ...] = ("LRANGE", store.keys.journal(run.id), at, at + LINES - 1)
            page: list[bytes] = await store.caller.call(command, deadline_s=store.deadline_s)
            lines += page
            size += sum(map(len, page))
            if len(page) < LINES:
                return history_events(lines, created_ms, self._durable.codec, start), None
        return history_events(lines, created_ms, self._durable.codec, start), start + len(lines)
