"""Takes entries out of dead hands: other workers' after a lease of silence, and this worker's own that it forgot.

A worker is dead if its heartbeat counter stands still, by this observer's own clock, for a whole lease: that of the
worker, which it has published, or the observer's if that is longer. It is looked for at every sweep, since a blocked
read of a dead worker may be served after its entries were put back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

import orjson

from durable_async.store.errors import ServerError
from durable_async.store.store import GROUP, Store
from durable_async.worker.consumer import parse_entry
from durable_async.worker.intake import Intake

log = logging.getLogger("durable_async.worker")

CHUNK = 100
MISSED_TWICE = 2
LONGEST_S = 86_400
"""The longest lease a worker may have."""


class Reaper:
    """The recovery of one worker."""

    def __init__(self, store: Store, intake: Intake, worker_id: str, queues: Sequence[str], lease_s: float) -> None:
        self._store = store
        self._intake = intake
        self._me = worker_id
        self._queues = queues
        self._lease_s = lease_s
        self._seen: dict[str, tuple[bytes, float]] = {}
        """By worker: the counter as last seen to move, and when."""
        self._missed: dict[tuple[str, str], int] = {}
        self._strangers: set[str] = set()
        self.reaped = 0

    def suspect(self, worker: str) -> None:
        """This worker has a stream and no heartbeat: to be watched for a lease like any other."""
        self._strangers.add(worker)

    async def sweep(self) -> None:
        """Looks once for dead workers and puts back what they hold."""
        store = self._store
        beats = await self._hash(store.keys.beats)
        consumers = await self._consumers()
        for worker in {*beats, *consumers, *self._strangers} - {self._me}:
            if self._is_silent(worker, beats.get(worker, b"")) and await self._is_dead(worker):
                try:
                    await self._reap(worker, beats.get(worker, b""), consumers.get(worker, ()))
                except ServerError as error:
                    # The others' entries have to wait for nothing that is wrong with this one's.
                    log.error("worker %s is dead and cannot be cleared away: %s", worker, error)
        self._strangers.intersection_update(self._seen)
        for gone in set(self._seen) - set(beats) - set(consumers) - self._strangers:
            del self._seen[gone]

    def _is_silent(self, worker: str, beat: bytes) -> bool:
        now = monotonic()
        known = self._seen.get(worker)
        if known is None or known[0] != beat:
            self._seen[worker] = (beat, now)
            return False
        return now - known[1] > self._lease_s

    async def _is_dead(self, worker: str) -> bool:
        # Workers with different leases share queues, at least during a deploy that changes it.
        said = await self._store.caller.call(("HGET", self._store.keys.workers, worker))
        return monotonic() - self._seen[worker][1] > lease_of(said)

    async def _hash(self, key: str) -> dict[str, bytes]:
        flat = await self._store.caller.call(("HGETALL", key))
        return {flat[i].decode(errors="replace"): flat[i + 1] for i in range(0, len(flat), 2)}

    async def _consumers(self) -> dict[str, list[str]]:
        """The queues in which each consumer is known."""
        found: dict[str, list[str]] = {}
        for queue in self._queues:
            try:
                rows = await self._store.caller.call(("XINFO", "CONSUMERS", self._store.keys.queue(queue), GROUP))
            except ServerError:
                continue  # no stream yet, or it was wiped: the reader makes it anew
            for row in rows:
                found.setdefault(row[1].decode(errors="replace"), []).append(queue)
        return found

    async def _reap(self, worker: str, beat: bytes, queues: Sequence[str]) -> None:
        store = self._store
        count = 0
        for queue in queues:
            key = store.keys.queue(queue)
            while entries := await self.pending(key, worker):
                count += await self._put_back(key, "Q", entries)
            await store.drop_consumer(queue, worker)
        key = store.keys.worker(worker)
        while entries := await store.caller.call(("XRANGE", key, "-", "+", "COUNT", CHUNK)):
            count += await self._put_back(key, "W", [parse_entry(e) for e in entries])
        if await store.close_worker(worker, beat.decode(errors="replace")):
            self._seen.pop(worker, None)
            self._strangers.discard(worker)
        self.reaped += count
        if count:
            log.warning("worker %s is dead: %d of its entries were put back", worker, count)

    async def pending(self, key: str, consumer: str) -> list[tuple[str, str, str]]:
        """A chunk of a consumer's pending entries, with what they say."""
        try:
            rows = await self._store.caller.call(("XPENDING", key, GROUP, "-", "+", CHUNK, consumer))
        except ServerError:
            return []
        entries = []
        for row in rows:
            found = await self._store.caller.call(("XRANGE", key, row[0], row[0]))
            entries.append(parse_entry(found[0]) if found else (row[0].decode(), "", ""))
        return entries

    async def _put_back(self, key: str, letter: str, entries: list[tuple[str, str, str]]) -> int:
        ids = [run_id for _, _, run_id in entries]
        rows = await self._store.fields(ids, ("queue",)) if ids else []
        count = 0
        for (entry_id, kind, run_id), row in zip(entries, rows, strict=True):
            queue = row[0].decode(errors="replace") if row[0] is not None else "default"
            name = letter + entry_id
            if await self._store.release_entry(run_id, key, queue, name, is_crash=kind == "r"):
                count += 1
        return count

    async def reconcile(self, streams: Sequence[tuple[str, str]]) -> None:
        """Finds entries that are pending for this worker and that it does not know: read, and the reply was lost."""
        missed: dict[tuple[str, str], int] = {}
        for key, letter in streams:
            forgotten: list[tuple[str, str, str]] = []
            for row in await self._own_pending(key):
                entry_id = row[0].decode()
                if (key, entry_id) in self._intake.held:
                    continue
                times = missed[(key, entry_id)] = self._missed.get((key, entry_id), 0) + 1
                if times >= MISSED_TWICE:
                    found = await self._store.caller.call(("XRANGE", key, entry_id, entry_id))
                    forgotten.append(parse_entry(found[0]) if found else (entry_id, "", ""))
            if forgotten:
                log.warning("%d entries of this worker had been forgotten and are taken up", len(forgotten))
                self._intake.take_entries(key, letter, forgotten)
        self._missed = missed

    async def _own_pending(self, key: str) -> list[Any]:
        try:
            rows: list[Any] = await self._store.caller.call(("XPENDING", key, GROUP, "-", "+", 1000, self._me))
        except ServerError:
            return []
        return rows


def lease_of(description: bytes | None) -> float:
    """The lease in seconds that a worker has published; 0 if it has not."""
    try:
        lease = orjson.loads(description or b"{}")["lease"]
    except (ValueError, KeyError, TypeError):
        return 0.0
    # What was forged must not keep a dead worker's runs for ever.
    return float(lease) if isinstance(lease, int | float) and 0 < lease <= LONGEST_S else 0.0
