"""The transitions of those who watch a run."""

from __future__ import annotations

from typing import Any

from durable_async.store.base import StoreBase
from durable_async.store.scripts import SCRIPTS

PAGE = 100
"""Journal lines per answer."""


class WatchCalls(StoreBase):
    """One method per transition."""

    async def watch_run(self, id: str, client: str, gen: str, position: int) -> list[Any]:
        """What a run has recorded from a place in its journal on, and what it is now; registers a client for hints.

        Returns: `[OK, now_ms, fields, lines, has more, number of the first line]` or `[GONE]`.
        Redis: watch_run.lua.
        """
        keys = (self.keys.run(id), self.keys.journal(id))
        reply: list[Any] = await self._call("watch_run", keys, (self.given_now, "~" + client, gen, position, PAGE))
        return reply

    def unwatch_run(self, id: str, client: str) -> None:
        """The client watches this run no more; if that is lost, it is told in vain."""
        self.caller.run(SCRIPTS["unwatch_run"].call((self.keys.run(id),), ("~" + client,)), _ignore, deadline_s=5.0)


def _ignore(_reply: object) -> None:
    """Nobody waits for it."""
