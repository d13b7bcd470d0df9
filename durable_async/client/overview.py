"""What `queues()` and `workers()` tell: counted by reading, so that no run pays for a counter. Nothing is written."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from durable_async.shapes import QueueInfo, WorkerInfo
from durable_async.store.base import WRONGTYPE, text_of
from durable_async.store.gather import gather_calls
from durable_async.store.keys import queue_of
from durable_async.store.store import Store

log = logging.getLogger("durable_async.client")

CHUNK = 1_000
EPOCH = datetime.fromtimestamp(0, UTC)
WAITING = ("delayed", "parked", "blocked")


@dataclass(slots=True)
class _Count:
    """What has been seen of one queue."""

    ready: int = 0
    running: int = 0
    waiting: int = 0
    workers: int = 0
    paused: bool = False
    oldest_ms: float = math.inf


@dataclass(slots=True)
class Overview:
    """The queues and workers of one namespace.

    Runs are counted by looking at every one that is kept, a page at a time: what changes meanwhile may be missed or
    counted twice, and a million runs take seconds.
    """

    store: Store
    _found: dict[str, _Count] = field(default_factory=dict)

    async def queues(self) -> list[QueueInfo]:
        """The queues with a run that has not ended, those that a worker serves or that are paused, by name."""
        now_ms = await self._now_ms()
        for gate in await self.store.gates():
            if gate[0] == "p":
                self._of(gate[1:]).paused = True
        await self._count_runs()
        for info, lease_s in await self._described():
            if now_ms / 1000 - info.last_seen.timestamp() <= lease_s:
                for queue in info.queues:
                    self._of(queue).workers += 1
        return [
            QueueInfo(
                name=name,
                ready=c.ready,
                running=c.running,
                waiting=c.waiting,
                paused=c.paused,
                workers=c.workers,
                oldest_ready_age=timedelta(milliseconds=max(0, now_ms - c.oldest_ms)) if c.ready else None,
            )
            for name, c in sorted(self._found.items())
        ]

    async def workers(self) -> list[WorkerInfo]:
        """The workers that have not left and were not cleared away, by id."""
        return [info for info, _ in await self._described()]

    def _of(self, queue: str) -> _Count:
        return self._found.setdefault(queue, _Count())

    async def _now_ms(self) -> int:
        seconds, micros = await self._call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _call(self, *command: Any) -> Any:
        return await self.store.caller.call(command, deadline_s=self.store.deadline_s)

    async def _count_runs(self) -> None:
        at = 0
        while ids := await self._call("ZRANGE", self.store.keys.index, at, at + CHUNK - 1):
            at += len(ids)
            commands = [("HMGET", self.store.keys.run(text_of(id)), "status", "queue", "entry") for id in ids]
            for row in await gather_calls(
                self.store.caller, commands, deadline_s=self.store.deadline_s, passes=WRONGTYPE
            ):
                if not isinstance(row, Exception) and row[0] is not None:
                    self._count(text_of(row[0]), queue_of(text_of(row[1])), text_of(row[2]))

    def _count(self, status: str, queue: str, entry: str) -> None:
        if status == "ready":
            count = self._of(queue)
            count.ready += 1
            # An entry's id begins with the time at which it was made.
            since = entry[1:].partition("-")[0]
            if since.isdigit():
                count.oldest_ms = min(count.oldest_ms, int(since))
        elif status == "running":
            self._of(queue).running += 1
        elif status in WAITING:
            self._of(queue).waiting += 1

    async def _described(self) -> list[tuple[WorkerInfo, float]]:
        """The workers, and the lease of each in seconds."""
        flat = await self._call("HGETALL", self.store.keys.workers)
        found = []
        for at in range(0, len(flat), 2):
            worker = text_of(flat[at])
            try:
                found.append(_worker_info(worker, orjson.loads(flat[at + 1])))
            except (ValueError, TypeError, KeyError, OverflowError, OSError):
                log.warning("what worker %s says of itself cannot be read; it is left out of the list", worker)
        return sorted(found, key=lambda pair: pair[0].id)


def _worker_info(id: str, said: dict[str, Any]) -> tuple[WorkerInfo, float]:
    info = WorkerInfo(
        id=id,
        host=str(said["host"]),
        pid=int(said["pid"]),
        queues=tuple(str(queue) for queue in said["queues"]),
        concurrency=int(said["concurrency"]),
        running=int(said["running"]),
        resident=int(said["resident"]),
        since=datetime.fromtimestamp(said["since"], UTC),
        last_seen=datetime.fromtimestamp(said["seen"], UTC),
    )
    return info, float(said["lease"])
