"""Reads entries: one blocking connection for the worker's own stream, one for its queues.

The own stream is read whatever the slots, since nudges must get through; queues are read for as many entries as there
are free slots. Reads and command replies come over different connections and have no order between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.store import GROUP
from durable_async.store.transport_base import Transport
from durable_async.worker.background import place_of
from durable_async.worker.looks import Looks

log = logging.getLogger("durable_async.worker")

BLOCK_MS = 2_000
READ_TIMEOUT_S = 2 * BLOCK_MS / 1000 + 5
PAUSE_S = 0.2
"""Between two tries after an error."""
ROUSE_S = 0.02
"""Between two tries to end a blocking read."""

Take = Callable[[str, list[tuple[str, str, str]]], None]


async def ensure_group(transport: Transport, stream_key: str) -> None:
    """Makes stream and group; from id 0, so that what came before the group is not skipped."""
    try:
        await transport.call("XGROUP", "CREATE", stream_key, GROUP, "0", "MKSTREAM")
    except ServerError as error:
        if error.code != "BUSYGROUP":
            raise


class StreamReader:
    """One loop that reads some streams until it is told to stop.

    Args:
        transport: a connection of its own, with a reply timeout of `READ_TIMEOUT_S`.
        consumer: this worker's id.
        stream_keys: tells what to read now; nothing, while all queues are paused.
        room: how many entries may be read now.
        wait_for_room: waits until that may have changed.
        take: gets the entries of one stream: `(entry id, kind, run id)`.
        on_lost_group: called when a stream or group had vanished and was made anew.
    """

    def __init__(
        self,
        transport: Transport,
        consumer: str,
        stream_keys: Callable[[], Sequence[str]],
        *,
        room: Callable[[], int],
        wait_for_room: Callable[[], Any],
        take: Take,
        on_lost_group: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._consumer = consumer
        self._stream_keys = stream_keys
        self._reading: Sequence[str] | None = None
        """What the read under way was told to read."""
        self._turn = 0
        self._client_id = 0
        self._room = room
        self._wait_for_room = wait_for_room
        self._take = take
        self._on_lost_group = on_lost_group
        self.is_stopping = False
        self.looks = Looks()
        self.block_ms = BLOCK_MS

    async def run(self) -> None:
        """Reads until `is_stopping`; survives whatever happens to the connection."""
        self._transport.on_reconnect.append(self._ask_id)
        self._ask_id()
        while not self.is_stopping:
            room, keys = self._room(), self._stream_keys()
            if room <= 0 or not keys:
                if not keys:
                    self.looks.note(has_found=False)
                await self._wait_for_room()
                # One more turn of the loop: the slots of a whole tick are refilled by one read.
                await asyncio.sleep(0)
                continue
            try:
                self._reading = keys
                await self._read(room, keys)
            except ServerError as error:
                await self._server_error(error)
            except ConnectionLost:
                await asyncio.sleep(PAUSE_S)
            except Exception as error:  # noqa: BLE001  # the loop must live; it is logged
                # What was read stays pending and is found again.
                log.error("entries could not be taken: %s%s", type(error).__name__, place_of(error))
                await asyncio.sleep(PAUSE_S)
            finally:
                self._reading = None

    async def rouse(self, transport: Transport) -> None:
        """Ends, over another connection, a blocking read of other streams than are to be read now."""
        while self._reading is not None and self._reading != self._stream_keys() and self._client_id:
            try:
                await transport.call("CLIENT", "UNBLOCK", self._client_id)
            except (ServerError, ConnectionLost):
                return  # it ends by itself, later
            # The read may have been sent and not arrived yet.
            await asyncio.sleep(ROUSE_S)

    def _ask_id(self) -> None:
        def told(reply: object) -> None:
            self._client_id = reply if isinstance(reply, int) else 0

        self._transport.submit(("CLIENT", "ID"), told)

    async def _read(self, room: int, stream_keys: Sequence[str]) -> None:
        # Streams read last would starve if a read always stopped early.
        at = self._turn % len(stream_keys)
        keys = [*stream_keys[at:], *stream_keys[:at]]
        count = max(1, room // len(keys))
        reply = await self._transport.call(
            "XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, "BLOCK", self.block_ms, "STREAMS",
            *keys, *[">"] * len(keys),
        )  # fmt: skip
        self.looks.note(has_found=bool(reply))
        if not reply:
            return
        for key, entries in reply:
            self._take(key.decode(), [parse_entry(e) for e in entries])
        self._turn += 1

    async def _server_error(self, error: ServerError) -> None:
        if error.code in ("NOGROUP", "UNBLOCKED"):
            await asyncio.sleep(PAUSE_S)
            # A worker that leaves has removed its own stream: made anew, it would stay for ever.
            for key in () if self.is_stopping else self._stream_keys():
                try:
                    await ensure_group(self._transport, key)
                except (ServerError, ConnectionLost) as again:
                    log.warning("a stream cannot be made anew: %s", again)
                    return
                self._on_lost_group(key)
            return
        log.warning("reading entries failed: %s", error)
        await asyncio.sleep(PAUSE_S)


def parse_entry(entry: Sequence[Any]) -> tuple[str, str, str]:
    """`(entry id, kind, run id)` of a stream entry; one without readable fields has an empty kind."""
    entry_id = entry[0].decode()
    fields = entry[1]
    try:
        return entry_id, fields[0].decode(), fields[1].decode()
    except (TypeError, IndexError, UnicodeDecodeError):
        return entry_id, "", ""
