"""Walks over the children of runs that were cancelled, terminated or have ended: durable work, in chunks.

An item is a letter and a run id: ``x`` cancel its children, ``o`` cancel those that are not to outlive it, ``t``
terminate them, ``e`` give them their time to live, ``p`` take it from them again, ``c`` cancel this one run. Marking
comes before listing and every step is repeat-safe, so any worker may do a chunk, and two doing the same one do it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from durable_async.checking import MAX_REASON
from durable_async.errors import RunNotFound
from durable_async.store.errors import ServerError
from durable_async.store.store import Store
from durable_async.worker.outbox import Outbox

log = logging.getLogger("durable_async.worker")

CHUNK = 100
REST_S = 60.0
PAUSE_S = 0.2
"""Until a walk is looked at again that waits for those below it."""
ANCESTOR = "ancestor "
ENDS = {"t": ("cancelled",), "o": ("failed", "compensation_failed")}
"""How a run has ended whose children are walked for it; else its id has begun another life."""


class Walker:
    """Does the walks that are shown to it."""

    def __init__(self, store: Store, outbox: Outbox, grace_ms: int, on_more: Callable[[], None]) -> None:
        self._store = store
        self._outbox = outbox
        self._grace_ms = grace_ms
        self._on_more = on_more
        self._under_way: set[str] = set()

    async def do(self, items: list[tuple[str, bytes]]) -> None:
        """One chunk of each item that is not under way here already."""
        fresh = [(item, cursor) for item, cursor in items if item not in self._under_way]
        self._under_way.update(item for item, _ in fresh)
        await asyncio.gather(*(self._guarded(item, cursor) for item, cursor in fresh))
        if fresh:
            self._on_more()

    async def _guarded(self, item: str, cursor: bytes) -> None:
        rest_s = 0.0
        try:
            rest_s = await self._chunk(item, cursor)
        except (ServerError, OverflowError) as error:
            # A damaged key: the walk stays, and must not be tried at every look.
            rest_s = REST_S
            log.error("the walk %s failed and is put off: %s", item, error)
        finally:
            if rest_s:
                asyncio.get_running_loop().call_later(rest_s, self._under_way.discard, item)
            else:
                self._under_way.discard(item)

    async def _chunk(self, item: str, cursor: bytes) -> float:
        """How long the rest of the walk has to wait, in seconds."""
        letter, id = item[0], item[1:]
        if letter == "c":
            # The script that cancels it takes the walk out: by now there might be one for the run's next life.
            if not await self._cancel(id, cursor.decode(errors="replace")[:MAX_REASON], item):
                await self._store.advance_walk(item, cursor, "")
        elif letter == "e":
            return await self._expire(item, id, int(cursor))
        elif letter == "p":
            await self._persist(item, id, int(cursor))
        else:
            await self._spread(item, id, int(cursor), self._terminate if letter == "t" else self._cancel)
        return 0.0

    async def _spread(self, item: str, id: str, cursor: int, act: Callable[[str, str, str], Awaitable[object]]) -> None:
        standing = (await self._store.standings([id]))[0]
        is_void = standing is not None and standing.status not in ENDS.get(item[0], (standing.status,))
        if standing is None or is_void:
            # The run is gone, or its id has begun another life since it was terminated.
            await self._store.advance_walk(item, str(cursor), "")
            return
        # Only the children known when the run was marked: what its cleanup starts later lives.
        last = min(cursor + CHUNK, standing.cancel_kids)
        children = found = await self._numbered(id, cursor + 1, last)
        reason = standing.reason
        if item[0] == "o":
            leave = await self._store.fields(found, ("leave",))
            children = [child for child, row in zip(found, leave, strict=True) if row[0] != b"1"]
        elif not reason.startswith(ANCESTOR):
            reason = f"{ANCESTOR}{id} was cancelled: {reason}" if reason else f"{ANCESTOR}{id} was cancelled"
        await asyncio.gather(*(act(child, reason, item) for child in children))
        await self._store.advance_walk(item, str(cursor), str(last) if last < standing.cancel_kids else "")

    async def _numbered(self, id: str, first: int, last: int) -> list[str]:
        # By their numbers, not by rank: a child that is run again is numbered again, and moves to the end.
        found = await self._store.caller.call(("ZRANGE", self._store.keys.children(id), first, last, "BYSCORE"))
        return [child.decode(errors="replace") for child in found]

    async def _children(self, id: str, start: int, count: int) -> list[str]:
        if count <= 0:
            return []
        key = self._store.keys.children(id)
        found = await self._store.caller.call(("ZRANGE", key, start, start + count - 1))
        return [child.decode(errors="replace") for child in found]

    async def _cancel(self, id: str, reason: str, walk: str) -> bool:
        """False if there is no such run."""
        try:
            _, clients = await self._store.cancel_run(id, reason, f"walk:{walk}", self._grace_ms, walk=walk)
        except RunNotFound:
            return False
        self._outbox.push(clients, id, "cancelled", reason.encode())
        return True

    async def _terminate(self, id: str, reason: str, _walk: str) -> None:
        try:
            _, clients = await self._store.settle_run(id, "terminate", "cancelled", reason.encode())
        except RunNotFound:
            return
        self._outbox.push(clients, id, "cancelled", reason.encode())

    async def _expire(self, item: str, id: str, cursor: int) -> float:
        standing = (await self._store.standings([id]))[0]
        ttl_ms = standing.retention_ms if standing is not None else 1
        children = await self._children(id, cursor, CHUNK)
        more = str(cursor + CHUNK) if len(children) == CHUNK else ""
        is_waiting = not await self._store.expire_children(item, str(cursor), more, children, ttl_ms)
        return PAUSE_S if is_waiting else 0.0

    async def _persist(self, item: str, id: str, cursor: int) -> None:
        children = await self._children(id, cursor, CHUNK)
        more = str(cursor + CHUNK) if len(children) == CHUNK else ""
        await self._store.persist_children(item, str(cursor), more, children)
