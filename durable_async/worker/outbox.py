"""What leaves at the end of a tick in one command per stream: acks of settled entries, results for waiting clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from durable_async.store.store import WENT_ON, Store
from durable_async.worker.resident import Held

ACKS_PER_CALL = 500
INLINE_BYTES = 4096
"""A result up to this size travels with the hint; a larger one is read by the client."""


class Outbox:
    """Collects during a tick, sends at its end."""

    def __init__(self, store: Store, on_acked: Callable[[list[Held]], None]) -> None:
        self._store = store
        self._on_acked = on_acked
        self._acks: dict[str, list[Held]] = {}
        self._pushes: dict[str, list[bytes | str]] = {}
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()

    def ack(self, held: Held) -> None:
        """A script has found this entry settled or garbage."""
        self._acks.setdefault(held.stream_key, []).append(held)
        if not self._is_scheduled:
            self._schedule()

    def push(self, clients: str, id: str, status: str, payload: bytes) -> None:
        """A run has ended: tell those who wait, named with spaces between."""
        value = status.encode() + b"\n" + payload if len(payload) <= INLINE_BYTES else status.encode()
        for client in clients.split() if " " in clients else (clients,):
            self._pushes.setdefault(client, []).extend((id, value))
        if not self._is_scheduled:
            self._schedule()

    def hint(self, clients: str, id: str) -> None:
        """A run has gone on: tell those who watch it, marked among those who wait."""
        for client in clients.split():
            if client[0] == "~":
                self._pushes.setdefault(client, []).extend((id, WENT_ON))
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.flush)
            self._store.caller.transport.flush_soon()  # in the same turn, behind what is sent

    def flush(self) -> None:
        """Sends what has collected."""
        self._is_scheduled = False
        pushes, self._pushes = self._pushes, {}
        for client, pairs in pushes.items():
            self._store.push_results(client, pairs)
        acks, self._acks = self._acks, {}
        for stream_key, entries in acks.items():
            for at in range(0, len(entries), ACKS_PER_CALL):
                self._ack_some(stream_key, entries[at : at + ACKS_PER_CALL])

    def _ack_some(self, stream_key: str, entries: list[Held]) -> None:
        def acked(reply: object) -> None:
            if not isinstance(reply, Exception):
                self._on_acked(entries)

        self._store.ack_entries(stream_key, [held.entry_id for held in entries], acked)
