"""Ended trees, removed before their retention is over. The command line's; nothing runs it by itself.

A tree goes from its leaves up, one script a run, and each script looks once more: so one that is interrupted leaves no
run without somebody who lists it, and can be purged again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from durable_async.client.reading import public_status
from durable_async.errors import RunNotFound, RunNotWaiting
from durable_async.store.base import number_of, text_of
from durable_async.store.store import Store
from durable_async.types import TERMINAL, Status

CHUNK = 200
CHILDREN = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended root run."""

    id: str
    workflow: str
    status: Status
    finished_at: datetime


class Purging:
    """Finds and removes ended trees of one namespace."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def now(self) -> datetime:
        """The server's time, which the ends of runs are told in."""
        seconds, micros = await self._call("TIME")
        return datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)

    async def ended(
        self, *, before: datetime, statuses: Collection[Status] = (), workflow: str | None = None
    ) -> AsyncIterator[Ended]:
        """Roots that have ended by then, oldest first; whoever iterates may remove each of them.

        Not guaranteed: that each is found, while others are removed by somebody else. A record that cannot be read is
        left out.
        """
        at = 0
        while ids := [text_of(id) for id in await self._call("ZRANGE", self._store.keys.index, at, at + CHUNK - 1)]:
            for id, row in zip(ids, await self._rows(ids), strict=True):
                found = _ended(id, row)
                if (
                    found is not None
                    and found.finished_at <= before
                    and (not statuses or found.status in statuses)
                    and (workflow is None or found.workflow == workflow)
                ):
                    yield found
            # Those behind the ones that have gone meanwhile are where they were.
            at += len(ids) - (await self._gone(ids))

    async def of(self, id: str) -> Ended:
        """The ended root of this id.

        Raises:
            RunNotFound: if there is no such run.
            RunNotWaiting: if it has not ended, or has a parent, which may look at it again.
        """
        [row] = await self._rows([id])
        if row[0] is None:
            raise RunNotFound(f"no run has the id {id!r}; it may never have been started, or its retention is over")
        if row[1]:
            raise RunNotWaiting(f"run {id} is a child, and goes with its tree: purge {id.partition('/')[0]}")
        found = _ended(id, row)
        if found is None:
            raise RunNotWaiting(f"run {id} is {text_of(row[0])}: only a run that has ended can be purged")
        return found

    async def size(self, id: str) -> int | None:
        """How many runs a tree has; None if one of them has not ended."""
        [row] = await self._rows([id])
        if row[0] is not None and not _is_over(row):
            return None
        count, at = 1, 0
        while ids := await self._children(id, at):
            at += len(ids)
            for child in ids:
                below = await self.size(child)
                if below is None:
                    return None
                count += below
        return count

    async def remove(self, id: str, parent: str = "") -> int:
        """Removes an ended tree; returns how many runs that were.

        Raises:
            RunNotWaiting: if something in it has not ended (any more). What was removed by then is gone.
        """
        count = 1
        while not await self._store.remove_run(id, parent):
            [row] = await self._rows([id])
            if not _is_over(row):
                raise RunNotWaiting(f"run {id} is {text_of(row[0])}: only a tree that has ended can be purged")
            for child in await self._children(id, 0):
                count += await self.remove(child, id)
        return count

    async def _children(self, id: str, at: int) -> list[str]:
        found = await self._call("ZRANGE", self._store.keys.children(id), at, at + CHILDREN - 1)
        return [text_of(child) for child in found]

    async def _rows(self, ids: list[str]) -> list[list[bytes | None]]:
        return await self._store.fields(ids, ("status", "parent", "workflow", "finished"))

    async def _gone(self, ids: list[str]) -> int:
        return sum(score is None for score in await self._call("ZMSCORE", self._store.keys.index, *ids))

    async def _call(self, *command: str | int) -> Any:
        return await self._store.caller.call(command, deadline_s=self._store.deadline_s)


def _is_over(row: list[bytes | None]) -> bool:
    return row[0] is None or public_status(text_of(row[0]), 1) in TERMINAL


def _ended(id: str, row: list[bytes | None]) -> Ended | None:
    status, parent, workflow, finished = row
    try:
        found = None if status is None or parent else public_status(text_of(status), 1)
    except ValueError:
        return None
    if found is None or not found.is_terminal:
        return None
    return Ended(id, text_of(workflow), found, datetime.fromtimestamp(number_of(finished) / 1000, UTC))
