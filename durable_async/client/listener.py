"""Waits for runs to end: results are pushed to this client's own stream by whoever ended the run.

The stream is a hint with a short life. A client that missed one (its stream was trimmed, expired, or the worker died
before the push) asks the store itself every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from time import monotonic
from typing import Any
from weakref import ref

from durable_async.engine.records import LETTERS, Outcome, parse_outcome
from durable_async.errors import ConfigurationError, CorruptPayload, RunNotFound, StoreUnavailable
from durable_async.store.connect import ConnectionSpec
from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.status import Answer
from durable_async.store.store import WENT_ON, Store
from durable_async.store.transport import open_transport
from durable_async.store.transport_base import Transport

log = logging.getLogger("durable_async.client")

BLOCK_MS = 5_000
STREAM_TTL_S = 60
REFRESH_S = 15.0
LOOK_S = 3.0
"""How often a waiting client looks by itself."""
TERMINAL = frozenset(LETTERS.values())


class Waiter:
    """What a handle leaves with the listener: the place where a pushed outcome arrives."""

    __slots__ = ("__weakref__", "_waiting", "has_lived", "id", "outcome")

    def __init__(self, id: str) -> None:
        self.id = id
        self.outcome: Outcome | None = None
        self.has_lived = False
        """Its id had a life that ended: what is pushed late may be of that, so the store is asked."""
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for news."""
        return bool(self._waiting)

    async def news(self, loop: asyncio.AbstractEventLoop) -> None:
        """Returns when there may be something to see; raises what the waiter is failed with."""
        future = loop.create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future in self._waiting:
                self._waiting.remove(future)
            raise

    def settle(self, outcome: Outcome) -> None:
        """The run has ended."""
        if self.outcome is None:
            self.outcome = outcome
        self.wake()

    def wake(self) -> None:
        """Whoever waits is to look."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Whoever waits is told; that nobody does (they timed out, or were cancelled) is no news."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # counts as retrieved


class _Known(ref[Waiter]):
    """What the listener holds of a waiter: nothing that keeps it, once no handle does."""

    __slots__ = ("id",)
    id: str


class Listener:
    """One client's stream and those who wait on it. Opened at the first need."""

    def __init__(self, spec: ConnectionSpec, store: Store) -> None:
        self.client_id = secrets.token_hex(8)
        self._spec = spec
        self._store = store
        self._waiters: dict[str, _Known] = {}
        self._watchers: dict[str, list[asyncio.Event]] = {}
        self._transport: Transport | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._opening: asyncio.Lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether the stream has been made and is read."""
        return bool(self._tasks)

    async def ensure(self) -> None:
        """Makes the stream, so that pushes find it, and starts to read it."""
        if self._tasks:
            return
        async with self._opening:
            if self._tasks:
                return
            # As patient as with any command: the server may just be coming back.
            self._transport = await open_transport(
                self._spec,
                role="client-results",
                reply_timeout_s=2 * BLOCK_MS / 1000 + 5,
                wait_s=self._store.deadline_s or 0.0,
            )
            try:
                await self._touch()
            except BaseException:
                transport, self._transport = self._transport, None
                await transport.close()
                raise
            loop = self._loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._read()), loop.create_task(self._look())]

    def waiter(self, id: str, *, is_start: bool = False, has_lived: bool = False) -> Waiter:
        """The waiter of a run, shared by all handles of this client.

        A start that follows may be of a new run: its handle must not get the end of one whose retention is over. An id
        that has lived before is taken up again, or was removed to begin anew.
        """
        waiter = self._known(id)
        if waiter is None or ((is_start or has_lived) and waiter.outcome is not None):
            waiter = Waiter(id)
            known = self._waiters[id] = _Known(waiter, self._forget)
            known.id = id
        if has_lived:
            waiter.has_lived = True
        return waiter

    def _known(self, id: str) -> Waiter | None:
        known = self._waiters.get(id)
        return known() if known is not None else None

    def _forget(self, known: _Known) -> None:
        # Another handle may have had a waiter for this id made meanwhile.
        if self._waiters.get(known.id) is known:
            del self._waiters[known.id]

    def _all(self) -> list[Waiter]:
        return [waiter for known in list(self._waiters.values()) if (waiter := known()) is not None]

    async def outcome(self, waiter: Waiter, *, is_registered: bool) -> Outcome:
        """Waits until the run has ended; cancelling this touches nothing but the wait.

        Raises:
            RunNotFound: if there is no such run.
        """
        if not self.is_open:
            await self.ensure()
        if waiter.outcome is None and not is_registered:
            await self._ask(waiter)
        loop = self._loop or asyncio.get_running_loop()
        while waiter.outcome is None:
            await waiter.news(loop)
            if waiter.outcome is None:
                await self._ask(waiter)
        return waiter.outcome

    async def _ask(self, waiter: Waiter) -> None:
        """Registers for the run's end, or learns that it has come."""
        reply = await self._store.subscribe_client(waiter.id, self.client_id)
        if reply[0] == Answer.GONE:
            raise RunNotFound(f"no run has the id {waiter.id!r}; its retention may be over")
        if reply[0] == Answer.ENDED:
            try:
                outcome = parse_outcome(reply[1] or b"")
            except CorruptPayload as error:
                raise CorruptPayload(f"run {waiter.id}: {error}") from None
            waiter.settle(outcome)

    def watch(self, id: str) -> asyncio.Event:
        """An event that is set whenever somebody says that a run has gone on, until `unwatch`."""
        hint = asyncio.Event()
        self._watchers.setdefault(id, []).append(hint)
        return hint

    def unwatch(self, id: str, hint: asyncio.Event) -> bool:
        """One watcher less; True if it was the run's last one."""
        hints = self._watchers.get(id, [])
        if hint in hints:
            hints.remove(hint)
        if not hints:
            self._watchers.pop(id, None)
        return not hints

    async def _touch(self) -> None:
        await self._store.open_client(self.client_id, 1000 * STREAM_TTL_S)

    async def _read(self) -> None:
        key = self._store.keys.client(self.client_id)
        last: bytes | str = "0"
        refreshed = monotonic()
        assert self._transport is not None
        while True:
            try:
                if monotonic() - refreshed > REFRESH_S:
                    refreshed = monotonic()
                    await self._touch()
                last = await self._read_some(self._transport, key, last)
            except ConnectionLost:
                await asyncio.sleep(0.2)
            except (ServerError, StoreUnavailable, ConfigurationError) as error:
                log.warning("waiting for results was interrupted: %s", error)
                await asyncio.sleep(1.0)

    async def _read_some(self, transport: Transport, key: str, last: bytes | str) -> bytes | str:
        """Takes what has been pushed since, as soon as it comes; up to where that is."""

        def read(reply: Any) -> bytes | str:
            # Here, and not when this task has its turn: whoever waits for a result goes on a turn earlier.
            at = last
            for _, entries in reply or ():
                for entry_id, pairs in entries:
                    at = entry_id
                    self._pushed(pairs)
            return at

        command = ("XREAD", "BLOCK", BLOCK_MS, "COUNT", 1000, "STREAMS", key, last)
        return await transport.call_with(command, read)

    def _pushed(self, pairs: list[Any]) -> None:
        for at in range(0, len(pairs), 2):
            id = pairs[at].decode(errors="replace")
            if self._watchers:
                for hint in self._watchers.get(id, ()):
                    hint.set()
            waiter = self._known(id)
            if waiter is None or pairs[at + 1] == WENT_ON:
                continue
            status, newline, payload = pairs[at + 1].partition(b"\n")
            if newline and status.decode(errors="replace") in TERMINAL and not waiter.has_lived:
                waiter.settle(Outcome(status.decode(), payload))
            else:
                waiter.wake()  # too large to travel along, forged, or perhaps of an earlier life: look

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for waiter in self._all():
                if waiter.is_awaited and waiter.outcome is None:
                    try:
                        await self._ask(waiter)
                    except (RunNotFound, CorruptPayload) as error:
                        waiter.fail(error)
                    except (ServerError, StoreUnavailable, ConfigurationError) as error:
                        log.warning("looking for the end of run %s failed: %s", waiter.id, error)

    async def close(self) -> None:
        """Stops reading and removes the stream; waits under way fail."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for hint in [hint for hints in self._watchers.values() for hint in hints]:
            hint.set()
        for waiter in self._all():
            waiter.fail(StoreUnavailable("the client was closed while waiting for a result"))
        transport, self._transport = self._transport, None
        if transport is not None:
            # Its connection sits in a blocking read, behind which a command would wait.
            await transport.close()
            try:
                await self._store.caller.call(("DEL", self._store.keys.client(self.client_id)), deadline_s=1.0)
            except (ServerError, StoreUnavailable):
                log.debug("the result stream is left to expire")
