"""The store: one method per transition, each one script call.

The methods on a worker's hot path (`claim_runs`, `resume_runs`, `commit_run`, `ack_entries`) take a callback and cost
no task; the others are coroutines. All of them are repeat-safe, so the caller below them sends again what was lost. It
must not know what a workflow is: payloads are bytes, journals are lists of bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from durable_async.codec.flat import pack_flat
from durable_async.errors import RunNotFound
from durable_async.store.commands import Commit, NewRun, Standing
from durable_async.store.gather import gather_calls
from durable_async.store.keys import Keys
from durable_async.store.retry import Caller
from durable_async.store.scripts import SCRIPTS
from durable_async.store.status import Answer

log = logging.getLogger("durable_async.store")

Reply = Callable[[Any], None]
WRONGTYPE = "WRONGTYPE"
GROUP = "workers"
PAGE = 100
"""Journal lines and messages per answer."""
TIMER_LEASE_MS = 2_000
"""How long a due timer stays with the worker that was handed it."""
PUSH_LIMIT = 10_000
"""Entries kept, about, in a client's stream; a client that is further behind reads its runs again."""

_start, _claim, _resume, _commit = (SCRIPTS[n] for n in ("start_run", "claim_runs", "resume_runs", "commit_run"))


class Store:
    """The transitions of one partition.

    Args:
        caller: sends commands, again if need be.
        keys: the names of the partition's keys.
        given_now: only tests set it: milliseconds that scripts use instead of the server's clock.
        deadline_s: how long the coroutines keep trying while the store is in trouble; by default for ever, as a worker
            does. After it they raise `StoreUnavailable`.
    """

    def __init__(
        self, caller: Caller, keys: Keys, *, given_now: int | None = None, deadline_s: float | None = None
    ) -> None:
        self.caller = caller
        self.keys = keys
        self.deadline_s = deadline_s
        self.given_now: int | str = "" if given_now is None else given_now

    async def _call(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        return await self.caller.call(SCRIPTS[name].call(keys, args), deadline_s=self.deadline_s)

    # ------------------------------------------------------------------ runs

    async def start_run(self, run: NewRun) -> list[Any]:
        """Creates a run or answers what has its id.

        Returns: `[OK, now_ms]` or `[EXISTS, workflow, digest, status]`.
        Redis: start_run.lua.
        """
        k = self.keys
        keys = (k.run_prefix + run.id, k.journal_prefix + run.id, k.queue_prefix + run.queue, k.timers, k.index)
        args = (self.given_now, run.id, run.fields(), run.start, run.delay_ms, run.token)
        reply: list[Any] = await self.caller.call(_start.call(keys, args), deadline_s=self.deadline_s)
        return reply

    def claim_runs(
        self, owner: str, nonce: str, crash_limit: int, entries: Sequence[tuple[str, str]], on_reply: Reply
    ) -> None:
        """Takes runs through their entries, `(run id, entry)` each.

        Returns: `[now_ms, reply per entry]`, see claim_runs.lua.
        """
        k = self.keys
        keys: list[str] = []
        args: list[Any] = [self.given_now, owner, nonce, crash_limit, PAGE]
        for id, entry in entries:
            keys += (k.run_prefix + id, k.journal_prefix + id, k.inbox_prefix + id)
            args += (id, entry)
        self.caller.run(_claim.call(keys, args), on_reply)

    def resume_runs(self, copies: Sequence[tuple[str, str, int, str, int]], on_reply: Reply) -> None:
        """Takes up woken runs that are in memory: `(id, entry, epoch, nonce, seq)` each.

        Returns: `[now_ms, reply per run]`, see resume_runs.lua.
        """
        k = self.keys
        keys: list[str] = []
        args: list[Any] = [self.given_now, PAGE]
        for id, entry, epoch, nonce, seq in copies:
            keys += (k.run_prefix + id, k.inbox_prefix + id)
            args += (entry, epoch, nonce, seq)
        self.caller.run(_resume.call(keys, args), on_reply)

    def commit_run(self, c: Commit, on_reply: Reply) -> None:
        """One commit; see commit_run.lua for its answers."""
        k = self.keys
        id = c.id
        keys = [k.run_prefix + id, k.journal_prefix + id, k.inbox_prefix + id, k.timers, k.walks]
        has_parent = bool(c.parent[0]) and c.want not in ("go", "park", "block")
        counts = f"{len(c.lines)} {len(c.children)} {len(c.awaits)} {len(c.walks)} {int(has_parent)}"
        due = "" if c.due_ms is None else c.due_ms
        packed = pack_flat(c.sets) if c.sets else b""
        args: list[Any] = [
            self.given_now, id, c.epoch, c.nonce, c.seq, c.entry, c.want, due, packed, c.payload, counts, PAGE
        ]  # fmt: skip
        for item in c.lines:
            args += item
        if c.children:
            keys += (k.children_prefix + id, k.index)
            for child in c.children:
                keys += (k.run_prefix + child.id, k.journal_prefix + child.id, k.queue_prefix + child.queue)
                args += (child.id, child.fields(), child.start, child.delay_ms, child.mode)
        for child_id in c.awaits:
            keys += (k.run_prefix + child_id, k.journal_prefix + child_id)
            args.append(child_id)
        for walk in c.walks:
            args += walk
        if has_parent:
            parent, owner, queue = c.parent
            keys += (k.run_prefix + parent, k.inbox_prefix + parent, k.worker_prefix + owner, k.queue_prefix + queue)
            args += (parent, owner)
        self.caller.run(_commit.call(keys, args), on_reply)

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
        if parents := sorted({_text(row[3]) for row in rows if row[3]}):
            found = await self.fields(parents, ("owner",))
            owners = {parent: _text(row[0]) for parent, row in zip(parents, found, strict=True)}
        return [
            Standing(
                _text(r[0]), _text(r[1]), _text(r[2]), _text(r[3]), owners.get(_text(r[3]), ""), _text(r[5]),
                _text(r[6]), _number(r[7]), _number(r[8]),
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
            k.run(id), k.journal(id), k.inbox(id), k.timers, k.walks, k.worker(s.owner), k.queue(s.queue)
        ]  # fmt: skip
        if s.parent:
            keys += [k.run(s.parent), k.inbox(s.parent), k.worker(s.parent_owner), k.queue(s.parent_queue)]
        return keys, (s.parent, s.parent_owner)

    async def cancel_run(self, id: str, reason: str, token: str, grace_ms: int) -> tuple[bool, str]:
        """Marks a run as cancelled, or ends one that never started.

        Returns: whether this call did it, and the clients that wait for the run if it has ended by this.

        Raises:
            RunNotFound: if there is no such run.
        Redis: cancel_run.lua after one or two reads; again if the owner changed in between.
        """
        while True:
            standing = await self.standing(id)
            keys, parent = self._outside(id, standing)
            args = (self.given_now, id, reason, token, grace_ms, standing.owner, *parent)
            reply = await self._call("cancel_run", keys, args)
            if reply[0] == Answer.OK:
                return True, _text(reply[2])
            if reply[0] == Answer.DONE:
                return False, ""
            if reply[0] == Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")

    async def settle_run(
        self, id: str, cause: str, status: str, payload: bytes, *, crash_limit: int = 0, token: str = ""
    ) -> tuple[bool, str]:
        """Ends a run that its owner does not end; `cause` is `terminate`, `grace` or `poison`. A repeat with the same
        token gets the first answer.

        Returns: whether this call ended it, and the clients that wait for it.

        Raises:
            RunNotFound: if there is no such run.
        Redis: settle_run.lua after one or two reads; again if the owner changed in between.
        """
        while True:
            standing = await self.standing(id)
            keys, parent = self._outside(id, standing)
            args = (self.given_now, id, cause, status, payload, standing.owner, *parent, crash_limit, token)
            reply = await self._call("settle_run", keys, args)
            if reply[0] == Answer.OK:
                return True, _text(reply[2])
            if reply[0] == Answer.DONE:
                return False, ""
            if reply[0] == Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")

    async def send_event(self, id: str, event_id: str, body: bytes, limit: int) -> Answer:
        """Puts an event into a run's inbox.

        Returns: OK, DONE if the run has ended, FULL if its inbox holds `limit` messages.

        Raises:
            RunNotFound: if there is no such run.
        Redis: send_event.lua after a read; again if the owner changed in between.
        """
        k = self.keys
        while True:
            standing = await self.standing(id)
            keys = (k.run(id), k.inbox(id), k.worker(standing.owner), k.queue(standing.queue))
            args = (self.given_now, id, event_id, body, standing.owner, limit)
            answer = Answer((await self._call("send_event", keys, args))[0])
            if answer is Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")
            if answer is not Answer.RETRY:
                return answer

    async def subscribe_client(self, id: str, client: str) -> list[Any]:
        """Registers a client for a run's end. Returns `[OK]`, `[ENDED, outcome line]` or `[GONE]`."""
        keys = (self.keys.run(id), self.keys.journal(id))
        reply: list[Any] = await self._call("subscribe_client", keys, (client,))
        return reply

    async def open_client(self, client: str, ttl_ms: int) -> None:
        """Makes a client's stream, or keeps it for another while."""
        await self._call("open_client", (self.keys.client(client),), (ttl_ms,))

    # ------------------------------------------------------------------ entries and streams

    def source_key(self, entry: str, worker: str, queue: str) -> str:
        """The stream an entry is in, by its letter."""
        return self.keys.worker(worker) if entry[0] == "W" else self.keys.queue(queue)

    async def release_entry(
        self,
        id: str,
        source_key: str,
        queue: str,
        entry: str,
        *,
        epoch: int | None = None,
        delay_ms: int = 0,
        waiting: str = "",
        is_crash: bool = False,
    ) -> bool:
        """Puts an entry back for any worker; garbage is acked. True if the run is ready again."""
        k = self.keys
        keys = (k.run(id), source_key, k.queue(queue), k.timers)
        fence = "" if epoch is None else epoch
        args = (self.given_now, id, entry, fence, delay_ms, waiting, "1" if is_crash else "")
        reply = await self._call("release_entry", keys, args)
        return bool(reply[0] == Answer.OK)

    def ack_entries(self, stream_key: str, entry_ids: Sequence[str], on_reply: Reply) -> None:
        """Acks and deletes entries that a script has found settled, at most 1,000."""
        self.caller.run(SCRIPTS["ack_entries"].call((stream_key,), entry_ids), on_reply)

    def nudge_run(self, id: str, worker: str) -> None:
        """Tells a worker that a message waits for a run of its: a hint, covered by the run's next commit if lost."""
        self.caller.run(("XADD", self.keys.worker(worker), "NOMKSTREAM", "*", "n", id), _ignore)

    def push_results(self, client: str, pairs: Sequence[bytes | str]) -> None:
        """Tells a waiting client how runs ended: a hint, sent once and never again."""
        command = ("XADD", self.keys.client(client), "NOMKSTREAM", "MAXLEN", "~", PUSH_LIMIT, "*", *pairs)
        self.caller.run(command, _ignore)

    async def close_worker(self, worker: str, beat: str) -> bool:
        """Removes a worker's empty stream and entry; `beat` is its heartbeat as judged, empty for one's own."""
        keys = (self.keys.worker(worker), self.keys.workers, self.keys.beats)
        reply = await self._call("close_worker", keys, (worker, beat))
        return bool(reply[0] == Answer.OK)

    async def drop_consumer(self, queue: str, consumer: str) -> bool:
        """Removes a dead worker's consumer from a queue, if nothing is pending for it."""
        reply = await self._call("drop_consumer", (self.keys.queue(queue),), (consumer,))
        return bool(reply[0] == Answer.OK)

    # ------------------------------------------------------------------ time and walks

    async def poll_due(self, limit: int) -> tuple[int, list[str], float | None, list[tuple[str, bytes]]]:
        """Due timers, handed to this caller for a while, and unfinished walks.

        Returns: now_ms, due members (letter and run id), the next due time in ms or None, walk items with cursors.
        """
        args = (self.given_now, limit, TIMER_LEASE_MS)
        _, now_ms, members, next_due, walks = await self._call("poll_due", (self.keys.timers, self.keys.walks), args)
        flat = walks if not walks or not isinstance(walks[0], list) else [x for pair in walks for x in pair]
        items = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
        good = [(_text(item), cursor) for item, cursor in items if _is_walk(item, cursor)]
        due = [_text(m) for m in members if _names_run(m, b"wdg")]
        await self._clear("ZREM", self.keys.timers, [m for m in members if not _names_run(m, b"wdg")])
        await self._clear("HDEL", self.keys.walks, [item for item, cursor in items if not _is_walk(item, cursor)])
        return now_ms, due, float(next_due) if next_due else None, good

    async def _clear(self, command: str, key: str, junk: Sequence[bytes]) -> None:
        # Put there by hand, or by code that is not ours: nobody could ever act on it, and it would be found for ever.
        if junk:
            log.error("%d members of %s name no run of ours and are removed", len(junk), key)
            await self.caller.call((command, key, *junk), deadline_s=self.deadline_s)

    async def fire_timers(self, members: Sequence[str]) -> None:
        """Makes the runs of due sleeps and delays ready. Redis: fire_timer.lua for each, in one write."""
        k = self.keys
        script = SCRIPTS["fire_timer"]
        todo = list(members)
        while todo:
            rows = await self.fields([m[1:] for m in todo], ("owner", "queue"))
            calls = [
                script.call(
                    (k.run(m[1:]), k.timers, k.worker(_text(owner)), k.queue(_text(queue) or "default")),
                    (self.given_now, m, _text(owner)),
                )
                for m, (owner, queue) in zip(todo, rows, strict=True)
            ]
            replies = await gather_calls(self.caller, calls, deadline_s=self.deadline_s)
            todo = [m for m, reply in zip(todo, replies, strict=True) if reply[0] == Answer.RETRY]

    async def expire_children(self, item: str, cursor: str, next_cursor: str, ids: Sequence[str], ttl_ms: int) -> None:
        """One chunk of the walk that gives an ended tree its time to live."""
        k = self.keys
        keys = [k.walks, k.children(item[1:]), k.run(item[1:])]
        for id in ids:
            keys += (k.run(id), k.journal(id))
        await self._call("expire_children", keys, (item, cursor, next_cursor, ttl_ms, *ids))

    async def purge_index(self, start: int, count: int) -> tuple[int, int]:
        """Takes runs whose records have expired out of the index: among `count` of them from rank `start`, by age.

        Returns: how many were looked at (fewer than `count` at the end of the index), and how many of them are gone.
        Redis: a ZRANGE, then purge_index.lua.
        """
        k = self.keys
        found = await self.caller.call(("ZRANGE", k.index, start, start + count - 1))
        junk = [id for id in found if not _is_text(id)]
        ids = [_text(id) for id in found if _is_text(id)]
        await self._clear("ZREM", k.index, junk)
        if not ids:
            return len(found), len(junk)
        reply = await self._call("purge_index", [k.index, *map(k.run, ids)], ids)
        return len(found), reply[1] + len(junk)

    async def advance_walk(self, item: str, cursor: bytes | str, next_cursor: str) -> None:
        """Moves a walk on after its chunk, or ends it (empty `next_cursor`)."""
        await self._call("advance_walk", (self.keys.walks,), (item, cursor, next_cursor))


def _ignore(_reply: object) -> None:
    """A hint that is lost is covered by the receiver's own look."""


def _text(value: bytes | None) -> str:
    # What cannot be read names nothing that exists.
    return "" if value is None else value.decode(errors="replace")


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 16 else 0


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _names_run(member: bytes, letters: bytes) -> bool:
    return len(member) > 1 and member[0] in letters and _is_text(member)


def _is_walk(item: bytes, cursor: bytes) -> bool:
    return _names_run(item, b"c") or (_names_run(item, b"xte") and cursor.isdigit() and len(cursor) < 16)
