"""What readers get: snapshots of runs, their trees and histories, queues and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from durable_async.errors import ErrorInfo
from durable_async.types import Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run says it is: see `progress`."""

    done: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A snapshot of one run. Times are aware UTC datetimes by the server's clock."""

    id: str
    workflow: str
    queue: str
    status: Status
    input: Any = None
    output: Any = None
    error: ErrorInfo | None = None
    reason: str | None = None
    parent_id: str | None = None
    root_id: str
    ref: str | None = None
    attempt: int = 1
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    waiting_for: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class RunTree:
    """A run and its children, recursively, oldest first."""

    run: RunInfo
    children: tuple[RunTree, ...] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; `cursor` asks for the next one and is None on the last."""

    items: list[T]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One line of a run's history."""

    index: int
    kind: str
    name: str
    at: datetime
    attempt: int | None = None
    duration: timedelta | None = None
    error: ErrorInfo | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a run: see `Handle.watch`."""

    id: str
    """For `watch(after=)`, and opaque: the place in the history and the status that was told last. A status that comes
    back before anything else is recorded has the same id again."""
    kind: str
    """`status step child event timer progress context`."""
    run_id: str
    at: datetime
    """An aware UTC datetime by the server's clock."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Of `status`: `status`, and as it may be `waiting_for`, `attempt`, `error`, `reason`. Of `progress`: `done`,
    `total`, `message`; of `context`: `key`, `value`. Of the others: `what` (the kind of the history's entry), and
    as it may be `name`, `attempt`, `duration`, `error` and that entry's details."""


@dataclass(frozen=True, slots=True)
class InputField:
    """One field of a form: see `wait_for_input`."""

    name: str
    """Any text of 1 to 128 characters; the key of its value in the answer."""
    kind: str = "text"
    """Any kind but `form`."""
    prompt: str = ""
    choices: Sequence[Any] = ()
    required: bool = True
    """Whether an answer without it is refused; otherwise it is None where it is left out."""


@dataclass(frozen=True, slots=True)
class PendingInput:
    """An open question. Times are aware UTC datetimes by the server's clock."""

    run_id: str
    workflow: str
    name: str
    kind: str
    prompt: str
    choices: tuple[Any, ...]
    fields: tuple[InputField, ...]
    metadata: Mapping[str, Any]
    since: datetime
    expires_at: datetime | None
    """When its time is over; None if it has no timeout."""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """How busy one queue is."""

    name: str
    ready: int
    running: int
    waiting: int
    paused: bool
    workers: int
    oldest_ready_age: timedelta | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker process as it last described itself."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    running: int
    resident: int
    since: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule as the store has it. Times are aware UTC datetimes."""

    name: str
    """That of its workflow."""
    workflow: str
    expression: str
    """``cron 0 9 * * * America/New_York`` or ``every 300 s``."""
    next_at: datetime | None
    """The next tick; None while it is paused, and after that until a worker has looked. A time that has passed: no
    worker with this schedule is there."""
    last_at: datetime | None
    """The tick (or moment, if it was triggered) of its last run."""
    last_run_id: str | None
    """Its last run, which may still be active; its retention may be over."""
    paused: bool
    catch_up: str
    overlap: str
    error: str | None
    """Why the newest tick could not be started; None once one was. How a run ended is its own business."""
