"""The ends that a worker writes without the run's body: cleanup took too long, nobody serves it, its owners died."""

from __future__ import annotations

import logging

from durable_async.checking import to_ms
from durable_async.codec import Codec
from durable_async.engine.failures import pack_error
from durable_async.errors import ErrorInfo, RunNotFound
from durable_async.store.store import Store
from durable_async.types import Limits
from durable_async.worker.outbox import Outbox

log = logging.getLogger("durable_async.worker")


class Endings:
    """Ends runs from outside, and tells who waits for them."""

    def __init__(self, store: Store, outbox: Outbox, codec: Codec, limits: Limits) -> None:
        self._store = store
        self._outbox = outbox
        self._codec = codec
        self._limits = limits

    async def cut(self, id: str) -> None:
        """The grace of a cancel is over: the run is cancelled without the rest of its cleanup."""
        standing = (await self._store.standings([id]))[0]
        if standing is None:
            await self._store.fire_timers(["g" + id])  # finds nothing to fire and removes the timer
        elif await self._settle(id, "grace", "cancelled", standing.reason.encode(), 0):
            log.warning("run %s did not end within the grace of its cancel and was cut", id)

    async def time_out(self, id: str) -> None:
        """A run's own time is over. Whoever serves it ends it by itself; this is for runs that nobody serves."""
        error = ErrorInfo("RunTimeout", f"run {id} did not end within its timeout: no worker served it")
        grace_ms = to_ms(self._limits.cancel_grace)
        if await self._settle(id, "timeout", "failed", pack_error(error, self._codec), grace_ms):
            log.warning("run %s did not end within its timeout and was failed: no worker served it", id)

    async def poison(self, id: str) -> None:
        """A run's owners died one after the other."""
        limit = self._limits.crash_loop
        error = ErrorInfo(
            "CrashLoop", f"run {id} was claimed by {limit} workers in a row that died before they recorded anything"
        )
        if await self._settle(id, "poison", "failed", pack_error(error, self._codec), limit):
            log.error("run %s was claimed %d times without a record and is failed as CrashLoop", id, limit)

    async def _settle(self, id: str, cause: str, status: str, payload: bytes, bound: int) -> bool:
        try:
            ended, clients = await self._store.settle_run(id, cause, status, payload, bound=bound)
        except RunNotFound:
            if cause == "timeout":
                await self._store.fire_timers(["r" + id])  # as above
            return False
        if ended:
            self._outbox.push(clients, id, status, payload)
        return ended
