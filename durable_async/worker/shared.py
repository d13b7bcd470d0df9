"""Inputs that many runs have: fetched once, however many of the runs are claimed here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from durable_async.store.store import Store

KEPT_BYTES: Final = 16 * 2**20
"""Of inputs that are kept for the next run that has them; the one fetched last is kept however long it is."""


class SharedInputs:
    """First lines of journals with the input in them, by the line that only says where it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bytes]] = {}
        self._size = 0

    def known(self, line: bytes) -> bytes | None:
        """The whole line, if it is at hand."""
        whole = self._known.get(line)
        if whole is not None:
            self._known.move_to_end(line)
        return whole

    async def fetch(self, id: str, line: bytes) -> bytes:
        """The whole line of a run; the given one if its input is nowhere."""
        asked = self._asked.get(line)
        if asked is not None:
            return await asyncio.shield(asked)
        asked = self._asked[line] = asyncio.ensure_future(self._look(id, line))
        try:
            return await asyncio.shield(asked)
        finally:
            self._asked.pop(line, None)

    async def _look(self, id: str, line: bytes) -> bytes:
        [whole] = await self._store.whole_starts([id], [line])
        if whole is None or whole[:1] != b"S":
            return line
        self._keep(line, whole)
        return whole

    def _keep(self, line: bytes, whole: bytes) -> None:
        if line not in self._known:
            self._known[line] = whole
            self._size += len(whole)
        while self._size > KEPT_BYTES and len(self._known) > 1:
            _, gone = self._known.popitem(last=False)
            self._size -= len(gone)
