"""Drives runs: entry → claim or resume → feed → commit → launch, until each parks or ends.

Nothing here awaits: every move is a callback of a reply, a step or a timer, so a run costs no task of its own. The rule
that keeps it right: of each run at most one call is outstanding, and an entry is judged by a script, never by what this
process remembers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_async.codec import Codec
from durable_async.engine.records import Turn, Want
from durable_async.engine.run import Run
from durable_async.engine.spec import StepCall, WorkflowSpec
from durable_async.errors import CorruptPayload, DeterminismError
from durable_async.store.commands import Claimed
from durable_async.store.status import Answer
from durable_async.store.store import Store
from durable_async.types import Limits
from durable_async.worker.clock import ServerClock
from durable_async.worker.committer import commit_of
from durable_async.worker.outbox import Outbox
from durable_async.worker.rebuild import begin_run, fetch_rest, identity_of
from durable_async.worker.resident import Held, Resident, Residents
from durable_async.worker.steps import StepRunner

log = logging.getLogger("durable_async.worker")

CLAIM_BATCH = 64
WAKE_WAIT_S = 0.1
"""How long a wake-up waits for a slot before any other worker may have it."""
UNKNOWN_DELAY_MS = 1_000
"""How long a run of an unknown workflow stays away from the queue before the next worker looks."""


@dataclass(slots=True)
class RunnerSettings:
    """What one worker's runner is told."""

    worker_id: str
    concurrency: int
    max_resident: int
    retention_ms: int
    limits: Limits
    codec: Codec


class Runner:
    """The runs of one worker."""

    def __init__(
        self,
        store: Store,
        registry: dict[str, WorkflowSpec],
        settings: RunnerSettings,
        clock: ServerClock,
        *,
        may_launch: Callable[[], bool],
    ) -> None:
        self.store = store
        self.registry = registry
        self.settings = settings
        self.clock = clock
        self.residents = Residents(settings.max_resident, self._evicted)
        self.held: dict[tuple[str, str], Held] = {}
        """Every entry read and not yet acked, by stream and entry id."""
        self.active = 0
        """Runs that hold a slot: claimed or being claimed, not parked."""
        self.is_draining = False
        self.slots_free = asyncio.Event()
        self.on_due: Callable[[int], None] = lambda due_ms: None
        self.on_walk: Callable[[], None] = lambda: None
        self.on_settle: Callable[[str, str], None] = lambda id, cause: None
        self.outbox = Outbox(store, self._acked)
        self.steps = StepRunner(self._step_done, min(settings.concurrency, 64))
        self._may_launch = may_launch
        self._backlog: deque[Held] = deque()
        self._nonces = 0
        self._nonce_base = secrets.token_hex(6)
        self._reported: set[str] = set()
        self.background: set[asyncio.Task[Any]] = set()
        self.finished = 0

    # ------------------------------------------------------------------ entries

    @property
    def free_slots(self) -> int:
        """How many more runs may be read from queues."""
        return self.settings.concurrency - self.active - len(self._backlog)

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
                    asyncio.get_running_loop().call_later(WAKE_WAIT_S, self._wake_waited, held)
            else:
                self.outbox.ack(held)
                self._nudged(run_id)
        self.work()

    def work(self) -> None:
        """Claims and resumes as many waiting entries as there are free slots."""
        claims: list[Held] = []
        resumes: list[tuple[Resident, Held]] = []
        while self._backlog and self.active < self.settings.concurrency and not self.is_draining:
            held = self._backlog.popleft()
            resident = self.residents.get(held.run_id)
            if resident is not None and resident.is_out:
                resident.deferred.append(held)
            elif resident is not None and resident.is_parked:
                self.active += 1
                resident.is_out, resident.is_parked, resident.held = True, False, held
                self.residents.unpark(resident)
                resumes.append((resident, held))
            elif resident is not None and resident.held is held:
                continue
            else:
                self.active += 1
                claims.append(held)
        for at in range(0, len(claims), CLAIM_BATCH):
            self._claim(claims[at : at + CLAIM_BATCH])
        for at in range(0, len(resumes), CLAIM_BATCH):
            self._resume(resumes[at : at + CLAIM_BATCH])

    def _wake_waited(self, held: Held) -> None:
        # A wake-up must not wait behind long steps here while another worker is free.
        if held in self._backlog:
            self._backlog.remove(held)
            self.spawn(self.give_back(held))

    async def give_back(self, held: Held, *, delay_ms: int = 0, waiting: str = "", epoch: int | None = None) -> None:
        """Puts an entry back into its run's queue."""
        rows = await self.store.fields([held.run_id], ("queue",))
        queue = rows[0][0]
        name = "default" if queue is None else queue.decode()
        await self.store.release_entry(
            held.run_id, held.stream_key, name, held.name, delay_ms=delay_ms, waiting=waiting, epoch=epoch
        )
        self.held.pop((held.stream_key, held.entry_id), None)

    def _acked(self, entries: list[Held]) -> None:
        for held in entries:
            self.held.pop((held.stream_key, held.entry_id), None)

    def _free_slot(self) -> None:
        self.active -= 1
        if self._backlog:
            asyncio.get_running_loop().call_soon(self.work)
        self.slots_free.set()

    def spawn(self, coroutine: Any) -> None:
        """Runs a rare path as a task that outlives nobody: errors are logged, the worker waits for it at its end."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.background.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        self.background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed", exc_info=task.exception())

    # ------------------------------------------------------------------ claim and resume

    def _claim(self, batch: list[Held]) -> None:
        self._nonces += 1
        nonce = f"{self._nonce_base}{self._nonces:x}"

        def claimed(reply: Any) -> None:
            if isinstance(reply, Exception):
                for held in batch:
                    self._claim_lost(held, reply)
                return
            self.clock.heard(reply[0])
            for held, answer in zip(batch, reply[1:], strict=True):
                self._claimed(held, nonce, answer)

        entries = [(held.run_id, held.name) for held in batch]
        self.store.claim_runs(self.settings.worker_id, nonce, self.settings.limits.crash_loop, entries, claimed)

    def _claim_lost(self, held: Held, error: Exception) -> None:
        log.critical("run %s cannot be claimed: %s", held.run_id, error)
        self._free_slot()

    def _claimed(self, held: Held, nonce: str, answer: list[Any]) -> None:
        if answer[0] == Answer.POISON:
            self._free_slot()
            self.held.pop((held.stream_key, held.entry_id), None)
            self.on_settle(held.run_id, "poison")
            return
        if answer[0] != Answer.OK:
            self._free_slot()
            self.outbox.ack(held)
            return
        old = self.residents.get(held.run_id)
        if old is not None:
            self.drop(old)
        claimed = Claimed.from_reply(answer)
        spec = self.registry.get(claimed.workflow)
        if spec is None:
            self._unknown(held, claimed)
            return
        if claimed.journal_length > len(claimed.journal):
            self.spawn(self._claimed_long(held, nonce, claimed, spec))
        else:
            self._take_over(held, nonce, claimed, spec)

    def _unknown(self, held: Held, claimed: Claimed) -> None:
        if claimed.workflow not in self._reported:
            self._reported.add(claimed.workflow)
            log.warning("workflow %r is not registered here: its runs are handed back", claimed.workflow)
        self._free_slot()
        waiting = f"a worker that knows workflow {claimed.workflow!r}"
        self.spawn(self.give_back(held, delay_ms=UNKNOWN_DELAY_MS, waiting=waiting, epoch=claimed.epoch))

    async def _claimed_long(self, held: Held, nonce: str, claimed: Claimed, spec: WorkflowSpec) -> None:
        claimed.journal = await fetch_rest(self.store, held.run_id, claimed)
        self._take_over(held, nonce, claimed, spec)

    def _take_over(self, held: Held, nonce: str, claimed: Claimed, spec: WorkflowSpec) -> None:
        run = Run(spec, identity_of(held.run_id, claimed), self.settings.codec, self.settings.limits)
        resident = Resident(held.run_id, run, claimed, nonce, held)
        self.residents.add(resident)
        if self._move(resident, lambda: begin_run(run, claimed)):
            self._feed(resident, claimed.inbox)

    def _feed(self, resident: Resident, inbox: list[bytes]) -> None:
        if inbox and not self._move(resident, lambda: resident.run.feed_messages(inbox)):
            return
        if self._move(resident, lambda: resident.run.tick(self.clock.now_ms())):
            self.advance(resident)

    def _move(self, resident: Resident, move: Callable[[], None]) -> bool:
        """Lets a run go on; one whose code or data cannot is blocked, never failed: it goes on once they are mended."""
        try:
            move()
        except (DeterminismError, CorruptPayload) as error:
            log.error("run %s of workflow %r is blocked: %s", resident.id, resident.run.spec.name, error)
            self.steps.cancel_all(resident)
            spec, identity = resident.run.spec, resident.run.identity
            resident.run.abandon()
            resident.run = Run(spec, identity, self.settings.codec, self.settings.limits)
            resident.trouble = f"code: {error}"[:500]
            self.advance(resident)
            return False
        return True

    def _resume(self, batch: list[tuple[Resident, Held]]) -> None:
        def resumed(reply: Any) -> None:
            if isinstance(reply, Exception):
                for resident, held in batch:
                    self._claim_lost(held, reply)
                    self._forget(resident)
                return
            self.clock.heard(reply[0])
            for (resident, held), answer in zip(batch, reply[1:], strict=True):
                self._resumed(resident, held, answer)

        copies = [(r.id, held.name, r.epoch, r.nonce, r.seq) for r, held in batch]
        self.store.resume_runs(copies, resumed)

    def _resumed(self, resident: Resident, held: Held, answer: list[Any]) -> None:
        resident.is_out = False
        if answer[0] == Answer.OK:
            self._feed(resident, answer[1])
            self._judge_deferred(resident)
            return
        deferred = resident.deferred
        self._forget(resident)
        if answer[0] == Answer.RELOAD:
            self._claim([held])
        else:
            # The entry was garbage; the copy may still be the journal's, but it is cheap to rebuild.
            self._free_slot()
            self.outbox.ack(held)
        self._backlog.extend(deferred)

    # ------------------------------------------------------------------ moving on

    def advance(self, resident: Resident) -> None:
        """After anything was fed and with no call outstanding: commit, launch, park or end."""
        if resident.is_out or resident.is_dropped:
            return
        if resident.trouble:
            self._send(resident, Turn([], Want.BLOCK, b"", None, ["waiting", resident.trouble]))
            return
        run = resident.run
        for call in run.steps.take_aborts():
            self.steps.cancel(resident, call)
        if run.has_news() or resident.has_mail:
            self._send(resident, run.take_turn())
        elif not run.steps.is_busy():
            self._send(resident, run.take_turn())
        elif run.steps.launches:
            if self.is_draining or not self._may_launch():
                self._wait_or_release(resident)
                return
            for call in run.steps.take_launches():
                self.steps.launch(resident, call)
            self._set_timer(resident)
        else:
            self._set_timer(resident)

    def _wait_or_release(self, resident: Resident) -> None:
        if not self.is_draining:
            asyncio.get_running_loop().call_later(0.5, self.advance, resident)
        elif not resident.tasks:
            self.release(resident)

    def release(self, resident: Resident) -> None:
        """Hands a run to the other workers without waiting for a lease."""
        held = resident.held
        self.drop(resident)
        if held is not None:
            self.spawn(self.give_back(held, epoch=resident.epoch))

    def _set_timer(self, resident: Resident) -> None:
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None
        due = resident.run.next_due_ms()
        if due is not None:
            delay = self.clock.seconds_until(due)
            resident.timer = asyncio.get_running_loop().call_later(delay, self._timer_due, resident)

    def _timer_due(self, resident: Resident) -> None:
        resident.timer = None
        if not resident.is_dropped and not resident.is_parked:
            self._feed(resident, [])

    def _nudged(self, run_id: str) -> None:
        resident = self.residents.get(run_id)
        if resident is not None and not resident.is_parked:
            resident.has_mail = True
            self.advance(resident)

    def _step_done(
        self, resident: Resident, call: StepCall, value: object, error: BaseException | None, duration_ms: int
    ) -> None:
        if resident.is_dropped:
            return
        now_ms, run = self.clock.now_ms(), resident.run
        if error is None:
            moved = self._move(resident, lambda: run.step_returned(call, value, now_ms, duration_ms))
        else:
            failure, spread = error, random.random()
            moved = self._move(resident, lambda: run.step_failed(call, failure, now_ms, duration_ms, spread))
        if moved:
            self.advance(resident)

    # ------------------------------------------------------------------ commits

    def _send(self, resident: Resident, turn: Turn) -> None:
        resident.seq += 1
        resident.is_out = True
        resident.has_mail = False
        commit = commit_of(resident, turn, self.settings.worker_id, self.settings.retention_ms)
        has_walks = bool(commit.walks)

        def committed(reply: Any) -> None:
            self._committed(resident, turn, reply)
            if has_walks:
                self.on_walk()

        self.store.commit_run(commit, committed)

    def _committed(self, resident: Resident, turn: Turn, reply: Any) -> None:
        resident.is_out = False
        if resident.is_dropped:
            return
        if isinstance(reply, Exception):
            log.critical("run %s: a commit failed and the run is left alone: %s", resident.id, reply)
            self.drop(resident)
            return
        answer = reply[0]
        self.clock.heard(reply[1])
        if answer == Answer.FENCED:
            # Somebody else's now, or ended from outside: nothing of this copy counts any more.
            held = resident.held
            self.drop(resident)
            if held is not None:
                self.held.pop((held.stream_key, held.entry_id), None)
            return
        if answer == Answer.OK:
            self._feed(resident, reply[2])
        elif answer == Answer.PARKED:
            self._parked(resident, turn)
        else:
            self._ended(resident, turn, reply[3])
        self._judge_deferred(resident)

    def _parked(self, resident: Resident, turn: Turn) -> None:
        self._settled_entry(resident)
        if turn.want == Want.BLOCK or self.settings.max_resident == 0:
            self._forget(resident)
        else:
            resident.is_parked = True
            self.residents.park(resident)
        if turn.due_ms is not None:
            self.on_due(turn.due_ms)
        self._free_slot()

    def _ended(self, resident: Resident, turn: Turn, clients: bytes) -> None:
        self._settled_entry(resident)
        self._forget(resident)
        self.finished += 1
        if clients:
            self.outbox.push(clients.decode(), resident.id, turn.want, turn.payload)
        self._free_slot()

    def _settled_entry(self, resident: Resident) -> None:
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None
        held, resident.held = resident.held, None
        if held is not None:
            self.outbox.ack(held)

    def _judge_deferred(self, resident: Resident) -> None:
        if resident.deferred:
            self._backlog.extend(resident.deferred)
            resident.deferred = []
            asyncio.get_running_loop().call_soon(self.work)

    # ------------------------------------------------------------------ leaving memory

    def drop(self, resident: Resident) -> None:
        """A copy leaves memory while it holds a slot; its steps are cancelled, nothing of it is recorded."""
        was_active = not resident.is_parked
        self._forget(resident)
        self._backlog.extend(resident.deferred)
        if was_active:
            self._free_slot()

    def _forget(self, resident: Resident) -> None:
        resident.is_dropped = True
        if resident.timer is not None:
            resident.timer.cancel()
        self.residents.remove(resident)
        self.steps.cancel_all(resident)
        resident.run.abandon()

    def _evicted(self, resident: Resident) -> None:
        resident.is_dropped = True
        resident.run.abandon()

    def take_backlog(self) -> list[Held]:
        """The entries read and not begun, for handing back."""
        backlog = list(self._backlog)
        self._backlog.clear()
        return backlog


