"""Tries blocked runs again when a worker starts: its code may be the one that fits them.

Each is tried once per start, on this worker's own stream, so that one with other code is not quicker. If the code still
does not fit, the run is blocked again, and waits for the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from durable_async.errors import StoreUnavailable
from durable_async.store.base import text_of
from durable_async.store.errors import ServerError
from durable_async.store.keys import queue_of
from durable_async.store.status import Answer
from durable_async.store.store import Store

log = logging.getLogger("durable_async.worker")

CHUNK = 50


class Unblocker:
    """One worker's look at the blocked runs.

    Args:
        store: where they are.
        worker_id: on whose stream they are put.
        knows: whether a workflow is registered here.
        queues: what this worker serves.
        room: how many runs it may take now.
        wait_for_room: waits until that may have changed.
        is_stopping: whether it is about to leave.
    """

    def __init__(
        self,
        store: Store,
        worker_id: str,
        knows: Callable[[str], bool],
        queues: Collection[str],
        *,
        room: Callable[[], int],
        wait_for_room: Callable[[], Awaitable[None]],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._knows = knows
        self._queues = frozenset(queues)
        self._room = room
        self._wait_for_room = wait_for_room
        self._is_stopping = is_stopping
        self._tried: set[str] = set()

    async def run(self) -> None:
        """Looks through the list once."""
        count = 0
        try:
            cursor = "0"
            while not self._is_stopping():
                cursor, listed = await self._store.blocked_runs(cursor)
                count += await self._try([id for id, workflow in listed if self._knows(workflow)])
                if cursor == "0":
                    break
        except (ServerError, StoreUnavailable) as error:
            log.error("blocked runs cannot be tried again: %s", error)
        if count:
            log.info("%d blocked runs are tried again, since this worker knows their workflows", count)
        self._tried.clear()

    async def _try(self, ids: list[str]) -> int:
        # What is blocked again meanwhile may be found again by the same scan.
        fresh = list(dict.fromkeys(id for id in ids if id not in self._tried))
        self._tried.update(fresh)
        rows = await self._store.fields(fresh, ("queue",)) if fresh else []
        # One whose record is gone is passed on, and taken out of the list.
        todo = [
            id
            for id, (queue,) in zip(fresh, rows, strict=True)
            if queue is None or queue_of(text_of(queue)) in self._queues
        ]
        count = 0
        while todo and not self._is_stopping():
            # Entries that find no slot here go to the queue, and there perhaps to a worker with other code.
            room = min(self._room(), CHUNK)
            if room <= 0:
                await self._wait_for_room()
                continue
            answers = await self._store.unblock_runs(todo[:room], worker=self._worker_id)
            count += answers.count(Answer.OK)
            del todo[:room]
        return count
