"""Listings: runs by filter, children, trees and histories. Pages of reads, nothing written."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_async.checking import brief
from durable_async.client.reading import FAILED, FIELDS, history_events, run_info
from durable_async.codec import HARD_LIMIT, Codec, Unreadable
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import CorruptPayload, RunNotFound
from durable_async.shapes import HistoryEvent, Page, RunInfo, RunTree
from durable_async.store.base import WRONGTYPE, text_of
from durable_async.store.gather import gather_calls
from durable_async.store.store import Store
from durable_async.types import Status

log = logging.getLogger("durable_async.client")

CHUNK = 200
SCANNED = 5_000
"""Runs looked at by one call of `list` at most; the cursor goes on from there."""
PAGE_BYTES = 1_000
MAX_LIMIT = 1_000
MAX_OFFSET = 10**12
EPOCH = datetime.fromtimestamp(0, UTC)


class Queries:
    """Reads of one namespace."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        specs: Mapping[str, WorkflowSpec],
        limit: int = HARD_LIMIT,
        *,
        has_values: bool = True,
    ) -> None:
        self._store = store
        self._codec = codec
        self._specs = specs
        self._limit = limit
        """Bytes of a payload that are read."""
        self._has_values = has_values
        """Whether inputs and outputs are read, too: a page of them may be large."""

    async def infos(self, ids: Sequence[str], *, skips_damaged: bool = False) -> list[RunInfo]:
        """Snapshots of the runs that exist, in order; one write.

        Raises:
            CorruptPayload: naming the run that is damaged, unless these are to be skipped.
        """
        infos = []
        for id, found in zip(ids, await (self._whole(ids) if self._has_values else self._records(ids)), strict=True):
            try:
                info = self._info(id, *found)
            except CorruptPayload as error:
                if not skips_damaged:
                    raise
                # A list is what one looks for it with.
                log.warning("%s; it is left out of the list", error)
            else:
                infos += [info] if info is not None else []
        return infos

    async def _whole(self, ids: Sequence[str]) -> list[Sequence[Any]]:
        """The record of each run, and the first and last line of its journal."""
        k = self._store.keys
        commands: list[tuple[Any, ...]] = []
        for id in ids:
            commands.append(("HMGET", k.run(id), *FIELDS))
            commands.append(("LINDEX", k.journal(id), 0))
            commands.append(("LINDEX", k.journal(id), -1))
        replies = await self._gather(commands)
        replies[1::3] = await self._store.whole_starts(ids, replies[1::3])
        return [replies[at : at + 3] for at in range(0, len(replies), 3)]

    async def _records(self, ids: Sequence[str]) -> list[Sequence[Any]]:
        """As `_whole`, with no line but of those that have failed: how they did."""
        k = self._store.keys
        rows = await self._gather([("HMGET", k.run(id), *FIELDS) for id in ids])
        failed = [id for id, row in zip(ids, rows, strict=True) if isinstance(row, list) and text_of(row[0]) in FAILED]
        ends = dict(zip(failed, await self._gather([("LINDEX", k.journal(id), -1) for id in failed]), strict=True))
        return [(row, None, ends.get(id)) for id, row in zip(ids, rows, strict=True)]

    async def _gather(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        found: list[Any] = await gather_calls(
            self._store.caller, commands, deadline_s=self._store.deadline_s, passes=WRONGTYPE
        )
        return found

    def _info(self, id: str, row: Any, first: Any, last: Any) -> RunInfo | None:
        if any(isinstance(reply, Exception) for reply in (row, first, last)):
            raise CorruptPayload(f"run {id} is damaged: a key of it has a wrong type; mend or delete it by hand")
        if row[0] is None:
            return None
        try:
            return run_info(id, row, first, last, self._codec, self._specs, self._limit)
        except Unreadable as error:
            # Nothing is wrong with the run: who asks has another codec than who wrote it.
            raise Unreadable(f"run {id} cannot be read here: {error}") from None
        except (CorruptPayload, ValueError, TypeError, OverflowError, OSError) as error:
            why = str(error) if isinstance(error, CorruptPayload) else "a field of its record cannot be read"
            raise CorruptPayload(f"run {id} is damaged: {why}; mend or delete it by hand") from None

    async def get(self, id: str) -> RunInfo:
        """One snapshot.

        Raises:
            RunNotFound: if there is no such run.
        """
        found = await self.infos([id])
        if not found:
            raise RunNotFound(f"no run has the id {id!r}; it may never have been started, or its retention is over")
        return found[0]

    async def children(self, id: str, status: frozenset[Status] | None) -> list[RunInfo]:
        """All children of a run, oldest first."""
        await self._exists(id)
        infos: list[RunInfo] = []
        for at in range(0, await self._call("ZCARD", self._store.keys.children(id)), CHUNK):
            ids = await self._call("ZRANGE", self._store.keys.children(id), at, at + CHUNK - 1)
            found = await self.infos([i.decode(errors="replace") for i in ids], skips_damaged=True)
            infos += [i for i in found if status is None or i.status in status]
        return infos

    async def tree(self, id: str) -> RunTree:
        """A run with all its descendants."""
        run = await self.get(id)
        return await self._subtree(run, frozenset({id}))

    async def _subtree(self, run: RunInfo, above: frozenset[str]) -> RunTree:
        children = [c for c in await self.children(run.id, None) if c.id not in above]
        return RunTree(run, tuple([await self._subtree(c, above | {c.id}) for c in children]))

    async def history(self, id: str) -> list[HistoryEvent]:
        """The journal of a run, as users see it."""
        run = await self.get(id)
        created_ms = (run.created_at - EPOCH) // timedelta(milliseconds=1)
        events: list[HistoryEvent] = []
        key = self._store.keys.journal(id)
        lines: list[bytes] = []
        is_whole = False
        while not is_whole:
            lines = await self._call("LRANGE", key, len(events), len(events) + PAGE_BYTES - 1)
            events += history_events(lines, created_ms, self._codec, len(events))
            is_whole = len(lines) < PAGE_BYTES
        if not lines:
            # Its retention may have ended between two reads: then this raises, as it would have before the first.
            await self.get(id)
        return events

    async def page(
        self,
        *,
        status: frozenset[Status] | None = None,
        workflow: str | None = None,
        queue: str | None = None,
        id_prefix: str | None = None,
        parent: str | None = None,
        top_level: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[RunInfo]:
        """One page of runs, newest first."""
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"limit must be a number from 1 to {MAX_LIMIT}, got {brief(limit)}")
        offset = _read_cursor(cursor, parent)
        items: list[RunInfo] = []

        def wanted(run: RunInfo) -> bool:
            return (
                (status is None or run.status in status)
                and (workflow is None or run.workflow == workflow)
                and (queue is None or run.queue == queue)
                and (not top_level or run.parent_id is None)
            )

        scanned = 0
        while scanned < SCANNED:
            ids = await self._ids(parent, since, until, offset)
            chosen = [id for id in ids if id_prefix is None or id.startswith(id_prefix)]
            runs = {run.id: run for run in await self.infos(chosen, skips_damaged=True)}
            for at, id in enumerate(ids, 1):
                if id in runs and wanted(runs[id]):
                    items.append(runs[id])
                if len(items) == limit:
                    is_last = at == len(ids) and len(ids) < CHUNK
                    return Page(items, None if is_last else _write_cursor(offset + at, parent))
            offset += len(ids)
            scanned += len(ids)
            if len(ids) < CHUNK:
                return Page(items, None)
        return Page(items, _write_cursor(offset, parent))

    async def _ids(self, parent: str | None, since: datetime | None, until: datetime | None, offset: int) -> list[str]:
        if parent is not None:
            key, high, low = self._store.keys.children(parent), "+inf", "-inf"
        else:
            key = self._store.keys.index
            high, low = _bound(until, "+inf"), _bound(since, "-inf")
        found = await self._call("ZRANGE", key, high, low, "BYSCORE", "REV", "LIMIT", offset, CHUNK)
        return [id.decode(errors="replace") for id in found]

    async def _exists(self, id: str) -> None:
        if not await self._call("EXISTS", self._store.keys.run(id)):
            raise RunNotFound(f"no run has the id {id!r}; it may never have been started, or its retention is over")

    async def _call(self, *command: Any) -> Any:
        return await self._store.caller.call(command, deadline_s=self._store.deadline_s)


def _bound(moment: datetime | None, otherwise: str) -> str:
    if moment is None:
        return otherwise
    return str((moment - EPOCH) // timedelta(milliseconds=1))


def _write_cursor(offset: int, parent: str | None) -> str:
    text = f"{offset}|{parent or ''}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, parent: str | None) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        offset, _, for_parent = text.partition("|")
        if for_parent != (parent or "") or not 0 <= int(offset) <= MAX_OFFSET:
            raise ValueError
        return int(offset)
    except (ValueError, binascii.Error, AttributeError, TypeError):
        raise ValueError("cursor is not one of this listing; pass the `cursor` of the page before, unchanged") from None
