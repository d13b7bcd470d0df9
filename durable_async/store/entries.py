"""Entries that go back: the one transition for whoever holds one, and for garbage that nobody does."""

from __future__ import annotations

from durable_async.store.base import StoreBase
from durable_async.store.keys import queue_of
from durable_async.store.status import Answer


class EntryCalls(StoreBase):
    """One method per transition."""

    async def release_entry(
        self,
        id: str,
        source_key: str,
        queue: str,
        entry: str,
        *,
        epoch: int | None = None,
        delay_ms: int = 0,
        waiting: str = "",
        is_crash: bool = False,
    ) -> bool:
        """Puts an entry back for any worker; garbage is acked. True if the run is ready again."""
        k = self.keys
        name = queue_of(queue)
        keys = [k.run(id), source_key, k.queue(queue), k.timers, *k.room(name)]
        fence = "" if epoch is None else epoch
        args = (self.given_now, id, entry, fence, delay_ms, waiting, "1" if is_crash else "", name)
        reply = await self._call("release_entry", keys, args)
        return bool(reply[0] == Answer.OK)
