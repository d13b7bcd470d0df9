"""The transitions of schedules: a cursor says up to when ticks were dealt with, and who moves it has the tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable_async.store.status import Answer

from .outside import OutsideTransitions
from .state import Schedule

MOMENT_DIGITS = 14


@dataclass
class TickCall:
    """What a worker says of a schedule that is due, and of the run that its tick starts."""

    want: str
    name: str
    expression: str
    cursor: str
    last_run: str
    new_cursor: str
    next: str
    look_ms: int
    overlap: str
    id: str
    fields: list[Any]
    start: bytes
    token: str
    trouble: str
    delay_ms: int
    timeout_ms: int


class ScheduleTransitions(OutsideTransitions):
    """Ticks are computed by workers: the store knows only when to look."""

    def register_schedule(
        self, name: str, expression: str, cursor: str, next_ms: str, fields: dict[str, bytes], never_ms: int
    ) -> list[Any]:
        found = self.state.schedules.get(name, Schedule())
        is_same = found.expression == expression and found.cursor.isdigit() and len(found.cursor) <= MOMENT_DIGITS
        known = found.cursor if is_same else ""
        if not cursor or (is_same and cursor != known):
            return [Answer.RETRY, self.now, known]
        found.fields.update(fields)
        found.expression, found.cursor, found.next = expression, cursor, next_ms
        found.error = found.error if is_same else ""
        self.state.schedules[name] = found
        self.state.looks[name] = never_ms if found.is_paused else int(next_ms)
        return [Answer.OK, self.now]

    def poll_schedules(self, lease_ms: int, known: Sequence[tuple[str, str]]) -> list[Any]:
        due, foreign, later = [], [], []
        for name, expression in known:
            look_ms = self.state.looks.get(name)
            if look_ms is None:
                continue
            if look_ms > self.now:
                later.append(look_ms)
                continue
            schedule = self.state.schedules.get(name, Schedule())
            if schedule.expression == expression and schedule.cursor.isdigit():
                due.append([name, schedule.cursor, schedule.last_run])
                self.state.looks[name] = self.now + lease_ms
            else:
                foreign.append([name, str(look_ms)])
        return [Answer.OK, self.now, str(min(later)) if later else "", due, foreign]

    def tick_schedule(self, t: TickCall) -> list[Any]:
        """Starts the run of one tick and moves the schedule on, or moves it on without one; or starts one out of
        turn."""
        schedule, is_turn = self.state.schedules.get(t.name), t.want != "trigger"
        if schedule is None:
            return [Answer.GONE]
        if is_turn and ((schedule.expression, schedule.cursor) != (t.expression, t.cursor) or schedule.is_paused):
            return [Answer.DONE]
        if is_turn and schedule.last_run != t.last_run:
            return [Answer.RETRY]
        if t.want == "note":
            schedule.error = t.trouble
            return [Answer.OK, self.now, "noted"]
        found, last, done, trouble = self.state.runs.get(t.id), self.state.runs.get(t.last_run), "started", t.trouble
        if t.want == "pass":
            done = "passed"
        elif found and not is_turn:
            if found.token == t.token:
                return [Answer.OK, self.now, done]
            return [Answer.EXISTS, found.workflow]
        elif found:
            done = "joined"
            if not self.is_same_call(t.id, t.fields):
                done, trouble = "refused", f"the id {t.id} belongs to another run"
        elif t.overlap == "skip" and t.last_run and last and not last.is_over:
            done = "skipped"
        if done == "started":
            self.tick_run(t.id, t.fields, t.start, t.delay_ms, t.timeout_ms)
        if is_turn:
            schedule.cursor, schedule.next, self.state.looks[t.name] = t.new_cursor, t.next, t.look_ms
        if done in ("started", "joined"):
            schedule.last_run, schedule.last_at, schedule.error = t.id, t.new_cursor, ""
        elif trouble:
            schedule.error = trouble
        return [Answer.OK, self.now, done]

    def change_schedule(self, want: str, name: str, never_ms: int) -> list[Any]:
        schedule = self.state.schedules.get(name)
        if schedule is None:
            return [Answer.GONE]
        if want == "remove":
            del self.state.schedules[name]
            self.state.looks.pop(name, None)
            return [Answer.OK]
        if (want == "pause") == schedule.is_paused:
            return [Answer.DONE]
        schedule.is_paused, schedule.next = want == "pause", ""
        if want == "pause":
            self.state.looks[name] = never_ms
        else:
            # What came while it was paused is not missed.
            schedule.cursor, self.state.looks[name] = str(self.now), self.now
        return [Answer.OK]
