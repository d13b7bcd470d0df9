"""The transitions that no user asks for: time, walks over children, expiry."""

from __future__ import annotations

from collections.abc import Sequence

from durable_async.store.base import StoreBase, is_text, pairs_of, text_of
from durable_async.store.gather import gather_calls
from durable_async.store.keys import above
from durable_async.store.scripts import SCRIPTS
from durable_async.store.status import Answer

TIMER_LEASE_MS = 2_000
"""How long a due timer stays with the worker that was handed it."""


class UpkeepCalls(StoreBase):
    """One method per transition."""

    async def poll_due(
        self, limit: int
    ) -> tuple[int, list[str], float | None, list[tuple[str, bytes]], dict[str, str]]:
        """Due timers, handed to this caller for a while, and unfinished walks.

        Returns: now_ms, due members (letter and run id), the next due time in ms or None, walk items with cursors,
        what stands in the way of queues (see `gates`).
        """
        args = (self.given_now, limit, TIMER_LEASE_MS)
        keys = (self.keys.timers, self.keys.walks, self.keys.gates)
        _, now_ms, members, next_due, walks, gates = await self._call("poll_due", keys, args)
        flat = walks if not walks or not isinstance(walks[0], list) else [x for pair in walks for x in pair]
        items = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
        good = [(text_of(item), cursor) for item, cursor in items if _is_walk(item, cursor)]
        due = [text_of(m) for m in members if _names_run(m, b"wdgrq")]
        await self._clear("ZREM", self.keys.timers, [m for m in members if not _names_run(m, b"wdgrq")])
        await self._clear("HDEL", self.keys.walks, [item for item, cursor in items if not _is_walk(item, cursor)])
        return now_ms, due, float(next_due) if next_due else None, good, pairs_of(gates)

    async def fire_timers(self, members: Sequence[str]) -> None:
        """Makes the runs of due sleeps and delays ready. Redis: fire_timer.lua for each, in one write."""
        k = self.keys
        script = SCRIPTS["fire_timer"]
        todo = list(members)
        while todo:
            rows = await self.fields([m[1:] for m in todo], ("owner", "queue"))
            calls = [
                script.call(
                    (k.run(m[1:]), k.timers, k.worker(text_of(owner)), k.queue(text_of(queue) or "default")),
                    (self.given_now, m, text_of(owner)),
                )
                for m, (owner, queue) in zip(todo, rows, strict=True)
            ]
            replies = await gather_calls(self.caller, calls, deadline_s=self.deadline_s)
            todo = [m for m, reply in zip(todo, replies, strict=True) if reply[0] == Answer.RETRY]

    async def expire_children(self, item: str, cursor: str, next_cursor: str, ids: Sequence[str], ttl_ms: int) -> bool:
        """One chunk of the walk that gives an ended tree its time to live; False if it waits for the walks below it."""
        k, up = self.keys, above(item[1:])
        keys = [k.walks, k.children(item[1:]), k.run(item[1:]), k.shared(item[1:]), *map(k.shared, up)]
        for id in ids:
            keys += (k.run(id), k.journal(id), k.shared(id))
        reply = await self._call("expire_children", keys, (item, cursor, next_cursor, ttl_ms, len(up), *ids))
        return bool(reply[0] != Answer.HELD)

    async def purge_index(self, start: int, count: int) -> tuple[int, int]:
        """Takes runs whose records have expired out of the index: among `count` of them from rank `start`, by age.

        Returns: how many were looked at (fewer than `count` at the end of the index), and how many of them are gone.
        Redis: a ZRANGE, then purge_index.lua.
        """
        k = self.keys
        found = await self.caller.call(("ZRANGE", k.index, start, start + count - 1))
        junk = [id for id in found if not is_text(id)]
        ids = [text_of(id) for id in found if is_text(id)]
        await self._clear("ZREM", k.index, junk)
        if not ids:
            return len(found), len(junk)
        reply = await self._call("purge_index", [k.index, *map(k.run, ids)], ids)
        return len(found), reply[1] + len(junk)

    async def advance_walk(self, item: str, cursor: bytes | str, next_cursor: str) -> None:
        """Moves a walk on after its chunk, or ends it (empty `next_cursor`)."""
        await self._call("advance_walk", (self.keys.walks,), (item, cursor, next_cursor))


def _names_run(member: bytes, letters: bytes) -> bool:
    return len(member) > 1 and member[0] in letters and is_text(member)


def _is_walk(item: bytes, cursor: bytes) -> bool:
    return _names_run(item, b"c") or (_names_run(item, b"xotep") and cursor.isdigit() and len(cursor) < 16)
