"""The part of a `Durable` that looks after schedules."""

from __future__ import annotations

import builtins
import secrets
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from durable_async.checking import check_name
from durable_async.client.base import Base
from durable_async.client.handle import Handle
from durable_async.engine.records import start_record
from durable_async.errors import ConfigurationError, PayloadError, UnknownWorkflow, WorkflowIdConflict
from durable_async.shapes import ScheduleInfo
from durable_async.store.commands import NewRun
from durable_async.store.scheduling import ScheduleRecord, Tick
from durable_async.store.status import Answer
from durable_async.workflow.definitions import Workflow
from durable_async.workflow.schedules import PROBE, tick_input, tick_moment, tick_text

if TYPE_CHECKING:
    from durable_async.client.durable import Durable

OutputT = TypeVar("OutputT")


class Scheduling(Base):
    """Schedules of one namespace, by the names of their workflows; the code of these is not needed."""

    async def schedules(self) -> builtins.list[ScheduleInfo]:
        """All schedules that workers have made known, by name; those too that no code has any more."""
        return [_info(record) for record in await self._session.store.schedules()]

    @overload
    async def trigger(self, schedule: Workflow[Any, OutputT]) -> Handle[OutputT]: ...
    @overload
    async def trigger(self, schedule: str) -> Handle[Any]: ...
    async def trigger(self, schedule: Workflow[Any, Any] | str) -> Handle[Any]:
        """Starts a run of a scheduled workflow now, also while it is paused or its last run is active.

        The run's id is the name, ``@``, the time and a random part. The ticks of the schedule stay as they are; a
        workflow that takes the tick gets the time of this call, to the second.

        Raises:
            UnknownWorkflow: if no worker has made a schedule of this name known.
            ConfigurationError: if the workflow takes the tick, and workers store inputs with another codec.
            StoreUnavailable: if the store cannot be reached; the run may have been started.
        """
        record = await self._schedule(schedule)
        if record.takes_tick:
            self._check_codec(record)
        # By the server's clock, as ticks are.
        store = self._session.store
        now_ms = int((await store.caller.call(("TIME",), deadline_s=store.deadline_s))[0]) * 1000
        payload, digest = tick_input(self.codec, self.limits.payload, now_ms if record.takes_tick else None)
        run = NewRun(
            id=f"{record.name}@{tick_text(now_ms)}-{secrets.token_hex(3)}",
            workflow=record.workflow,
            queue=record.queue,
            digest=digest,
            start=start_record(payload),
            retention_ms=record.retention_ms,
            timeout_ms=record.timeout_ms,
            version=record.version,
            token=secrets.token_hex(8),
        )
        tick = Tick(want="trigger", name=record.name, new_cursor_ms=now_ms, run=run)
        reply = await store.tick_schedule(tick)
        if reply[0] == Answer.EXISTS:
            raise WorkflowIdConflict(f"a run with the id {run.id!r} exists; trigger it again")
        if reply[0] == Answer.GONE:
            raise _unknown(record.name)
        known = self._workflows.get(record.workflow)
        return Handle(cast("Durable", self), run.id, known.spec.output_type if known is not None else Any)

    async def pause_schedule(self, schedule: Workflow[Any, Any] | str) -> None:
        """Starts no more runs for its ticks until `resume_schedule`, whatever workers start or stop meanwhile.

        Runs that it has started go on. Nothing happens if it is paused.

        Raises:
            UnknownWorkflow: if no worker has made a schedule of this name known.
        """
        await self._change(schedule, "pause")

    async def resume_schedule(self, schedule: Workflow[Any, Any] | str) -> None:
        """Starts runs again from its next tick on; ticks that came while it was paused are not caught up.

        Nothing happens if it is not paused.

        Raises:
            UnknownWorkflow: if no worker has made a schedule of this name known.
        """
        await self._change(schedule, "resume")

    async def remove_schedule(self, schedule: Workflow[Any, Any] | str) -> None:
        """Forgets a schedule that no code has any more; its runs stay.

        A worker whose code has it makes it known again when it is started, and until then starts nothing for it.

        Raises:
            UnknownWorkflow: if no worker has made a schedule of this name known.
        """
        record = await self._schedule(schedule)
        await self._session.store.change_schedule(record.name, "remove")

    def _check_codec(self, record: ScheduleRecord) -> None:
        # As the command line has none of its own: a run whose input its workers cannot read would wait for ever.
        with suppress(PayloadError, ConfigurationError):
            if self.codec.decode(record.probe) == PROBE:
                return
        raise ConfigurationError(
            f"the workers of schedule {record.name!r} store inputs with another codec than this; "
            "trigger it from a program that has theirs"
        )

    async def _change(self, schedule: Workflow[Any, Any] | str, want: str) -> None:
        name = _name(schedule)
        if await self._session.store.change_schedule(name, want) is Answer.GONE:
            raise _unknown(name)

    async def _schedule(self, schedule: Workflow[Any, Any] | str) -> ScheduleRecord:
        name = _name(schedule)
        record = await self._session.store.schedule(name)
        if record is None:
            raise _unknown(name)
        return record


def _name(schedule: Workflow[Any, Any] | str) -> str:
    return schedule.name if isinstance(schedule, Workflow) else check_name(schedule, "schedule")


def _unknown(name: str) -> UnknownWorkflow:
    return UnknownWorkflow(
        f"no schedule named {name!r} is known; a worker whose code has @workflow(schedule=...) makes it known"
    )


def _info(record: ScheduleRecord) -> ScheduleInfo:
    return ScheduleInfo(
        name=record.name,
        workflow=record.workflow,
        expression=record.expression,
        next_at=None if record.is_paused else _moment(record.next_ms),
        last_at=_moment(record.last_ms),
        last_run_id=record.last_run or None,
        paused=record.is_paused,
        catch_up=record.catch_up,
        overlap=record.overlap,
        error=record.error or None,
    )


def _moment(ms: int) -> datetime | None:
    # What was damaged may be beyond any calendar.
    return tick_moment(ms) if 0 < ms < 10**14 else None
