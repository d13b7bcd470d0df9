"""Records and journals as what users see: `RunInfo`, `HistoryEvent`, results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from durable_async.codec import HARD_LIMIT, Codec, Opaque, unpack_failure
from durable_async.codec import convert as convert_value
from durable_async.codec.lines import unpack_line
from durable_async.engine.failures import unpack_error
from durable_async.engine.records import (
    LETTERS,
    Kind,
    Outcome,
    parse_message,
    parse_outcome,
    parse_record,
    parse_retried,
)
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import (
    CorruptPayload,
    CrashLoop,
    ErrorInfo,
    InvalidInput,
    RunCancelled,
    RunFailed,
    RunTimeout,
    WorkflowDepthExceeded,
)
from durable_async.shapes import HistoryEvent, Progress, RunInfo
from durable_async.store.keys import queue_of
from durable_async.types import Status

FIELDS: Final = (
    "status", "epoch", "workflow", "queue", "parent", "ref", "attempt", "created", "started", "finished", "waiting",
    "context", "version", "cancel", "saga", "progress",
)  # fmt: skip
FAILED: Final = ("failed", "compensated", "compensation_failed")
"""Ends that hold an error."""
FAILURES: Final = {kind.__name__: kind for kind in (RunTimeout, CrashLoop, WorkflowDepthExceeded)}


def public_status(internal: str, epoch: int, *, is_compensating: bool = False) -> Status:
    """What users see of a record's status: never-started is `pending`, woken or handed back is `waiting`."""
    if is_compensating and internal in ("ready", "running", "parked", "blocked", "delayed"):
        return Status.COMPENSATING
    if internal in ("ready", "delayed"):
        return Status.WAITING if epoch else Status.PENDING
    if internal in ("parked", "blocked"):
        return Status.WAITING
    return Status(internal)


def run_info(
    id: str,
    row: Sequence[bytes | None],
    first: bytes | None,
    last: bytes | None,
    codec: Codec,
    specs: Mapping[str, WorkflowSpec],
    limit: int = HARD_LIMIT,
) -> RunInfo:
    """A snapshot from a record's `FIELDS` and the ends of its journal.

    Raises:
        CorruptPayload: if the record cannot be read.
    """
    f = dict(zip(FIELDS, row, strict=True))
    status = public_status(_text(f["status"]), int(f["epoch"] or 0), is_compensating=f["saga"] == b"undoing")
    workflow = _text(f["workflow"])
    spec = specs.get(workflow)
    output, error, reason = None, None, None
    if status.is_terminal and last is not None and last[:1] == b"Z":
        outcome = parse_outcome(last)
        if outcome.status == "completed":
            output = _shown(codec, outcome.payload, spec.output_type if spec else Any, limit)
        elif outcome.status == "cancelled":
            reason = outcome.payload.decode(errors="replace")
        else:
            error = unpack_error(outcome.payload, codec)
            if outcome.status == "compensation_failed" and f["cancel"] is not None:
                reason = _text(f["cancel"])
    elif f["cancel"] is not None:
        reason = _text(f["cancel"])
    given = None
    if first is not None and first[:1] == b"S" and len(first) > 1:
        given = _shown(codec, first[1:], spec.input_type if spec and spec.takes_input else Any, limit)
    return RunInfo(
        id=id,
        workflow=workflow,
        queue=queue_of(_text(f["queue"])),
        status=status,
        input=given,
        output=output,
        error=error,
        reason=reason,
        parent_id=_text(f["parent"]) or None,
        root_id=id.partition("/")[0],
        ref=_text(f["ref"]) or None,
        attempt=int(f["attempt"] or 1),
        created_at=_time(f["created"]) or datetime.fromtimestamp(0, UTC),
        started_at=_time(f["started"]),
        finished_at=_time(f["finished"]),
        waiting_for=_waiting(status, _text(f["status"]), _text(f["waiting"])),
        context=_context(codec, f["context"], limit),
        progress=read_progress(codec, f["progress"], limit),
        version=_text(f["version"]) or None,
    )


def _waiting(status: Status, internal: str, sentence: str) -> str | None:
    is_parked = status is Status.COMPENSATING and internal in ("parked", "blocked")
    if status is not Status.WAITING and not is_parked and not (internal == "delayed" and sentence):
        return None
    return sentence or None


def _context(codec: Codec, packed: bytes | None, limit: int) -> dict[str, Any]:
    if not packed:
        return {}
    pairs = unpack_line(packed)
    if not all(type(p) is list and [type(v) for v in p] == [str, bytes] for p in pairs):
        raise CorruptPayload("its context cannot be read")
    return {key: codec.decode(data, limit=limit) for key, data in pairs}


def read_progress(codec: Codec, packed: bytes | None, limit: int) -> Progress | None:
    """What a run said last of how far it is; None if it said nothing, or what only its own codec can read.

    Raises:
        CorruptPayload: if it cannot be read.
    """
    if not packed:
        return None
    values = codec.decode(packed, limit=limit)
    if isinstance(values, Opaque):
        return None
    if type(values) is not list or len(values) != 3 or type(values[2]) is not str:
        raise CorruptPayload("its progress cannot be read")
    if not all(type(n) in (int, float) for n in (values[0], values[1] or 0)):
        raise CorruptPayload("its progress cannot be read")
    return Progress(values[0], values[1], values[2])


def _shown(codec: Codec, payload: bytes, annotation: Any, limit: int) -> Any:
    """A value as its annotation says or, where the code has changed since, plain: one run spoils no listing."""
    value = codec.decode(payload, limit=limit)
    try:
        return convert_value(value, annotation)
    except InvalidInput:
        return value


def result_of(id: str, outcome: Outcome, codec: Codec, annotation: Any, limit: int = HARD_LIMIT) -> Any:
    """The output of a completed run.

    Raises:
        RunFailed, RunCancelled: if it ended otherwise.
    """
    if outcome.status == "completed":
        return convert_value(codec.decode(outcome.payload, limit=limit), annotation, f"output of run {id}")
    if outcome.status == "cancelled":
        reason = outcome.payload.decode(errors="replace")
        raise RunCancelled(f"run {id} was cancelled: {reason or 'no reason given'}", id=id, reason=reason)
    error = unpack_error(outcome.payload, codec)
    kind = FAILURES.get(error.type, RunFailed)
    raise kind(f"run {id} ended {outcome.status}: {error.type}: {error.message}", id=id, error=error)


def history_events(journal: Iterable[bytes], created_ms: int, codec: Codec, start_index: int = 0) -> list[HistoryEvent]:
    """The lines of a journal, as users see them."""
    events: list[HistoryEvent] = []
    for index, raw in enumerate(journal, start_index):
        events.append(_event(index, raw, created_ms, codec))
    return events


def _event(index: int, raw: bytes, created_ms: int, codec: Codec) -> HistoryEvent:
    letter = raw[:1]
    if letter in (b"S", b"@"):
        return HistoryEvent(index, "started", "", _at(created_ms))
    if letter == b"Z":
        outcome = parse_outcome(raw)
        error = unpack_error(outcome.payload, codec) if outcome.status in FAILED else None
        detail = {"reason": outcome.payload.decode(errors="replace")} if outcome.status == "cancelled" else {}
        return HistoryEvent(index, outcome.status, "", _at(outcome.time_ms), error=error, detail=detail)
    if letter == b"V":
        return HistoryEvent(index, "retried", "", _at(parse_retried(raw)))
    if letter == b"M":
        return _message_event(index, raw, codec)
    if letter == b"R":
        return _record_event(index, parse_record(raw), codec)
    raise CorruptPayload(f"line {index} of a journal cannot be read")


def _message_event(index: int, raw: bytes, codec: Codec) -> HistoryEvent:
    m = parse_message(raw)
    if m.kind == "E":
        return HistoryEvent(index, "event", m.key, _at(m.time_ms))
    if m.kind == "I":
        kind = "input_answered" if m.letter == "a" else "input_timeout"
        return HistoryEvent(index, kind, m.key.partition("\n")[2], _at(m.time_ms))
    if m.kind == "X":
        return HistoryEvent(index, "cancel", "", _at(m.time_ms), detail={"reason": m.key})
    error: ErrorInfo | None = unpack_error(m.payload, codec) if LETTERS[m.letter] in FAILED else None
    return HistoryEvent(index, f"child_{LETTERS[m.letter]}", m.key, _at(m.time_ms), error=error)


def _record_event(index: int, values: list[Any], codec: Codec) -> HistoryEvent:
    kind, time_ms, identity = values[0], values[1], values[2]
    name = identity.partition(":")[2].rpartition("#")[0]
    at = _at(time_ms)
    undoes = {"compensation": True} if identity.startswith("undo:") else {}
    if kind == Kind.LAUNCH:
        return HistoryEvent(index, "step_started", values[3].partition(":")[2].rpartition("#")[0], at, values[4])
    if kind == Kind.CUT:
        return HistoryEvent(index, "cleanup_cut", "", at)
    if kind == Kind.SAGA:
        if values[3] == "failed":
            return HistoryEvent(index, "compensating", "", at, error=unpack_error(values[4], codec))
        return HistoryEvent(index, "compensating", "", at, detail={"reason": values[4].decode(errors="replace")})
    if kind == Kind.UNDO_FAILED:
        return HistoryEvent(index, "undo_failed", name, at, error=_failure(values[3], codec))
    if kind == Kind.STEP:
        duration = timedelta(milliseconds=values[4])
        if identity.startswith("look:"):
            return HistoryEvent(index, "children_asked", "", at)
        if values[5]:
            return HistoryEvent(index, "step", name, at, values[3], duration, None, undoes)
        return HistoryEvent(index, "step_failed", name, at, values[3], duration, _failure(values[6], codec), undoes)
    if kind == Kind.ATTEMPT:
        detail = {"retry_at": _at(values[5]), **undoes}
        duration = timedelta(milliseconds=values[4])
        return HistoryEvent(index, "attempt_failed", name, at, values[3], duration, _failure(values[6], codec), detail)
    if kind == Kind.CHILD:
        facts: dict[str, Any] = {"workflow": values[4], "awaited": bool(values[6])}
        return HistoryEvent(index, "child_started", values[3], at, detail=facts)
    if kind == Kind.SPAWN:
        by = {"workflow": values[5], "awaited": bool(values[7]), "by_step": True}
        return HistoryEvent(index, "child_started", values[3], at, values[9], detail=by)
    if kind == Kind.DROP and not values[4]:
        return HistoryEvent(index, "child_left", values[3], at)
    if kind == Kind.AWAIT or kind == Kind.JOIN:
        return HistoryEvent(index, "child_awaited", values[3], at)
    if kind == Kind.CANCEL or kind == Kind.DROP:
        return HistoryEvent(index, "child_cancel", values[3], at, detail={"reason": values[4]})
    if kind == Kind.CONTEXT:
        return HistoryEvent(index, "context", values[3], at)
    if kind == Kind.PROGRESS:
        return HistoryEvent(index, "progress", "", at)
    if kind == Kind.INPUT:
        return HistoryEvent(index, "input_asked", values[3], at, detail={"kind": values[4]})
    if kind == Kind.CLOSE:
        return HistoryEvent(index, "input_closed", values[3], at, detail={"why": values[4]})
    if kind == Kind.TICK:
        return HistoryEvent(index, "timer", "", at)
    if kind == Kind.PATCH:
        return HistoryEvent(index, "patched", identity.partition(":")[2], at)
    if kind == Kind.REVIVE:
        return HistoryEvent(index, "went_on", "", at, detail={"void": values[3]})
    if kind == Kind.PAST:
        return HistoryEvent(
            index, "run_attempt_failed", "", at, attempt=values[3], error=unpack_error(values[5], codec)
        )
    if kind == Kind.CARRY:
        return HistoryEvent(index, f"carried_{values[3]}", values[4], at)
    return HistoryEvent(index, str(kind), identity, at)


def _failure(data: bytes, codec: Codec) -> ErrorInfo:
    return unpack_failure(data, (), codec=codec)[1]


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _time(value: bytes | None) -> datetime | None:
    return None if value is None else _at(int(value))


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="replace")
