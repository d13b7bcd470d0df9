"""What the parts of the store share: the caller, the names of keys, and reading records."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from durable_async.errors import RunNotFound
from durable_async.store.commands import Standing
from durable_async.store.gather import gather_calls
from durable_async.store.keys import Keys, queue_of
from durable_async.store.retry import Caller
from durable_async.store.scripts import SCRIPTS

log = logging.getLogger("durable_async.store")

WRONGTYPE = "WRONGTYPE"


class StoreBase:
    """One partition, and how it is spoken to."""

    def __init__(
        self, caller: Caller, keys: Keys, *, given_now: int | None = None, deadline_s: float | None = None
    ) -> None:
        self.caller = caller
        self.keys = keys
        self.deadline_s = deadline_s
        self.given_now: int | str = "" if given_now is None else given_now

    async def _call(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        return await self.caller.call(SCRIPTS[name].call(keys, args), deadline_s=self.deadline_s)

    async def standing(self, id: str) -> Standing:
        """Reads what a call to a run must declare.

        Raises:
            RunNotFound: if there is no such run.
        Redis: one or two HMGETs.
        """
        found = await self.standings([id])
        if found[0] is None:
            raise RunNotFound(f"no run has the id {id!r}; it may never have been started, or its retention is over")
        return found[0]

    async def standings(self, ids: Sequence[str]) -> list[Standing | None]:
        """`standing` for many runs at once; None for each that does not exist."""
        names = ("status", "owner", "queue", "parent", "hint", "pqueue", "cancel", "cancel_kids", "retention")
        rows = await self.fields(ids, names)
        owners = {}
        if parents := sorted({text_of(row[3]) for row in rows if row[3]}):
            found = await self.fields(parents, ("owner",))
            owners = {parent: text_of(row[0]) for parent, row in zip(parents, found, strict=True)}
        return [
            Standing(
                text_of(r[0]), text_of(r[1]), text_of(r[2]), text_of(r[3]), owners.get(text_of(r[3]), ""),
                text_of(r[5]), text_of(r[6]), number_of(r[7]), number_of(r[8]),
            )
            if r[0] is not None
            else None
            for r in rows
        ]  # fmt: skip

    async def fields(self, ids: Sequence[str], names: Sequence[str]) -> list[list[bytes | None]]:
        """Some fields of some records, in order; all None for a run that does not exist. One write."""
        run = self.keys.run
        commands = [("HMGET", run(id), *names) for id in ids]
        rows = await gather_calls(self.caller, commands, deadline_s=self.deadline_s, passes=WRONGTYPE)
        # What is no record cannot be a run, and must not keep the others of a batch from their business.
        return [[None] * len(names) if isinstance(row, Exception) else row for row in rows]

    def _outside(self, id: str, s: Standing) -> tuple[list[str], tuple[str, str]]:
        k = self.keys
        keys = [
            k.run(id), k.journal(id), k.inbox(id), k.timers, k.walks, k.worker(s.owner), k.queue(s.queue), k.blocked
        ]  # fmt: skip
        if s.parent:
            keys += [k.run(s.parent), k.inbox(s.parent), k.worker(s.parent_owner), k.queue(s.parent_queue)]
        return keys + k.room(queue_of(s.queue)), (s.parent, s.parent_owner)

    async def _clear(self, command: str, key: str, junk: Sequence[bytes]) -> None:
        # Put there by hand, or by code that is not ours: nobody could ever act on it, and it would be found for ever.
        if junk:
            log.error("%d members of %s name no run of ours and are removed", len(junk), key)
            await self.caller.call((command, key, *junk), deadline_s=self.deadline_s)


def text_of(value: bytes | None) -> str:
    """A field as text. What cannot be read names nothing that exists."""
    return "" if value is None else value.decode(errors="replace")


def number_of(value: bytes | None) -> int:
    """A field as a number; 0 if it is none of ours."""
    return int(value) if value and value.isdigit() and len(value) < 16 else 0


def is_text(value: bytes) -> bool:
    """Whether it can be read as text, as all that is ours can."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def pairs_of(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash as it is answered: names and values in turn."""
    return {text_of(flat[at]): text_of(flat[at + 1]) for at in range(0, len(flat), 2)}
