"""Runs that their code or their data keeps from going on: the list of them, and another try."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from durable_async.errors import RunNotFound
from durable_async.store.base import StoreBase, text_of
from durable_async.store.status import Answer


class BlockedCalls(StoreBase):
    """Nothing wakes a blocked run but a cancel, and these."""

    async def blocked_runs(self, cursor: str = "0", count: int = 100) -> tuple[str, list[tuple[str, str]]]:
        """A chunk of the list of blocked runs.

        Returns: the next cursor, "0" at the end; run id and workflow of each. One that is listed when the first chunk
        is asked for and when the last one is answered is in one of them, perhaps in several.
        Redis: HSCAN.
        """
        command = ("HSCAN", self.keys.blocked, cursor, "COUNT", count)
        after, flat = await self.caller.call(command, deadline_s=self.deadline_s)
        return text_of(after), [(text_of(flat[i]), text_of(flat[i + 1])) for i in range(0, len(flat), 2)]

    async def unblock_runs(self, ids: Sequence[str], *, worker: str = "", token: str = "") -> list[Answer]:
        """Makes blocked runs ready: for this worker, if it has a stream, or for any.

        Returns: for each OK, STALE if it is not blocked, GONE, or CORRUPT.
        Redis: unblock_runs.lua after a read of the runs' queues.
        """
        k = self.keys
        while True:
            rows = await self.fields(ids, ("queue",))
            keys, args = [k.blocked, k.worker(worker)], [worker, token]
            for id, (queue,) in zip(ids, rows, strict=True):
                keys += (k.run(id), k.queue(text_of(queue)))
                args += (id, text_of(queue))
            _, answers = await self._call("unblock_runs", keys, args)
            # The id has begun another life in another queue since the read.
            if Answer.RETRY not in answers:
                return [Answer(answer) for answer in answers]

    async def unblock_run(self, id: str) -> bool:
        """Has a blocked run tried again, by any worker. A repeat after a lost reply gets the first answer.

        Returns: whether it was blocked.

        Raises:
            RunNotFound: if there is no such run.
        """
        (answer,) = await self.unblock_runs([id], token=secrets.token_hex(8))
        if answer is Answer.GONE:
            raise RunNotFound(f"no run has the id {id!r}; it may never have been started, or its retention is over")
        return answer is Answer.OK
