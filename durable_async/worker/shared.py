"""Large inputs that many runs of a tree have: fetched once, however many of the runs are claimed here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from durable_async.store.shared import shared_name
from durable_async.store.store import Store

KEPT_BYTES: Final = 16 * 2**20
"""Of inputs that are kept for the next run that has them; the one fetched last is kept however long it is."""


class SharedInputs:
    """First lines of journals with the input in them, by what the input is known as in its tree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bytes]] = {}
        self._size = 0

    def known(self, line: bytes) -> bytes | None:
        """The whole line, if it is at hand."""
        name = shared_name(line)
        whole = self._known.get(name)
        if whole is not None:
            self._known.move_to_end(name)
        return whole

    async def fetch(self, id: str, line: bytes) -> bytes:
        """The whole line of a run; the given one if its input is nowhere."""
        name = shared_name(line)
        asked = self._asked.get(name)
        if asked is not None and (whole := await asyncio.shield(asked))[:1] == b"S":
            return whole
        # Also where another run of the tree has found none: it may have looked elsewhere.
        asked = self._asked[name] = asyncio.ensure_future(self._look(id, line))
        try:
            return await asyncio.shield(asked)
        finally:
            self._asked.pop(name, None)

    async def _look(self, id: str, line: bytes) -> bytes:
        [whole] = await self._store.whole_starts([id], [line])
        if whole is None or whole[:1] != b"S":
            return line
        self.keep(line, whole)
        return whole

    def keep(self, line: bytes, whole: bytes) -> None:
        """For those to come."""
        name = shared_name(line)
        if name not in self._known:
            self._known[name] = whole
            self._size += len(whole)
        while self._size > KEPT_BYTES and len(self._known) > 1:
            _, gone = self._known.popitem(last=False)
            self._size -= len(gone)
