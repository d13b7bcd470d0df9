"""Starts the runs of scheduled workflows, one for each tick, however many workers look.

Each worker whose code has schedules registers them and keeps its own time: it looks when the next tick is due that it
knows of, and about every `REFRESH_S` for what others have changed. Who looks first is handed what is due, and whoever
moves the schedule's cursor starts the run, in one script; so no tick is started twice, and none is
lost with its worker. Ticks are computed here, from the cursor; the store knows no calendar.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from durable_async.checking import to_ms
from durable_async.codec import HARD_LIMIT, Codec
from durable_async.engine.records import start_record
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import ConfigurationError, PayloadError
from durable_async.store.commands import NewRun
from durable_async.store.errors import ServerError
from durable_async.store.scheduling import SCHEDULE_LEASE_MS, ScheduleRecord, Tick
from durable_async.store.status import Answer
from durable_async.store.store import Store
from durable_async.worker.looks import Looks
from durable_async.workflow.definitions import Workflow
from durable_async.workflow.schedules import PROBE, Schedule, due_ticks, tick_input, tick_text

log = logging.getLogger("durable_async.worker")

REFRESH_S: Final = 1.0
CHUNK: Final = 100
"""Schedules per look, and missed ticks per computation."""
FOREIGN_MS: Final = 10_000
"""How long a due tick of other code is left to the workers that have that code."""


@dataclass(slots=True, frozen=True)
class Scheduled:
    """A scheduled workflow, as a worker's code has it."""

    spec: WorkflowSpec
    schedule: Schedule
    catch_up: str
    overlap: str
    retention_ms: int
    takes_tick: bool

    @property
    def name(self) -> str:
        """The workflow's name is the schedule's."""
        return self.spec.name

    def record(self, codec: Codec, cursor_ms: int = 0, next_ms: int = 0) -> ScheduleRecord:
        """What the store is told."""
        return ScheduleRecord(
            name=self.name,
            expression=self.schedule.expression,
            cursor_ms=cursor_ms,
            next_ms=next_ms,
            workflow=self.name,
            queue=self.spec.queue,
            version=self.spec.version,
            retention_ms=self.retention_ms,
            timeout_ms=self.spec.timeout_ms,
            takes_tick=self.takes_tick,
            catch_up=self.catch_up,
            overlap=self.overlap,
            probe=_probe(codec),
        )

    def run_of(self, tick_ms: int, codec: Codec, limit: int) -> NewRun:
        """The run of one tick.

        Raises:
            PayloadError: if the tick cannot be stored.
        """
        payload, digest = tick_input(codec, limit, tick_ms if self.takes_tick else None)
        return NewRun(
            id=f"{self.name}@{tick_text(tick_ms)}",
            workflow=self.name,
            queue=self.spec.queue,
            digest=digest,
            start=start_record(payload),
            retention_ms=self.retention_ms,
            timeout_ms=self.spec.timeout_ms,
            version=self.spec.version,
        )


def _probe(codec: Codec) -> bytes:
    try:
        return codec.encode(PROBE, limit=HARD_LIMIT, what="probe")
    except PayloadError:
        return b""  # then ticks cannot be stored either: each says so


def scheduled(workflows: Iterable[Workflow[Any, Any]], retention_ms: int) -> list[Scheduled]:
    """Those that have a schedule; `retention_ms` is for those that say nothing of it.

    Raises:
        ConfigurationError: if one needs an input that a schedule cannot give.
    """
    found = []
    for workflow in workflows:
        if workflow.schedule is None:
            continue
        spec = workflow.spec
        takes_tick = spec.takes_input and (spec.input_type is datetime or datetime in get_args(spec.input_type))
        if spec.takes_input and not takes_tick and not spec.has_default:
            raise ConfigurationError(
                f"workflow {spec.name!r} has a schedule, and an input that a schedule cannot give: let it take none, "
                "the tick (annotate it with datetime), or give it a default"
            )
        kept_ms = retention_ms if spec.retention is None else to_ms(spec.retention, "retention")
        found.append(Scheduled(spec, workflow.schedule, workflow.catch_up, workflow.overlap, kept_ms, takes_tick))
    return found


class Scheduler:
    """The schedules of one worker."""

    def __init__(self, store: Store, schedules: Sequence[Scheduled], codec: Codec, limit: int) -> None:
        self._store = store
        self._known = {each.name: each for each in schedules}
        self._unregistered = set(self._known)
        self._codec = codec
        self._limit = limit
        self._stop = asyncio.Event()
        self.is_stopping = False
        self.refresh_s = REFRESH_S
        self.looks = Looks()

    def stop(self) -> None:
        """Ends the loop after its current look."""
        self.is_stopping = True
        self._stop.set()

    async def run(self) -> None:
        """Looks until told to stop."""
        while not self.is_stopping:
            wait_s = min(await self.look(), self.refresh_s * random.uniform(0.7, 1.0))
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._stop.wait()

    # ------------------------------------------------------------------ looking

    async def look(self) -> float:
        """One look: registers what is not, starts what is due. Returns the seconds until the next tick is due."""
        for name in sorted(self._unregistered):
            try:
                await self._register(self._known[name])
            except ServerError as error:
                # One schedule's damage is not the others' trouble.
                log.error("schedule %s could not be made known and is tried again: %s", name, error)
            else:
                self._unregistered.discard(name)
        known = [(name, each.schedule.expression) for name, each in self._known.items()]
        wait_s, has_found = math.inf, False
        for at in range(0, len(known), CHUNK):
            now_ms, look_ms, due, foreign = await self._store.poll_schedules(known[at : at + CHUNK])
            if look_ms is not None:
                # By the server's clock alone, which may have been set back.
                wait_s = min(wait_s, (look_ms - now_ms) / 1000)
            for name, cursor_ms, last_run in due:
                # What is started moves the next tick: the next look is at once.
                has_found, wait_s = True, 0.0
                await self._handle(self._known[name], cursor_ms, last_run, now_ms)
            # Nobody who has the other code is there any more: a deploy that was rolled back, or half of one.
            self._unregistered.update(name for name, due_ms in foreign if now_ms - due_ms > FOREIGN_MS)
        self.looks.note(has_found=has_found)
        return wait_s

    async def _register(self, mine: Scheduled) -> None:
        is_done, now_ms, follows_ms = await self._store.register_schedule(mine.record(self._codec))
        while not is_done:
            cursor_ms = now_ms if follows_ms is None else follows_ms
            record = mine.record(self._codec, cursor_ms, mine.schedule.next_after(cursor_ms))
            is_done, now_ms, follows_ms = await self._store.register_schedule(record)

    async def _handle(self, mine: Scheduled, cursor_ms: int, last_run: str, now_ms: int) -> None:
        try:
            await self._start_ticks(mine, cursor_ms, last_run, now_ms)
        except ServerError as error:
            # Nothing was written; the tick comes back.
            log.error("schedule %s: a tick could not be started and is tried again: %s", mine.name, error)
            note = Tick(
                want="note",
                name=mine.name,
                expression=mine.schedule.expression,
                cursor_ms=cursor_ms,
                last_run=last_run,
                error=str(error),
            )
            await self._store.tick_schedule(note)

    async def _start_ticks(self, mine: Scheduled, cursor_ms: int, last_run: str, now_ms: int) -> None:
        has_more = True
        while has_more and not self.is_stopping:
            ticks, passed_ms, has_more = due_ticks(mine.schedule, mine.catch_up, cursor_ms, now_ms, CHUNK)
            if not ticks:
                await self._move(mine, cursor_ms, last_run, passed_ms, now_ms, None, False)
            for tick_ms in ticks:
                is_last = tick_ms == ticks[-1] and not has_more
                moved = await self._move(mine, cursor_ms, last_run, tick_ms, now_ms, tick_ms, not is_last)
                if moved is None or self.is_stopping:
                    return
                cursor_ms, last_run = tick_ms, moved

    async def _move(
        self,
        mine: Scheduled,
        cursor_ms: int,
        last_run: str,
        to_ms: int,
        now_ms: int,
        tick_ms: int | None,
        has_more: bool,
    ) -> str | None:
        """Deals with one tick, or with none. Returns the schedule's last run; None if another worker was first."""
        want, run, error = "pass", NewRun("", "", "", b"", b"", 0), ""
        if tick_ms is not None:
            try:
                run = mine.run_of(tick_ms, self._codec, self._limit)
                want = "start"
            except PayloadError as refused:
                error = f"the tick {tick_text(tick_ms)} could not be started: {refused}"
        next_ms = mine.schedule.next_after(to_ms)
        while True:
            reply = await self._store.tick_schedule(
                Tick(
                    want=want,
                    name=mine.name,
                    expression=mine.schedule.expression,
                    cursor_ms=cursor_ms,
                    last_run=last_run,
                    new_cursor_ms=to_ms,
                    next_ms=next_ms,
                    # While there are more of them they stay with this worker.
                    look_ms=now_ms + SCHEDULE_LEASE_MS if has_more else next_ms,
                    overlap=mine.overlap,
                    run=run,
                    error=error,
                )
            )
            if reply[0] == Answer.RETRY:
                record = await self._store.schedule(mine.name)
                if record is None or record.last_run == last_run:
                    return None  # removed meanwhile, or of bytes that are no id
                last_run = record.last_run
                continue
            if reply[0] != Answer.OK:
                return None
            return self._said(mine, reply[2].decode(), run.id, error) or last_run

    def _said(self, mine: Scheduled, done: str, id: str, error: str) -> str:
        if error:
            log.error("schedule %s: %s", mine.name, error)
        elif done == "refused":
            log.error("schedule %s: the id %s belongs to another run; the tick is left out", mine.name, id)
        elif done == "skipped":
            log.info("schedule %s: its last run has not ended, so %s is left out", mine.name, id)
        return id if done in ("started", "joined") else ""
