"""Drives runs: entry → claim or resume → feed → commit → launch, until each parks or ends.

Nothing here awaits: every move is a callback of a reply, a step or a timer, so a run costs no task of its own. The rule
that keeps it right: of each run at most one call is outstanding, and an entry is judged by a script, never by what this
process remembers.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVarTuple

from durable_async.codec import Codec
from durable_async.engine.records import Turn, Want
from durable_async.engine.run import Run
from durable_async.engine.spec import StepCall, WorkflowSpec
from durable_async.errors import CorruptPayload, DeterminismError
from durable_async.store.commands import Claimed, Commit
from durable_async.store.errors import ServerError
from durable_async.store.status import Answer
from durable_async.store.store import Reply, Store
from durable_async.types import Limits
from durable_async.worker.background import Background, place_of
from durable_async.worker.clock import ServerClock
from durable_async.worker.committer import commit_of
from durable_async.worker.intake import Intake
from durable_async.worker.rebuild import begin_run, identity_of
from durable_async.worker.resident import Held, Resident, Residents
from durable_async.worker.step_calls import StepCalls
from durable_async.worker.steps import StepRunner

log = logging.getLogger("durable_async.worker")

Ts = TypeVarTuple("Ts")


@dataclass(slots=True)
class RunnerSettings:
    """What one worker's runner is told."""

    worker_id: str
    concurrency: int
    max_resident: int
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
        self.settings = settings
        self.clock = clock
        self.residents = Residents(settings.max_resident, self._evicted)
        self.background = Background()
        self.intake = Intake(
            store,
            registry,
            self.residents,
            self,
            clock,
            self.background,
            worker_id=settings.worker_id,
            concurrency=settings.concurrency,
            crash_limit=settings.limits.crash_loop,
        )
        self.outbox = self.intake.outbox
        self.is_draining = False
        self.on_due: Callable[[int], None] = lambda due_ms: None
        self.on_walk: Callable[[], None] = lambda: None
        self.on_ended: Callable[[Resident, Turn], None] | None = None
        """Called for each run that this worker has ended; None, and free, unless somebody counts."""
        self.calls = StepCalls(self.intake.slots, self.advance)
        self.steps = StepRunner(self._step_done, min(settings.concurrency, 64), self.calls)
        self._may_launch = may_launch
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------ taking over

    def take_over(self, held: Held, nonce: str, claimed: Claimed, spec: WorkflowSpec) -> None:
        """A claimed run is rebuilt and goes on."""
        run = Run(spec, identity_of(held.run_id, claimed), self.settings.codec, self.settings.limits, self._loop)
        resident = Resident(held.run_id, run, claimed, nonce, held)
        self.residents.add(resident)
        inbox = claimed.inbox
        moved = self._move(resident, begin_run, run, claimed)
        claimed.journal = claimed.inbox = []  # a parked run is to be small
        if moved:
            self._feed(resident, inbox)

    def resumed(self, resident: Resident, inbox: list[bytes]) -> None:
        """A woken run that was in memory goes on."""
        self._feed(resident, inbox)
        self._judge_deferred(resident)

    def _feed(self, resident: Resident, inbox: list[bytes]) -> None:
        if inbox and not self._move(resident, resident.run.feed_messages, inbox):
            return
        if not resident.run.loop.has_timers or self._move(resident, resident.run.tick, self.clock.now_ms()):
            self.advance(resident)

    def _move(self, resident: Resident, move: Callable[[*Ts], None], *args: *Ts) -> bool:
        """Lets a run go on; one whose code or data cannot is blocked, never failed: it goes on once they are mended."""
        try:
            move(*args)
            if resident.run.corrupt is not None:
                raise resident.run.corrupt
        except Exception as error:  # noqa: BLE001  # one run's trouble is not the worker's; it is logged
            self._block(resident, error)
            return False
        return True

    def _block(self, resident: Resident, error: Exception) -> None:
        if isinstance(error, DeterminismError | CorruptPayload):
            why = f"{'code' if isinstance(error, DeterminismError) else 'data'}: {error}"
        else:
            # Nothing here should raise anything else. Its text may hold what was stored: the type alone is said.
            why = f"the engine raised {type(error).__name__}{place_of(error)}"
        spec, identity = resident.run.spec, resident.run.identity
        log.error("run %s of workflow %r is blocked: %s", resident.id, spec.name, why)
        self.steps.cancel_all(resident)
        resident.run.abandon()
        resident.run = Run(spec, identity, self.settings.codec, self.settings.limits, self._loop)
        resident.trouble = why[:500].encode(errors="replace").decode()
        self.advance(resident)

    # ------------------------------------------------------------------ moving on

    def advance(self, resident: Resident) -> None:
        """After anything was fed and with no call outstanding: commit, launch, park or end."""
        if resident.is_out or resident.is_dropped:
            return
        if resident.trouble:
            turn = Turn([], Want.BLOCK, b"", None, ["waiting", resident.trouble])
            commit = commit_of(resident, turn, self.settings.worker_id, self.intake.shared)
            self._send(resident, turn, commit)
            return
        run = resident.run
        for call in run.steps.take_aborts():
            self.steps.cancel(resident, call)
        if run.has_news() or resident.has_mail or not run.steps.is_busy():
            self._send_news(resident)
        elif run.steps.launches:
            if self.is_draining or not self._may_launch():
                self._wait_or_release(resident)
                return
            if resident.is_slotless:
                resident.is_slotless = False
                self.intake.slots.take()
            for call in run.steps.take_launches():
                self.steps.launch(resident, call)
            self._set_timer(resident)
        else:
            self._set_timer(resident)
            if resident.waiting:
                self.calls.lend_slot(resident)

    def _wait_or_release(self, resident: Resident) -> None:
        if not self.is_draining:
            self._loop.call_later(0.5, self.advance, resident)
        elif resident.run.steps.take_back_marks():
            self.advance(resident)
        elif not resident.tasks:
            self.release(resident)

    def release(self, resident: Resident) -> None:
        """Hands a run to the other workers without waiting for a lease."""
        held = resident.held
        self.drop(resident)
        if held is not None:
            self.background.spawn(self.intake.give_back(held, epoch=resident.epoch))

    def _set_timer(self, resident: Resident) -> None:
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None
        if resident.run.loop.has_timers and (due := resident.run.next_due_ms()) is not None:
            delay = self.clock.seconds_until(due)
            resident.timer = self._loop.call_later(delay, self._timer_due, resident)

    def _timer_due(self, resident: Resident) -> None:
        resident.timer = None
        if not resident.is_dropped and not resident.is_parked:
            self._feed(resident, [])

    def nudged(self, run_id: str) -> bool:
        """A message waits for a running run: it is fetched by a commit, even of nothing. False if it is not here."""
        resident = self.residents.get(run_id)
        if resident is not None and not resident.is_parked:
            resident.has_mail = True
            self.advance(resident)
        return resident is not None

    def _step_done(
        self, resident: Resident, call: StepCall, value: object, error: BaseException | None, duration_ms: int
    ) -> None:
        if resident.is_dropped:
            return
        now_ms, run = self.clock.now_ms(), resident.run
        if error is None:
            moved = self._move(resident, run.step_returned, call, value, now_ms, duration_ms)
        else:
            moved = self._move(resident, run.step_failed, call, error, now_ms, duration_ms, random.random())
        if moved:
            self.advance(resident)

    # ------------------------------------------------------------------ commits

    def _send_news(self, resident: Resident) -> None:
        try:
            turn = resident.run.take_turn()
            commit = commit_of(resident, turn, self.settings.worker_id, self.intake.shared)
        except Exception as error:  # noqa: BLE001  # as above
            self._block(resident, error)
            return
        self._send(resident, turn, commit)

    def _send(self, resident: Resident, turn: Turn, commit: Commit) -> None:
        resident.seq += 1
        commit.seq = resident.seq
        resident.is_out = True
        resident.has_mail = False
        has_walks = bool(commit.walks)

        def committed(reply: Any) -> None:
            self._committed(resident, turn, reply)
            if has_walks:
                self.on_walk()

        self.store.commit_run(commit, self._sending_all(resident, commit, committed) if commit.stored else committed)

    def _sending_all(self, resident: Resident, commit: Commit, committed: Reply) -> Reply:
        """A commit that has left out what is stored, as far as this worker knew, is sent again with it if it is not."""

        def replied(reply: Any) -> None:
            if not isinstance(reply, Exception) and reply[0] == Answer.RETRY and not resident.is_dropped:
                commit.stored = frozenset()
                self.store.commit_run(commit, committed)
            else:
                committed(reply)

        return replied

    def _committed(self, resident: Resident, turn: Turn, reply: Any) -> None:
        resident.is_out = False
        if resident.is_dropped:
            return
        if isinstance(reply, Exception):
            self._commit_failed(resident, reply)
            return
        answer = reply[0]
        self.clock.heard(reply[1])
        if resident.acks is not None and answer != Answer.FENCED:
            self.calls.committed(resident, turn)
        if answer == Answer.FENCED:
            # Somebody else's now, or ended from outside: nothing of this copy counts any more.
            held = resident.held
            self.drop(resident)
            self.intake.note_early(resident.id, held)
            self.intake.lose(held)
            return
        if b"~" in reply[3]:
            self.outbox.hint(reply[3].decode(), resident.id)
        if answer == Answer.OK:
            self._feed(resident, reply[2])
        elif answer == Answer.PARKED:
            self._parked(resident, turn)
        elif answer == Answer.RENEWED:
            self._renewed(resident)
        else:
            self._ended(resident, turn, reply[3], reply[4])
        self._judge_deferred(resident)

    def _commit_failed(self, resident: Resident, error: Exception) -> None:
        if isinstance(error, ServerError) and not resident.trouble:
            # A key that this commit needs is damaged, and nothing of it was written. To do it all again would do its
            # steps again, so the run is blocked, which needs no key but its own, until somebody has mended the store.
            resident.seq -= 1
            self._block(resident, CorruptPayload(f"a commit failed: {error}"))
            return
        log.critical("run %s: a commit failed and the run is left alone: %s", resident.id, error)
        held = resident.held
        self.drop(resident)
        if held is not None:
            self.intake.leave_alone(held)

    def _parked(self, resident: Resident, turn: Turn) -> None:
        self._settled_entry(resident)
        if turn.want == Want.BLOCK:
            self.forget(resident)
        else:
            self.rest(resident)
        if isinstance(turn.due_ms, int):
            self.on_due(turn.due_ms)
        self._free_slot(resident)

    def _renewed(self, resident: Resident) -> None:
        # The next life is a run like any other, for whoever reads its entry; or waits for its time.
        self._settled_entry(resident)
        self.forget(resident)
        self.on_walk()
        self.intake.slots.free()

    def rest(self, resident: Resident) -> None:
        """A copy that holds no slot stays in memory, as long as there is room."""
        if self.settings.max_resident == 0:
            self.forget(resident)
        else:
            resident.is_parked, resident.held = True, None
            self.residents.park(resident)

    def _ended(self, resident: Resident, turn: Turn, clients: bytes, parents_worker: bytes) -> None:
        self._settled_entry(resident)
        self.forget(resident)
        if self.on_ended is not None:
            self.on_ended(resident, turn)
        if clients:
            self.outbox.push(clients.decode(), resident.id, turn.want, turn.payload)
        if parents_worker:
            self.store.nudge_run(resident.claimed.parent, parents_worker.decode())
        self._free_slot(resident)

    def _settled_entry(self, resident: Resident) -> None:
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None
        held, resident.held = resident.held, None
        if held is not None:
            self.outbox.ack(held)

    def _judge_deferred(self, resident: Resident) -> None:
        if resident.deferred:
            deferred, resident.deferred = resident.deferred, []
            self.intake.again(deferred)

    # ------------------------------------------------------------------ leaving memory

    def drop(self, resident: Resident) -> None:
        """A copy leaves memory while it holds a slot; its steps are cancelled, nothing of it is recorded."""
        was_active = not resident.is_parked
        self.forget(resident)
        self._judge_deferred(resident)
        if was_active:
            self._free_slot(resident)

    def _free_slot(self, resident: Resident) -> None:
        if resident.is_slotless:
            resident.is_slotless = False  # its steps waited for children to the last
        else:
            self.intake.slots.free()

    def forget(self, resident: Resident) -> None:
        """A copy leaves memory that holds no slot."""
        resident.is_dropped = True
        if resident.timer is not None:
            resident.timer.cancel()
        self.residents.remove(resident)
        self.steps.cancel_all(resident)
        resident.run.abandon()

    def _evicted(self, resident: Resident) -> None:
        resident.is_dropped = True
        resident.run.abandon()
