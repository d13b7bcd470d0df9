"""Takes entries in: from the streams into a backlog, from there as many as there are slots into claims and resumes.

An entry is judged by a script, never by what this process remembers: one that looks surplus is claimed all the same,
and one for a run with a call outstanding waits for that reply.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol
from zlib import crc32

from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import CorruptPayload
from durable_async.store.commands import Claimed
from durable_async.store.errors import ServerError
from durable_async.store.keys import queue_of
from durable_async.store.status import Answer
from durable_async.store.store import Store
from durable_async.worker.background import Background
from durable_async.worker.clock import ServerClock
from durable_async.worker.outbox import Outbox
from durable_async.worker.rebuild import fetch_rest
from durable_async.worker.resident import Held, Resident, Residents
from durable_async.worker.shared import SharedInputs
from durable_async.worker.slots import Slots

log = logging.getLogger("durable_async.worker")

CLAIM_BATCH = 64
LIMITED = b"l"
"""Why a run is held: its queue is limited, and it has not entered that."""
WAKE_WAIT_S = 0.1
"""How long a wake-up waits for a slot before any other worker may have it."""
UNKNOWN_DELAY_MS = 1_000
"""How long a run of an unknown workflow stays away from the queue before the next worker looks: about."""

DAMAGED_DELAY_MS = 60_000
"""How long a run whose keys are damaged stays away before the next look."""


class Runs(Protocol):
    """Who drives the runs that were taken in."""

    def take_over(self, held: Held, nonce: str, claimed: Claimed, spec: WorkflowSpec) -> None:
        """A claimed run, whole journal included."""

    def resumed(self, resident: Resident, inbox: list[bytes]) -> None:
        """A woken run that was in memory."""

    def nudged(self, run_id: str) -> bool:
        """A message waits for a running run; False if no copy of it is here."""
        ...

    def drop(self, resident: Resident) -> None:
        """A copy that holds a slot is not the current one."""

    def forget(self, resident: Resident) -> None:
        """A copy that holds no slot is not the current one."""

    def rest(self, resident: Resident) -> None:
        """A woken copy may not go on yet: it is as good as parked."""


class Intake:
    """The entries of one worker that have been read and not yet acked."""

    def __init__(
        self,
        store: Store,
        registry: dict[str, WorkflowSpec],
        residents: Residents,
        runs: Runs,
        clock: ServerClock,
        background: Background,
        *,
        worker_id: str,
        concurrency: int,
        crash_limit: int,
    ) -> None:
        self.held: dict[tuple[str, str], Held] = {}
        """By stream and entry id."""
        self.slots = Slots(concurrency, self._slot_freed)
        self.outbox = Outbox(store, self._acked)
        self.is_closed = False
        """Set when the worker leaves: nothing is claimed or resumed any more."""
        self.on_poison: Callable[[str], None] = lambda run_id: None
        self.on_paused: Callable[[str], None] = lambda queue: None
        self.limited: Collection[str] = ()
        """Queues that are known to be limited: their runs enter before anything else is asked."""
        self._store = store
        self._registry = registry
        self._residents = residents
        self._runs = runs
        self._clock = clock
        self._background = background
        self._worker_id = worker_id
        self._crash_limit = crash_limit
        self._backlog: deque[Held] = deque()
        self._nonces = 0
        self._nonce_base = secrets.token_hex(6)
        self._reported: set[str] = set()
        self._early: set[str] = set()
        """Runs that were nudged while the reply to their claim was under way."""
        self.shared = SharedInputs(store)
        self._loop = asyncio.get_running_loop()

    @property
    def room(self) -> int:
        """How many more entries may be read from queues."""
        return self.slots.limit - self.slots.active - len(self._backlog)

    def take_entries(self, stream_key: str, letter: str, entries: list[tuple[str, str, str]]) -> None:
        """Entries read from a stream: `(entry id, kind, run id)`; kind `r` is an entry, `n` a nudge."""
        for entry_id, kind, run_id in entries:
            key = (stream_key, entry_id)
            if key in self.held:
                continue
            held = self.held[key] = Held(stream_key, letter, entry_id, run_id)
            if kind == "r":
                self._backlog.append(held)
                if letter == "W":
                    self._loop.call_later(WAKE_WAIT_S, self._wake_waited, held)
            else:
                self.outbox.ack(held)
                if not self._runs.nudged(run_id):
                    self.note_early(run_id, held)
        self.work()

    def note_early(self, run_id: str, held: Held | None) -> None:
        """A message of this run may have come after a claim whose reply is under way: replies and reads have no order
        between them. `held` is not that claim's entry."""
        if any(other.run_id == run_id and other is not held for other in self.held.values()):
            self._early.add(run_id)

    def missed_nudges(self) -> None:
        """Any run may have a message of which nobody could tell: those that are here, and those being claimed."""
        for resident in self._residents:
            self._runs.nudged(resident.id)
        for held in self.held.values():
            self.note_early(held.run_id, None)

    def work(self) -> None:
        """Claims and resumes as many waiting entries as there are free slots."""
        claims: list[Held] = []
        resumes: list[tuple[Resident, Held]] = []
        limited = self.limited
        while self._backlog and not self.slots.is_full and not self.is_closed:
            held = self._backlog.popleft()
            resident = self._residents.get(held.run_id)
            if resident is not None and resident.is_out:
                resident.deferred.append(held)
            elif resident is not None and resident.is_parked:
                self.slots.take()
                resident.is_out, resident.is_parked, resident.held = True, False, held
                self._residents.unpark(resident)
                if limited and queue_of(resident.claimed.queue) in limited:
                    self._enter(held, resident.claimed.queue, resident)
                else:
                    resumes.append((resident, held))
            elif resident is not None and resident.held is held:
                continue
            else:
                self.slots.take()
                lane = held.stream_key.removeprefix(self._store.keys.queue_prefix) if limited else ""
                if limited and held.letter == "Q" and queue_of(lane) in limited:
                    self._enter(held, lane)
                else:
                    claims.append(held)
        for at in range(0, len(claims), CLAIM_BATCH):
            self._claim(claims[at : at + CLAIM_BATCH])
        for at in range(0, len(resumes), CLAIM_BATCH):
            self._resume(resumes[at : at + CLAIM_BATCH])

    def _wake_waited(self, held: Held) -> None:
        # A wake-up must not wait behind long steps here while another worker is free.
        if held in self._backlog:
            self._backlog.remove(held)
            self._background.spawn(self.give_back(held))

    async def give_back(self, held: Held, *, delay_ms: int = 0, waiting: str = "", epoch: int | None = None) -> None:
        """Puts an entry back into its run's queue."""
        rows = await self._store.fields([held.run_id], ("queue",))
        queue = rows[0][0]
        name = "default" if queue is None else queue.decode(errors="replace")
        await self._store.release_entry(
            held.run_id, held.stream_key, name, held.name, delay_ms=delay_ms, waiting=waiting, epoch=epoch
        )
        self.lose(held)

    def _acked(self, entries: list[Held]) -> None:
        for held in entries:
            self.held.pop((held.stream_key, held.entry_id), None)

    def _slot_freed(self) -> None:
        if self._backlog:
            self._loop.call_soon(self.work)

    def again(self, entries: list[Held]) -> None:
        """Entries that waited for a reply: to be judged now."""
        if entries:
            self._backlog.extend(entries)
            self._loop.call_soon(self.work)

    def lose(self, held: Held | None) -> None:
        """An entry that is somebody else's business now."""
        if held is not None:
            self.held.pop((held.stream_key, held.entry_id), None)

    def _enter(self, held: Held, lane: str, resident: Resident | None = None) -> None:
        """Asks for a place in a limited queue; then the run is claimed or resumed. A slot of this worker is taken."""

        def entered(reply: Any) -> None:
            if resident is not None and resident.is_dropped:
                return  # as in _resumed
            if isinstance(reply, Exception):
                self._claim_lost(held, reply)
                if resident is not None:
                    resident.is_out = False
                    self._runs.forget(resident)
            elif reply[0] == Answer.OK:
                held.has_entered = True
                if resident is not None:
                    self._resume([(resident, held)], entered=queue_of(lane))
                else:
                    self._claim([held], entered=queue_of(lane))
            else:
                self._not_entered(held, lane, resident, is_paused=reply[0] == Answer.HELD)

        self._store.enter_queue(held.run_id, held.stream_key, queue_of(lane), held.name, entered)

    def _not_entered(self, held: Held, lane: str, resident: Resident | None, *, is_paused: bool) -> None:
        if is_paused:
            self._paused(held, lane)
        else:
            # It waits in the room of its queue, or this entry was garbage.
            self.slots.free()
            self.outbox.ack(held)
        if resident is not None:
            resident.is_out = False
            deferred, resident.deferred = resident.deferred, []
            self._runs.rest(resident)
            self.again(deferred)

    def _claim(self, batch: list[Held], *, entered: str = "") -> None:
        self._nonces += 1
        nonce = f"{self._nonce_base}{self._nonces:x}"

        def claimed(reply: Any) -> None:
            if isinstance(reply, Exception):
                for held in batch:
                    self._claim_lost(held, reply)
                return
            self._clock.heard(reply[0])
            for held, answer in zip(batch, reply[1:], strict=True):
                self._claimed(held, nonce, answer)

        entries = [(held.run_id, held.name) for held in batch]
        self._store.claim_runs(self._worker_id, nonce, self._crash_limit, entries, claimed, entered=entered)

    def _claim_lost(self, held: Held, error: Exception) -> None:
        log.critical("run %s cannot be claimed: %s", held.run_id, error)
        self.slots.free()
        self.leave_alone(held)

    def leave_alone(self, held: Held) -> None:
        """An entry that nothing can be done with now: after a while reconciliation finds it, as one forgotten."""
        self._loop.call_later(DAMAGED_DELAY_MS / 1000, self.lose, held)

    def _claimed(self, held: Held, nonce: str, answer: list[Any]) -> None:
        if answer[0] == Answer.POISON:
            self.slots.free()
            self.lose(held)
            self.on_poison(held.run_id)
            return
        if answer[0] == Answer.CORRUPT:
            self._damaged(held, answer[1].decode(errors="replace"))
            return
        if answer[0] == Answer.HELD:
            lane = answer[1].decode(errors="replace")
            self._enter(held, lane) if answer[2] == LIMITED else self._paused(held, lane)
            return
        if answer[0] != Answer.OK:
            self.slots.free()
            self.outbox.ack(held)
            return
        old = self._residents.get(held.run_id)
        if old is not None:
            self._runs.drop(old)
        try:
            claimed = Claimed.from_reply(answer)
        except CorruptPayload as error:
            self._damaged(held, str(error), answer[1])
            return
        spec = self._registry.get(claimed.workflow)
        if spec is None:
            self._unknown(held, claimed)
            return
        journal = claimed.journal
        if journal and journal[0][:1] == b"@":
            journal[0] = self.shared.known(journal[0]) or journal[0]
        if claimed.journal_length > len(journal) or (journal and journal[0][:1] == b"@"):
            self._background.spawn(self._claimed_part(held, nonce, claimed, spec))
        else:
            self._runs.take_over(held, nonce, claimed, spec)
            # What nudged the copy before was meant for this one, too.
            if old is not None or (self._early and held.run_id in self._early):
                self._early.discard(held.run_id)
                self._runs.nudged(held.run_id)

    def _paused(self, held: Held, lane: str) -> None:
        # Its queue will not be read from here on, so it stays there: also for the other workers, each of which meets at
        # most what it had read.
        self.slots.free()
        self.on_paused(queue_of(lane))
        self._background.spawn(self.give_back(held))

    def _unknown(self, held: Held, claimed: Claimed) -> None:
        if claimed.workflow not in self._reported:
            self._reported.add(claimed.workflow)
            log.warning("workflow %r is not registered here: its runs are handed back", claimed.workflow)
        self.slots.free()
        waiting = f"a worker that knows workflow {claimed.workflow!r}"
        delay = unknown_delay_ms(held.run_id, claimed.epoch)
        self._background.spawn(self.give_back(held, delay_ms=delay, waiting=waiting, epoch=claimed.epoch))

    def _damaged(self, held: Held, why: str, epoch: int | None = None) -> None:
        # Out of the way of the others, and looked at again: a person has to mend it.
        if held.run_id not in self._reported:
            self._reported.add(held.run_id)
            log.error("run %s is damaged and is put off: %s", held.run_id, why)
        self.slots.free()
        self._background.spawn(self._put_off(held, f"data: {why}"[:500], epoch))

    async def _put_off(self, held: Held, waiting: str, epoch: int | None) -> None:
        try:
            await self.give_back(held, delay_ms=DAMAGED_DELAY_MS, waiting=waiting, epoch=epoch)
        except ServerError as error:
            log.error("run %s cannot be put off, and its entry stays: %s", held.run_id, error)
            self.leave_alone(held)

    async def _claimed_part(self, held: Held, nonce: str, claimed: Claimed, spec: WorkflowSpec) -> None:
        try:
            if claimed.journal_length > len(claimed.journal):
                claimed.journal = await fetch_rest(self._store, held.run_id, claimed)
            if claimed.journal[0][:1] == b"@":
                claimed.journal[0] = await self.shared.fetch(held.run_id, claimed.journal[0])
        except ServerError as error:
            self._damaged(held, str(error), claimed.epoch)
            return
        self._runs.take_over(held, nonce, claimed, spec)
        # A nudge that came meanwhile found no run here, and its message is not in the claim's answer.
        self._runs.nudged(held.run_id)

    def _resume(self, batch: list[tuple[Resident, Held]], *, entered: str = "") -> None:
        def resumed(reply: Any) -> None:
            if isinstance(reply, Exception):
                for resident, held in batch:
                    self._claim_lost(held, reply)
                    self._runs.forget(resident)
                return
            self._clock.heard(reply[0])
            for (resident, held), answer in zip(batch, reply[1:], strict=True):
                self._resumed(resident, held, answer)

        copies = [(r.id, held.name, r.epoch, r.nonce, r.seq) for r, held in batch]
        self._store.resume_runs(copies, resumed, entered=entered)

    def _resumed(self, resident: Resident, held: Held, answer: list[Any]) -> None:
        resident.is_out = False
        if resident.is_dropped:
            # Let go while the call was under way: its slot is free, and reconciliation finds its entry.
            return
        if answer[0] == Answer.OK:
            self._runs.resumed(resident, answer[1])
            return
        if answer[0] == Answer.HELD:
            lane = answer[1].decode(errors="replace")
            if answer[2] == LIMITED:
                resident.is_out = True
                self._enter(held, lane, resident)
            else:
                self._not_entered(held, lane, resident, is_paused=True)
            return
        deferred, resident.deferred = resident.deferred, []
        self._runs.forget(resident)
        if answer[0] == Answer.RELOAD:
            self._claim([held], entered=queue_of(resident.claimed.queue) if held.has_entered else "")
        elif answer[0] == Answer.CORRUPT:
            self._damaged(held, answer[1].decode(errors="replace"))
        else:
            # The entry was garbage; the copy may still be the journal's, but it is cheap to rebuild.
            self.slots.free()
            self.outbox.ack(held)
        self.again(deferred)

    def take_backlog(self) -> list[Held]:
        """The entries read and not begun, for handing back."""
        backlog = list(self._backlog)
        self._backlog.clear()
        return backlog


def unknown_delay_ms(id: str, epoch: int) -> int:
    """Each time another one, between a half and one and a half of `UNKNOWN_DELAY_MS`.

    A queue gives what comes to the worker that has waited longest. Two runs that come back in step would go to the same
    two workers for ever, each to the one that does not know it.
    """
    return UNKNOWN_DELAY_MS // 2 + crc32(f"{id} {epoch}".encode()) % UNKNOWN_DELAY_MS
