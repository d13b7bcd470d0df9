"""The transitions by which a run id lives again: taken up after a failure, forked, removed to begin anew."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from durable_async.errors import RunNotFound
from durable_async.store.base import StoreBase, text_of
from durable_async.store.commands import NewRun
from durable_async.store.shared import holders_of
from durable_async.store.status import Answer

PIECE: Final = 500
"""Journal lines of a fork that are written at once."""
UPLOAD_MS: Final = 3_600_000
"""How long a journal lives whose run was never started: whoever wrote it died."""


class LifeCalls(StoreBase):
    """One method per transition."""

    async def retry_run(self, id: str, timeout_ms: int) -> str:
        """Takes a failed run up again. Returns the status it had: `failed` if this call did it.

        Raises:
            RunNotFound: if there is no such run.
        Redis: retry_run.lua after a read; again if the queue is another one.
        """
        k, token = self.keys, secrets.token_hex(8)
        while True:
            standing = await self.standing(id)
            keys = (
                k.run(id), k.journal(id), k.children(id), k.timers, k.walks, k.queue(standing.queue), k.shared(id),
                *map(k.shared, holders_of(standing.parent or id)),
            )  # fmt: skip
            reply = await self._call("retry_run", keys, (self.given_now, id, token, timeout_ms, standing.queue))
            if reply[0] == Answer.OK:
                return "failed"
            if reply[0] == Answer.DONE:
                return text_of(reply[1])
            if reply[0] == Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")

    async def persist_children(self, item: str, cursor: str, next_cursor: str, ids: Sequence[str]) -> None:
        """One chunk of the walk that keeps a tree whose root was taken up again."""
        k = self.keys
        keys = [k.walks]
        for id in ids:
            keys += (k.run(id), k.journal(id), k.children(id), k.shared(id))
        await self._call("persist_children", keys, (item, cursor, next_cursor, *ids))

    async def fork_run(self, run: NewRun, more: Sequence[str | bytes | int], lines: Sequence[bytes]) -> bool:
        """Starts a run with a past; `more` are further fields of its record. False if the id is in use.

        Redis: RPUSH in pieces, then fork_run.lua.
        """
        k = self.keys
        journal = k.journal(run.id)
        keys = (k.run(run.id), journal, k.queue(run.queue), k.timers, k.index)
        while True:
            await self.caller.call(("DEL", journal), deadline_s=self.deadline_s)
            for at in range(0, len(lines), PIECE):
                await self.caller.call(("RPUSH", journal, *lines[at : at + PIECE]), deadline_s=self.deadline_s)
            await self.caller.call(("PEXPIRE", journal, UPLOAD_MS), deadline_s=self.deadline_s)
            args = (self.given_now, run.id, run.fields(more), run.token, len(lines), run.timeout_ms)
            answer = (await self._call("fork_run", keys, args))[0]
            # A piece whose reply was lost may be there twice.
            if answer != Answer.GONE:
                return bool(answer == Answer.OK)

    async def remove_run(self, id: str, parent: str) -> bool:
        """Removes an ended run that lists no child any more; False if it is active or lists some."""
        k = self.keys
        keys = (
            k.run(id), k.journal(id), k.inbox(id), k.children(id), k.walks, k.index, k.children(parent or id),
            k.shared(id),
        )  # fmt: skip
        reply = await self._call("remove_run", keys, (id,))
        return bool(reply[0] != Answer.RETRY)
