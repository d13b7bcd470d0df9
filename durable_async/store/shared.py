"""Inputs that several children of a run have: stored once, with the run.

The journal of such a child begins with `@<run>\\n<fingerprint>` where that of others has the input itself, and the hash
`shared:<run>` has it. It lives as long as the list of the run's children does. A child that may outlive it gets a copy:
one that is active when the tree is given its time to live (expire_children.lua), one that is taken up again
(retry_run.lua).
"""

from __future__ import annotations

from collections.abc import Sequence

from durable_async.store.base import WRONGTYPE, StoreBase
from durable_async.store.gather import gather_calls


def shared_line(holder: str, fingerprint: bytes) -> bytes:
    """The first line of the journal of a child whose input is stored with its parent."""
    return b"@%b\n%b" % (holder.encode(), fingerprint)


class SharedCalls(StoreBase):
    """Looks for what is stored elsewhere."""

    async def whole_starts(self, ids: Sequence[str], lines: Sequence[bytes | None]) -> list[bytes | None]:
        """The first lines of the journals of these runs, each with the input in it. One that is nowhere stays as it is.

        Redis: an HGET each; an LINDEX if there is nothing, for the child may have got its copy meanwhile.
        """
        whole = list(lines)
        wanted = {line for line in lines if type(line) is bytes and line[:1] == b"@" and b"\n" in line}
        commands: list[tuple[str | bytes, ...]] = []
        for line in wanted:
            holder, _, fingerprint = line[1:].partition(b"\n")
            commands.append(("HGET", self.keys.shared(holder.decode(errors="replace")), fingerprint))
        if not commands:
            return whole
        values = await gather_calls(self.caller, commands, deadline_s=self.deadline_s, passes=WRONGTYPE)
        found: dict[bytes | None, bytes | None] = dict(zip(wanted, values, strict=True))
        for at, given in enumerate(lines):
            if given in found:
                value = found[given]
                whole[at] = b"S" + value if type(value) is bytes else await self._again(ids[at])
        return whole

    async def _again(self, id: str) -> bytes | None:
        line: bytes | None = await self.caller.call(("LINDEX", self.keys.journal(id), 0), deadline_s=self.deadline_s)
        return line
