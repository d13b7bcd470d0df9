"""The transitions of schedules: known to the store, due, started, paused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from durable_async.codec.flat import pack_flat
from durable_async.store.base import WRONGTYPE, StoreBase, is_text, number_of, text_of
from durable_async.store.commands import LAST_MS, NewRun
from durable_async.store.gather import gather_calls
from durable_async.store.status import Answer

SCHEDULE_LEASE_MS: Final = 2_000
"""How long a due schedule stays with the worker that was handed it."""
_FIELDS: Final = (
    "expression", "cursor", "next", "last_at", "last_run", "paused", "error", "workflow", "queue", "version",
    "retention", "takes_tick", "catch_up", "overlap", "timeout", "probe",
)  # fmt: skip
_NO_RUN: Final = NewRun("", "", "", b"", b"", 0)


@dataclass(slots=True, frozen=True, kw_only=True)
class ScheduleRecord:
    """A schedule as the store has it. Times are ms since the epoch, 0 for none."""

    name: str
    expression: str = ""
    cursor_ms: int = 0
    """Up to when its ticks have been dealt with."""
    next_ms: int = 0
    last_ms: int = 0
    last_run: str = ""
    is_paused: bool = False
    error: str = ""
    workflow: str = ""
    queue: str = ""
    version: str | None = None
    retention_ms: int = 0
    timeout_ms: int = 0
    takes_tick: bool = False
    catch_up: str = ""
    overlap: str = ""
    probe: bytes = b""
    """A value as the workers' codec stores it: whoever cannot read it cannot make an input."""

    def fields(self) -> bytes:
        """What a worker's code says of it, packed for the script."""
        values: list[Any] = [
            "workflow", self.workflow, "queue", self.queue, "version", self.version or "",
            "retention", self.retention_ms, "takes_tick", int(self.takes_tick), "catch_up", self.catch_up,
            "overlap", self.overlap, "timeout", self.timeout_ms, "probe", self.probe,
        ]  # fmt: skip
        return pack_flat(values)


@dataclass(slots=True, frozen=True, kw_only=True)
class Tick:
    """What is to become of a schedule that is due; see tick_schedule.lua."""

    want: str
    """`start`, `pass` (move on without a run), `note` (say what went wrong), `trigger` (out of turn)."""
    name: str
    expression: str = ""
    cursor_ms: int = 0
    """As read: whoever moves it first has the tick."""
    last_run: str = ""
    """As read."""
    new_cursor_ms: int = 0
    next_ms: int = 0
    look_ms: int = 0
    """When it is to be looked at again."""
    overlap: str = "allow"
    run: NewRun = field(default=_NO_RUN)
    error: str = ""


class ScheduleCalls(StoreBase):
    """One method per transition."""

    async def register_schedule(self, record: ScheduleRecord) -> tuple[bool, int, int | None]:
        """Makes a schedule known, or takes it up as it stands. `cursor_ms` 0 asks where it stands.

        Returns: whether it is done; now_ms; the cursor that its next tick has to follow, None if that is now.
        """
        k = self.keys
        args = (
            self.given_now, record.name, record.expression, record.cursor_ms or "", record.next_ms, record.fields(),
            LAST_MS,
        )  # fmt: skip
        reply = await self._call("register_schedule", (k.schedules, k.schedule(record.name)), args)
        if reply[0] == Answer.OK:
            return True, reply[1], None
        return False, reply[1], int(reply[2]) if reply[2] else None

    async def poll_schedules(
        self, known: Sequence[tuple[str, str]]
    ) -> tuple[int, float | None, list[tuple[str, int, str]], list[tuple[str, float]]]:
        """Which of these schedules, name and expression each, are due; each handed to this caller for a while.

        Returns: now_ms; when to look again, None if none of them ever comes; name, cursor and last run of those due;
        name and due time of those that are due and have another expression.
        """
        k = self.keys
        keys = [k.schedules, *(k.schedule(name) for name, _ in known)]
        args: list[Any] = [self.given_now, SCHEDULE_LEASE_MS]
        for pair in known:
            args += pair
        _, now_ms, look, due, foreign = await self._call("poll_schedules", keys, args)
        return (
            now_ms,
            float(look) if look else None,
            [(text_of(name), int(cursor), text_of(last_run)) for name, cursor, last_run in due],
            [(text_of(name), float(at)) for name, at in foreign],
        )

    async def tick_schedule(self, tick: Tick) -> list[Any]:
        """Starts the run of a tick, or moves its schedule on without one.

        Returns: `[OK, now_ms, done]` with done one of `started joined skipped passed noted refused`; `[DONE]` if
        somebody else was first; `[RETRY]`, `[EXISTS, workflow]`, `[GONE]`: see tick_schedule.lua.
        """
        k, run = self.keys, tick.run
        keys = (
            k.schedules, k.schedule(tick.name), k.run(run.id), k.journal(run.id), k.queue(run.queue), k.timers, k.index,
            k.run(tick.last_run or run.id),
        )  # fmt: skip
        args = (
            self.given_now, tick.want, tick.name, tick.expression, tick.cursor_ms, tick.last_run, tick.new_cursor_ms,
            tick.next_ms, tick.look_ms, tick.overlap, run.id, run.fields(), run.start, run.token, tick.error,
            run.times(),
        )  # fmt: skip
        reply: list[Any] = await self._call("tick_schedule", keys, args)
        return reply

    async def change_schedule(self, name: str, want: str) -> Answer:
        """`pause`, `resume` or `remove`. Returns: OK, DONE if it was so already, GONE if there is none."""
        k = self.keys
        args = (self.given_now, want, name, LAST_MS)
        return Answer((await self._call("change_schedule", (k.schedules, k.schedule(name)), args))[0])

    async def schedules(self) -> list[ScheduleRecord]:
        """All that are known, by name. Redis: a ZRANGE, then an HMGET for each in one write."""
        found = await self.caller.call(("ZRANGE", self.keys.schedules, 0, -1), deadline_s=self.deadline_s)
        names = sorted(text_of(name) for name in found if is_text(name))
        return [record for record in await self._read_schedules(names) if record is not None]

    async def schedule(self, name: str) -> ScheduleRecord | None:
        """One of them; None if it is not known."""
        return (await self._read_schedules([name]))[0]

    async def _read_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        commands = [("HMGET", self.keys.schedule(name), *_FIELDS) for name in names]
        rows = await gather_calls(self.caller, commands, deadline_s=self.deadline_s, passes=WRONGTYPE)
        return [
            None if isinstance(row, Exception) or row[0] is None else _record(name, row)
            for name, row in zip(names, rows, strict=True)
        ]


def _record(name: str, row: Sequence[bytes | None]) -> ScheduleRecord:
    return ScheduleRecord(
        name=name,
        expression=text_of(row[0]),
        cursor_ms=number_of(row[1]),
        next_ms=number_of(row[2]),
        last_ms=number_of(row[3]),
        last_run=text_of(row[4]),
        is_paused=row[5] == b"1",
        error=text_of(row[6]),
        workflow=text_of(row[7]),
        queue=text_of(row[8]),
        version=text_of(row[9]) or None,
        retention_ms=number_of(row[10]),
        takes_tick=row[11] == b"1",
        catch_up=text_of(row[12]),
        overlap=text_of(row[13]),
        timeout_ms=number_of(row[14]),
        probe=row[15] or b"",
    )
