"""Reads entries: one blocking connection for the worker's own stream, one for its queues.

The own stream is read whatever the slots, since nudges must get through; queues are read for as many entries as there
are free slots. Reads and command replies come over different connections and have no order between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from durable_async.store.errors import ConnectionLost, ServerError, classify
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

Plan = Sequence[Sequence[str]]
"""The keys of streams, level by level: those of the first are read first."""
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
        plan: tells which streams to read now, those to be read first in front; none, while all queues are paused.
        room: how many entries may be read now.
        wait_for_room: waits until that may have changed.
        take: gets the entries of one stream: `(entry id, kind, run id)`.
        on_lost_group: called when a stream or group had vanished and was made anew.
    """

    def __init__(
        self,
        transport: Transport,
        consumer: str,
        plan: Callable[[], Plan],
        *,
        room: Callable[[], int],
        wait_for_room: Callable[[], Any],
        take: Take,
        on_lost_group: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._consumer = consumer
        self._plan = plan
        self._reading: Plan | None = None
        """The plan of the read under way."""
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
            room, plan = self._room(), self._plan()
            if room <= 0 or not plan:
                if not plan:
                    self.looks.note(has_found=False)
                await self._wait_for_room()
                # One more turn of the loop: the slots of a whole tick are refilled by one read.
                await asyncio.sleep(0)
                continue
            try:
                self._reading = plan
                await self._read(room, plan)
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
        while self._reading is not None and self._reading != self._plan() and self._client_id:
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

    async def _read(self, room: int, plan: Plan) -> None:
        if len(plan) == 1:
            # Streams read last would starve if a read always stopped early.
            at = self._turn % len(plan[0])
            keys = [*plan[0][at:], *plan[0][:at]]
            has_found = await self._read_streams(keys, max(1, room // len(keys)), is_blocking=True)
        else:
            has_found = await self._read_levels(room, plan)
        self._turn += has_found
        self.looks.note(has_found=has_found)

    async def _read_levels(self, room: int, plan: Plan) -> bool:
        """Takes from a level only what those before it leave room for."""
        has_found = False
        for keys in plan:
            at = self._turn % len(keys)
            if await self._read_streams([*keys[at:], *keys[:at]], max(1, room // len(keys)), is_blocking=False):
                has_found, room = True, self._room()
                if room <= 0:
                    break
        if has_found:
            return True
        # One of each at most: should several have come by now, the best is the first in the answer.
        return await self._read_streams([key for keys in plan for key in keys], 1, is_blocking=True)

    async def _read_streams(self, keys: Sequence[str], count: int, *, is_blocking: bool) -> bool:
        block = ("BLOCK", self.block_ms) if is_blocking else ()

        def read(reply: Any) -> bool:
            # What waits for a slot is claimed in the very turn in which it was read, not when this loop has its turn.
            for key, entries in reply or ():
                self._take(key.decode(), [parse_entry(e) for e in entries])
            return bool(reply)

        group = ("XREADGROUP", "GROUP", GROUP, self._consumer)
        command = (*group, "COUNT", count, *block, "STREAMS", *keys, *[">"] * len(keys))
        return await self._transport.call_with(command, read)

    async def _server_error(self, error: ServerError) -> None:
        if error.code in ("NOGROUP", "UNBLOCKED"):
            await asyncio.sleep(PAUSE_S)
            # A worker that leaves has removed its own stream: made anew, it would stay for ever.
            for key in () if self.is_stopping else [key for level in self._plan() for key in level]:
                try:
                    await ensure_group(self._transport, key)
                except (ServerError, ConnectionLost) as again:
                    log.warning("a stream cannot be made anew: %s", again)
                    return
                self._on_lost_group(key)
            return
        log.warning("reading entries failed: %s", error)
        verdict = classify(error)
        if verdict.needs_reconnect:
            # A server that is demoted hangs up on blocked readers, and on no other.
            self._transport.request_reconnect(f"the server answered {verdict.trouble}")
        await asyncio.sleep(PAUSE_S)


def parse_entry(entry: Sequence[Any]) -> tuple[str, str, str]:
    """`(entry id, kind, run id)` of a stream entry; one without readable fields has an empty kind."""
    entry_id = entry[0].decode()
    fields = entry[1]
    try:
        return entry_id, fields[0].decode(), fields[1].decode()
    except (TypeError, IndexError, UnicodeDecodeError):
        return entry_id, "", ""
