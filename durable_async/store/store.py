"""The store: one method per transition, each one script call.

The methods on a worker's hot path (`claim_runs`, `resume_runs`, `commit_run`, `ack_entries`) take a callback and cost
no task; the others are coroutines. All of them are repeat-safe, so the caller below them sends again what was lost. It
must not know what a workflow is: payloads are bytes, journals are lists of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from durable_async.codec.flat import pack_flat
from durable_async.store.blocked import BlockedCalls
from durable_async.store.commands import Commit, NewRun
from durable_async.store.keys import SLOTS, above
from durable_async.store.lives import LifeCalls
from durable_async.store.outside import OutsideCalls
from durable_async.store.queueing import QueueCalls
from durable_async.store.scheduling import ScheduleCalls
from durable_async.store.scripts import SCRIPTS
from durable_async.store.shared import SharedCalls
from durable_async.store.status import Answer
from durable_async.store.structure import StructureCalls
from durable_async.store.upkeep import UpkeepCalls
from durable_async.store.watching import WatchCalls

Reply = Callable[[Any], None]
GROUP = "workers"
PAGE = 100
"""Journal lines and messages per answer."""

WENT_ON = b"~"
"""What a watcher is told in place of an outcome: that there is something to look at."""
PUSH_LIMIT = 10_000
"""Entries kept, about, in a client's stream; a client that is further behind reads its runs again."""

_start, _claim, _resume, _commit = (SCRIPTS[n] for n in ("start_run", "claim_runs", "resume_runs", "commit_run"))


class Store(
    OutsideCalls,
    LifeCalls,
    QueueCalls,
    UpkeepCalls,
    WatchCalls,
    BlockedCalls,
    ScheduleCalls,
    StructureCalls,
    SharedCalls,
):
    """The transitions of one partition.

    Args:
        caller: sends commands, again if need be.
        keys: the names of the partition's keys.
        given_now: only tests set it: milliseconds that scripts use instead of the server's clock.
        deadline_s: how long the coroutines keep trying while the store is in trouble; by default for ever, as a worker
            does. After it they raise `StoreUnavailable`.
    """

    # ------------------------------------------------------------------ runs

    async def start_run(self, run: NewRun) -> list[Any]:
        """Creates a run or answers what has its id.

        Returns: `[OK, now_ms]` or `[EXISTS, workflow, digest, status]`.
        Redis: start_run.lua.
        """
        k = self.keys
        keys = [k.run_prefix + run.id, k.journal_prefix + run.id, k.queue_prefix + run.queue, k.timers, k.index]
        if ":" in run.queue:
            keys.append(k.gates)
        args = (self.given_now, run.id, run.fields(), run.start, run.times(), run.token)
        reply: list[Any] = await self.caller.call(_start.call(keys, args), deadline_s=self.deadline_s)
        return reply

    def claim_runs(
        self,
        owner: str,
        nonce: str,
        crash_limit: int,
        entries: Sequence[tuple[str, str]],
        on_reply: Reply,
        *,
        entered: str = "",
    ) -> None:
        """Takes runs through their entries, `(run id, entry)` each; `entered` is the queue of which `enter_queue` has
        given all of them a slot.

        Returns: `[now_ms, reply per entry]`, see claim_runs.lua.
        """
        k = self.keys
        keys = [k.gates]
        args: list[Any] = [self.given_now, owner, nonce, crash_limit, PAGE, "1" if entered else ""]
        for id, entry in entries:
            keys += (k.run_prefix + id, k.journal_prefix + id, k.inbox_prefix + id)
            args += (id, entry)
        if entered:
            keys.append(k.room(entered)[SLOTS])
        self.caller.run(_claim.call(keys, args), on_reply)

    def resume_runs(
        self, copies: Sequence[tuple[str, str, int, str, int]], on_reply: Reply, *, entered: str = ""
    ) -> None:
        """Takes up woken runs that are in memory, `(id, entry, epoch, nonce, seq)` each; one, if it has `entered`.

        Returns: `[now_ms, reply per run]`, see resume_runs.lua.
        """
        k = self.keys
        keys = [k.gates]
        args: list[Any] = [self.given_now, PAGE, copies[0][0] if entered else ""]
        for id, entry, epoch, nonce, seq in copies:
            keys += (k.run_prefix + id, k.inbox_prefix + id)
            args += (entry, epoch, nonce, seq)
        if entered:
            keys.append(k.room(entered)[SLOTS])
        self.caller.run(_resume.call(keys, args), on_reply)

    def commit_run(self, c: Commit, on_reply: Reply) -> None:
        """One commit; see commit_run.lua for its answers."""
        k = self.keys
        id = c.id
        keys = [k.run_prefix + id, k.journal_prefix + id, k.inbox_prefix + id, k.timers, k.walks]
        has_parent = bool(c.parent[0]) and c.want not in ("go", "park", "block", "renew")
        counts = ""
        if has_parent or c.children or c.awaits or c.walks or c.questions or c.slot_of:
            counts = f"{len(c.lines)} {len(c.children)} {len(c.awaits)} {len(c.walks)} {len(c.questions)} {+has_parent}"
        due = "" if c.due_ms is None else c.due_ms
        packed, page = pack_flat(c.sets) if c.sets else b"", f"{PAGE} {c.seen}"
        args: list[Any] = [
            self.given_now, id, c.epoch, c.nonce, c.seq, c.entry, c.want, due, packed, c.payload, counts, page
        ]  # fmt: skip
        for item in c.lines:
            args += item
        if c.questions:
            keys += (k.inputs, k.questions)
            for question in c.questions:
                args += question
        if c.children:
            keys += (k.children_prefix + id, k.index)
            if c.shared:
                self._share(c, keys, args)
            for child in c.children:
                keys += (k.run_prefix + child.id, k.journal_prefix + child.id, k.queue_prefix + child.queue)
                args += (child.id, child.fields(), child.start, child.times(), child.mode)
                if "v" in child.mode:
                    keys.append(k.gates)
        for child_id in c.awaits:
            keys += (k.run_prefix + child_id, k.journal_prefix + child_id)
            args.append(child_id)
        for walk in c.walks:
            args += walk
        if has_parent:
            parent, owner, queue = c.parent
            keys += (k.run_prefix + parent, k.inbox_prefix + parent, k.worker_prefix + owner, k.queue_prefix + queue)
            args += (parent, owner)
        elif c.want == "block":
            keys.append(k.blocked)
        elif c.want == "renew":
            keys.append(k.queue_prefix + c.queue)
        if c.slot_of and c.want != "go":
            keys += k.room(c.slot_of)
            args[10] += "g"
            args.append(c.slot_of)
        self.caller.run(_commit.call(keys, args), on_reply)

    def _share(self, c: Commit, keys: list[str], args: list[Any]) -> None:
        k, up = self.keys, above(c.id)
        keys.append(k.shared(c.id))
        for id in up:
            keys += (k.run(id), k.children(id), k.shared(id))
        args[10] += f"s{len(c.shared)}u{len(up)}"
        for fingerprint, value in c.shared.items():
            args += (fingerprint, b"" if fingerprint in c.stored else value)

    # ------------------------------------------------------------------ entries and streams

    def source_key(self, entry: str, worker: str, queue: str) -> str:
        """The stream an entry is in, by its letter."""
        return self.keys.worker(worker) if entry[0] == "W" else self.keys.queue(queue)

    def ack_entries(self, stream_key: str, entry_ids: Sequence[str], on_reply: Reply) -> None:
        """Acks and deletes entries that a script has found settled, at most 1,000."""
        self.caller.run(SCRIPTS["ack_entries"].call((stream_key,), entry_ids), on_reply)

    def nudge_run(self, id: str, worker: str) -> None:
        """Tells a worker that a message waits for a run of its: a hint, covered by the run's next commit if lost."""
        self.caller.run(("XADD", self.keys.worker(worker), "NOMKSTREAM", "*", "n", id), _ignore)

    def push_results(self, client: str, pairs: Sequence[bytes | str]) -> None:
        """Tells a waiting client how runs ended, and a watcher that they went on: a hint, sent once and never again."""
        command = (
            "XADD",
            self.keys.client(client.removeprefix("~")),
            "NOMKSTREAM",
            "MAXLEN",
            "~",
            PUSH_LIMIT,
            "*",
            *pairs,
        )
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


def _ignore(_reply: object) -> None:
    """A hint that is lost is covered by the receiver's own look."""
