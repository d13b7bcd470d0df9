"""What stands in the way of this worker's queues, and so which streams it reads, in which order.

A queue has a stream for each priority that was ever asked for, its lanes; the queue's own is that of priority 0. It is
told by every look at the timers, and at once by a script that refuses a run. What it believes decides only what is
read: whether a run may be taken is decided by the script that takes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.keys import Keys, priority_of, queue_of
from durable_async.store.store import Store
from durable_async.store.transport_base import Transport
from durable_async.worker.background import Background
from durable_async.worker.consumer import Plan, StreamReader, ensure_group
from durable_async.worker.intake import Intake

log = logging.getLogger("durable_async.worker")


class Gates:
    """The queues of one worker.

    Args:
        keys: the names of the partition's keys.
        queues: what the worker serves.
    """

    def __init__(self, keys: Keys, queues: Sequence[str]) -> None:
        self._keys = keys
        self._queues = queues
        self._fields: Mapping[str, str] = {}
        self.lanes: list[str] = list(queues)
        """Every lane of every queue whose stream is there, also of those that are paused."""
        self.plan: Plan = [[keys.queue(queue) for queue in queues]]
        """What is to be read now."""
        self._transport: Transport | None = None
        self._reader: StreamReader | None = None

    async def start(self, store: Store, transport: Transport, limits: Mapping[str, str]) -> None:
        """Before anything is read. Repeat-safe.

        Args:
            limits: what this worker's code says of queues, by name.

        Raises:
            ServerError, ConnectionLost: if the store could not be asked.
        """
        self._transport = transport
        for queue in self._queues:
            if queue in limits and (before := await store.limit_queue(queue, limits[queue])) is not None:
                log.info(
                    "queue %s has other limits from here on: %s, before %s", queue, limits[queue], before or "none"
                )
        fields = await store.gates()
        await self._open(self._new_lanes(fields), transport)
        self.learn(fields)

    def attach(self, reader: StreamReader, intake: Intake, background: Background) -> None:
        """Whom to tell when there is something else to be read."""
        self._reader, self._intake, self._background = reader, intake, background
        self._tell_limits()

    def _tell_limits(self) -> None:
        self._intake.limited = frozenset(name[1:] for name in self._fields if name[:1] == "l")

    def learn(self, fields: Mapping[str, str]) -> None:
        """What the store says now."""
        if fields == self._fields and not self._new_lanes(fields):
            return
        self._fields = fields
        if self._reader is not None:
            self._tell_limits()
        if self._transport is not None and (lanes := self._new_lanes(fields)):
            self._background.spawn(self._open_meanwhile(lanes, self._transport))
        self._make_plan()

    def shut(self, queue: str) -> None:
        """A run of this queue was refused, since it is paused."""
        self._fields = {**self._fields, f"p{queue}": ""}
        self._make_plan()

    def _make_plan(self) -> None:
        levels: dict[int, list[str]] = {}
        for lane in self.lanes:
            if f"p{queue_of(lane)}" not in self._fields:
                levels.setdefault(priority_of(lane), []).append(self._keys.queue(lane))
        plan = [levels[priority] for priority in sorted(levels, reverse=True)]
        if plan != self.plan:
            self.plan = plan
            if self._reader is not None and self._transport is not None:
                # Who waits for room waits for something to read, too.
                self._intake.slots.changed.set()
                self._background.spawn(self._reader.rouse(self._transport))

    def _new_lanes(self, fields: Mapping[str, str]) -> list[str]:
        found = [name[1:] for name in fields if name[:1] == "v"]
        return [lane for lane in found if queue_of(lane) in self._queues and lane not in self.lanes]

    async def _open_meanwhile(self, lanes: Sequence[str], transport: Transport) -> None:
        try:
            await self._open(lanes, transport)
        except (ServerError, ConnectionLost):
            return  # the next look finds them again

    async def _open(self, lanes: Sequence[str], transport: Transport) -> None:
        for lane in lanes:
            await ensure_group(transport, self._keys.queue(lane))
            if lane not in self.lanes:
                self.lanes.append(lane)
        self._make_plan()
