"""Large inputs that many runs of a tree have: stored once, with a run above them.

The journal of a child that shares its input begins with `@<parent>\\n<fingerprint>` where that of others has the input
itself. The hash `shared:<run>` of the highest run above it that was active when it was started is the *holder*: it has
the bytes. The hashes in between have a mark, an empty value: when a run that ends takes what it holds with it, whoever
below it is active becomes the holder of what it has a mark of (expire_children.lua), and so does one that is taken up
again (retry_run.lua). So bytes move downwards only, and there are some at every moment; who looks for them looks from
the top down, and at last at the journal once more, which may have got a copy of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable_async.store.base import WRONGTYPE, StoreBase
from durable_async.store.gather import gather_calls
from durable_async.store.keys import above

Command = tuple[str | bytes | int, ...]


def shared_line(parent: str, fingerprint: bytes) -> bytes:
    """The first line of the journal of a child whose input is stored with its parent, or above that."""
    return b"@%b\n%b" % (parent.encode(), fingerprint)


def shared_name(line: bytes) -> bytes:
    """Under which an input is known that such a line stands for: all runs of a tree that have it have the same."""
    parent, _, fingerprint = line[1:].partition(b"\n")
    return b"%b\n%b" % (parent.partition(b"/")[0], fingerprint)


def holders_of(parent: str) -> list[str]:
    """The runs that may hold what a child of this one shares, from below."""
    return [parent, *above(parent)]


class SharedCalls(StoreBase):
    """Looks for what is stored elsewhere."""

    async def whole_starts(self, ids: Sequence[str], lines: Sequence[bytes | None]) -> list[bytes | None]:
        """The first lines of the journals of these runs, each with the input in it. One that is nowhere stays as it is.

        Redis: HGETs, those of all runs in one write. For what is not found once more, and an LINDEX: it may have moved
        between a lost reply and the next try.
        """
        whole = list(lines)
        wanted = {at: line for at, line in enumerate(lines) if type(line) is bytes and line[:1] == b"@"}
        asked: dict[Command, None] = {}
        for line in dict.fromkeys(wanted.values()):
            asked.update(dict.fromkeys(self._looks(line)))
        values = await gather_calls(self.caller, list(asked), deadline_s=self.deadline_s, passes=WRONGTYPE)
        found = dict(zip(asked, values, strict=True))
        for at, line in wanted.items():
            value = _first(found[look] for look in self._looks(line))
            whole[at] = b"S" + value if value else await self._again(ids[at], line)
        return whole

    def _looks(self, line: bytes) -> list[Command]:
        parent, _, fingerprint = line[1:].partition(b"\n")
        holders = holders_of(parent.decode(errors="replace"))
        return [("HGET", self.keys.shared(id), fingerprint) for id in reversed(holders)]

    async def _again(self, id: str, line: bytes) -> bytes | None:
        looks = [*self._looks(line), ("LINDEX", self.keys.journal(id), 0)]
        *values, own = await gather_calls(self.caller, looks, deadline_s=self.deadline_s, passes=WRONGTYPE)
        value = _first(values)
        return b"S" + value if value else own if type(own) is bytes else None


def _first(values: Iterable[object]) -> bytes:
    return next((value for value in values if type(value) is bytes and value), b"")
