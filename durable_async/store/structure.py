"""What must be true of a store at every moment, and its repair: the kinds of damage in words, and who looks where.

The rules themselves are `lua/lib/structure.lua`, and nowhere else: the sweeper of the workers and `durable doctor` ask
the same script about one run after the other, one of them slowly, the other one all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from durable_async.store.base import WRONGTYPE, is_text, pairs_of, text_of
from durable_async.store.entries import EntryCalls
from durable_async.store.gather import gather_calls
from durable_async.store.keys import SLOTS, queue_of
from durable_async.store.scripts import SCRIPTS
from durable_async.store.status import Answer
from durable_async.store.transport_base import Arg, Args
from durable_async.store.upkeep import TIMER_LEASE_MS

DAMAGE: Final = {
    "entry_gone": "is ready or running, and the entry that would have it taken up is gone",
    "entry_left": "needs no entry, and names one",
    "message_left": "is parked, and a message for it waits",
    "child_settled": "waits for a child that has ended or is gone",
    "child_silent": "waits for a child that would not tell it",
    "timer_gone": "waits for a time, and no timer would wake it then",
    "timer_left": "has a timer that nothing waits for",
    "block_gone": "is blocked, and is not listed among the blocked runs",
    "block_left": "is not blocked, and is listed among the blocked runs",
    "cancel_gone": "is below a cancelled run, and nobody would cancel it",
    "lane_gone": "has a priority, and no worker would read the stream that its queue has for that",
    "inbox_left": "has messages that nobody will take",
    "ttl_gone": "has ended, and would be kept for ever",
    "index_gone": "is not listed",
    "orphan": "is gone, and something is left of it",
    "outcome_gone": "has ended, and how is not recorded",
    "unreadable": "has a key that cannot be read",
}
"""What the script finds about a run, as the end of a sentence that begins with its id."""
ACTIVE: Final = frozenset({"delayed", "ready", "running", "parked", "blocked"})
INCURABLE: Final = frozenset({"outcome_gone", "unreadable"})
"""What only a person can mend."""
ORPHAN_MS: Final = 86_400_000
"""How long what is left of a run without a record is kept for a person to look at."""
SIFTED: Final = 500
LOOKS: Final = 50
"""Closer looks in one write."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with one run."""

    id: str
    kind: str
    """A key of `DAMAGE`."""
    is_fixed: bool = False


@dataclass(slots=True)
class Sweep:
    """One chunk of everything, for whoever asked first."""

    first: int
    """The rank of the first run in the index."""
    runs: list[str]
    timed: list[str]
    """Whom timers name."""
    blocked: list[str]
    """Whom the list of blocked runs names."""
    cursor: str
    """Of the way through all keys."""
    is_last: bool
    """No run comes after these."""


@dataclass(frozen=True, slots=True)
class Links:
    """What a closer look must declare: a run's streams, its parent, and what it says it waits for."""

    id: str
    status: str
    owner: str
    queue: str
    parent: str
    waiting: str


@dataclass(slots=True)
class Strays:
    """What a step of the way through all keys of the server has met."""

    cursor: str
    """Of the next step; "0" at the end."""
    runs: list[str]
    """That are not listed, or of which there is something but no record; and those with children, while these stay."""
    workers: list[str]
    """That have a stream and no heartbeat."""
    lanes: list[str]
    """The streams of queues."""


Untold = Callable[[Sequence[bytes], str], bool]
"""Whether a journal does not hold the end of this child's current life. Journals are not the store's to read."""


class StructureCalls(EntryCalls):
    """The looks and the repairs."""

    async def take_sweep(self, pause_ms: int, runs: int, others: int) -> Sweep | None:
        """The next chunk for this caller, unless another one was given out less than `pause_ms` ago.

        Redis: take_sweep.lua.
        """
        k = self.keys
        keys, args = (k.meta, k.index, k.timers, k.blocked), (self.given_now, pause_ms, runs, others)
        reply = await self._call("take_sweep", keys, args)
        if reply[0] == Answer.DONE:
            return None
        _, first, ids, members, blocked, cursor = reply
        timed = dict.fromkeys(text_of(m[1:]) for m in members if len(m) > 1 and is_text(m))
        return Sweep(
            first, [text_of(id) for id in ids if is_text(id)], list(timed),
            [text_of(id) for id in blocked if is_text(id)], text_of(cursor), len(ids) < runs,
        )  # fmt: skip

    async def save_sweep(self, next_run: int, cursor: str) -> None:
        """Where the next chunk begins. Redis: HSET."""
        command = ("HSET", self.keys.meta, "sweep_runs", next_run, "sweep_keys", cursor)
        await self.caller.call(command, deadline_s=self.deadline_s)

    async def sift_runs(self, ids: Sequence[str], *, looks_at_all: bool = False) -> list[Links | None]:
        """Which of these need a closer look, and what that must declare; None for the others.

        Redis: sift_runs.lua.
        """
        found: list[Links | None] = []
        for at in range(0, len(ids), SIFTED):
            some = ids[at : at + SIFTED]
            _, rows = await self._call("sift_runs", [self.keys.run(id) for id in some], ("1" if looks_at_all else "",))
            for id, row in zip(some, rows, strict=True):
                values = [text_of(value) for value in row] + [""] * (5 - len(row))
                found.append(Links(id, *values) if row else None)
        return found

    async def doubtful(self, timed: Sequence[str], blocked: Sequence[str]) -> list[Links]:
        """Of the runs that a timer, or the list of blocked ones, names: those that have no business there.

        The others are looked at on the way through the index.
        """
        found = await self.sift_runs([*timed, *blocked], looks_at_all=True)
        waiting = [each for each in found[: len(timed)] if each and each.status not in ACTIVE]
        return waiting + [each for each in found[len(timed) :] if each and each.status != "blocked"]

    async def inspect(self, links: Sequence[Links], untold: Untold, *, may_fix: bool) -> list[Finding]:
        """A closer look at some runs; with `may_fix` what is wrong is mended, each run by one script.

        Redis: repair_run.lua for each, some at a time.
        """
        found: list[Finding] = []
        for at in range(0, len(links), LOOKS):
            some = links[at : at + LOOKS]
            calls = [self._look(each, (), 0, may_fix=may_fix) for each in some]
            replies = await gather_calls(self.caller, calls, deadline_s=self.deadline_s)
            for each, reply in zip(some, replies, strict=True):
                found += _findings(each.id, reply, may_fix=may_fix)
                if reply[0] == Answer.OK and reply[3]:
                    found += await self._inspect_waiting(each, {text_of(c) for c in reply[3]}, untold, may_fix=may_fix)
        return found

    async def _inspect_waiting(
        self, links: Links, suspects: set[str], untold: Untold, *, may_fix: bool
    ) -> list[Finding]:
        # A child that has ended and a parent that waits: told and about to be called again, or never told.
        key = self.keys.journal(links.id)
        journal = await self.caller.call(("LRANGE", key, 0, -1), deadline_s=self.deadline_s)
        unheard = [child for child in suspects if untold(journal, child)]
        if not unheard:
            return []
        look = self._look(links, unheard, len(journal), may_fix=may_fix)
        reply = await self.caller.call(look, deadline_s=self.deadline_s)
        return _findings(links.id, reply, may_fix=may_fix)

    def _look(self, links: Links, untold: Sequence[str], length: int, *, may_fix: bool) -> Args:
        k, id = self.keys, links.id
        keys = [
            k.run(id), k.journal(id), k.inbox(id), k.children(id), k.timers, k.walks, k.blocked, k.index, k.meta,
            k.worker(links.owner), k.queue(links.queue or "default"), k.gates, k.shared(id),
        ]  # fmt: skip
        fix = "1" if may_fix else ""
        args: list[Arg] = [
            self.given_now, id, fix, links.owner, links.queue, links.parent, length, TIMER_LEASE_MS, ORPHAN_MS
        ]  # fmt: skip
        if links.parent:
            keys += (k.run(links.parent), k.children(links.parent))
        for child in awaited_in(id, links.waiting) if links.status == "parked" else ():
            keys += (k.run(child), k.journal(child))
            args += (child, "1" if child in untold else "")
        keys += k.room(queue_of(links.queue or "default"))
        return SCRIPTS["repair_run"].call(keys, args)

    async def strays(self, cursor: str, count: int, *, may_fix: bool = True) -> Strays:
        """A step of the way through all keys of the server. Result streams without a time to live get one.

        Redis: SCAN, then one or two reads if it finds something.
        """
        k = self.keys
        command = ("SCAN", cursor, "MATCH", glob_of(k.base) + "*", "COUNT", count)
        after, names = await self.caller.call(command, deadline_s=self.deadline_s)
        found: dict[str, list[str]] = {}
        for name in names:
            if is_text(name):
                kind, _, id = text_of(name).removeprefix(k.base).partition(":")
                found.setdefault(kind, []).append(id)
        named = [id for kind in ("run", "journal", "inbox", "children", "shared") for id in found.get(kind, ())]
        ids = await self._unlisted(list(dict.fromkeys(named)))
        parents = found.get("children", [])
        ttls = await gather_calls(self.caller, [("PTTL", k.children(id)) for id in parents], deadline_s=self.deadline_s)
        ids += [id for id, ttl in zip(parents, ttls, strict=True) if ttl == -1 and id not in ids]
        workers = found.get("worker", [])
        if workers:
            beats = await self.caller.call(("HMGET", k.beats, *workers), deadline_s=self.deadline_s)
            workers = [worker for worker, beat in zip(workers, beats, strict=True) if beat is None]
        for client in found.get("client", ()) if may_fix else ():
            # Made by hand, or by a server that lost the time to live.
            await self.caller.call(("PEXPIRE", k.client(client), ORPHAN_MS, "NX"), deadline_s=self.deadline_s)
        return Strays(text_of(after), ids, workers, found.get("queue", []))

    async def garbage(self, lane: str, after: str, count: int, *, may_fix: bool) -> tuple[str, int]:
        """Entries of a queue that no record names, a chunk of them: whoever reads them acks them, if anybody does.

        Returns: the id of the last entry looked at, empty at the end; how many of them were garbage.
        Redis: XRANGE, HMGETs, one of the slots of the queue; release_entry.lua for each.
        """
        key = self.keys.queue(lane)
        start = f"({after}" if after else "-"
        found = await self.caller.call(("XRANGE", key, start, "+", "COUNT", count), deadline_s=self.deadline_s)
        entries = [(text_of(id), text_of(flat[1]) if len(flat) > 1 and is_text(flat[1]) else "") for id, flat in found]
        rows = await self.fields([id for _, id in entries], ("entry",)) if entries else []
        unnamed = [(n, id) for (n, id), (entry,) in zip(entries, rows, strict=True) if text_of(entry) != f"Q{n}"]
        let_in = await self._let_in(lane, [id for _, id in unnamed])
        # An entry is named by the script that adds it, in the record or, if its run was let into a limited queue, in
        # the slot, which keeps it while the run goes on: one that neither names never will be. The slots are read
        # last: what has come from there into a record since that was read would else be taken from its owner.
        dead = [(n, id) for n, id in unnamed if let_in is not None and let_in[id] != f"Q{n}"]
        for entry_id, id in dead if may_fix else ():
            await self.release_entry(id, key, lane, f"Q{entry_id}")
        return (entries[-1][0] if len(entries) == count else ""), len(dead)

    async def _let_in(self, lane: str, ids: Sequence[str]) -> dict[str, str] | None:
        """The entries under which runs have slots of a queue, empty for who has none; None if the slots are damaged."""
        if not ids:
            return {}
        command = ("HMGET", self.keys.room(queue_of(lane))[SLOTS], *ids)
        (found,) = await gather_calls(self.caller, [command], deadline_s=self.deadline_s, passes=WRONGTYPE)
        if isinstance(found, Exception):
            return None
        return {id: text_of(slot).partition("\n")[0] for id, slot in zip(ids, found, strict=True)}

    async def mended(self) -> dict[str, int]:
        """How often each kind of damage has been mended. Redis: HGETALL."""
        flat = await self.caller.call(("HGETALL", self.keys.meta), deadline_s=self.deadline_s)
        found = pairs_of(flat)
        return {k.removeprefix("fixed:"): int(n) for k, n in found.items() if k.startswith("fixed:") and n.isdigit()}

    async def _unlisted(self, ids: Sequence[str]) -> list[str]:
        if not ids:
            return []
        scores = await self.caller.call(("ZMSCORE", self.keys.index, *ids), deadline_s=self.deadline_s)
        return [id for id, score in zip(ids, scores, strict=True) if score is None]


def _findings(id: str, reply: Sequence[Any], *, may_fix: bool) -> list[Finding]:
    if reply[0] == Answer.CORRUPT:
        return [Finding(id, "unreadable")]
    if reply[0] != Answer.OK:
        return []  # it has just changed: whoever changed it has seen to it, or the next round does
    names = sorted(text_of(kind) for kind in reply[2])
    return [Finding(id, kind, may_fix and kind not in INCURABLE) for kind in names]


def awaited_in(id: str, waiting: str) -> list[str]:
    """The children that a parked run says it waits for, of those that it names: ``child a/b, child a/c and 2 more``."""
    parts = waiting.split(", ")
    parts[-1] = parts[-1].rsplit(" and ", 1)[0]
    named = dict.fromkeys(part.removeprefix("child ") for part in parts if part.startswith("child "))
    return [child for child in named if child.startswith(id.partition("/")[0] + "/")]


def glob_of(text: str) -> str:
    """A pattern that matches this text alone."""
    return "".join(f"\\{c}" if c in "*?[]^-\\" else c for c in text)
