"""How a body's end becomes an outcome, and how recorded failures become exceptions again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from durable_async.codec import (
    Codec,
    encode_error,
    errorinfo_from_data,
    errorinfo_to_data,
    pack_failure,
    unpack_failure,
)
from durable_async.codec.failures import FAILURE_LIMIT
from durable_async.engine.children import Child
from durable_async.engine.records import LETTERS
from durable_async.engine.renewal import Continued
from durable_async.errors import (
    ChildCancelled,
    ChildError,
    ChildFailed,
    ErrorInfo,
    InvalidInput,
    NonRetryable,
    NotSerializable,
    PayloadTooLarge,
    StepFailed,
    StepInterrupted,
    StepTimeout,
)

if TYPE_CHECKING:
    from durable_async.engine.run import Run
    from durable_async.engine.spec import StepSpec

OWN_FAILURES = (StepTimeout, StepInterrupted, NonRetryable, NotSerializable, PayloadTooLarge, InvalidInput)
"""What the engine itself raises for a step: always rebuilt as itself."""


def pack_error(info: ErrorInfo, codec: Codec) -> bytes:
    """An error as the outcome of a failed run holds it: a message may quote what was secret, so by the codec."""
    return codec.encode(errorinfo_to_data(info), limit=FAILURE_LIMIT)


def unpack_error(data: bytes, codec: Codec) -> ErrorInfo:
    """The error of a failed run.

    Raises:
        CorruptPayload: if the bytes are none, or another codec's.
    """
    return errorinfo_from_data(codec.decode(data, limit=2 * FAILURE_LIMIT))


async def outcome_of(run: Run, payload: bytes) -> tuple[str, bytes, BaseException | None]:
    """Runs the body to its end: the terminal status, what is stored with it, and of a failure the exception."""
    spec = run.spec
    try:
        if spec.takes_input and (payload or not spec.has_default):
            value = run.decode(payload, spec.input_type, "input") if payload else None
            result = await spec.function(value)
        else:
            result = await spec.function()
        data = run.codec.encode(result, limit=run.limits.payload, what="output")
        # An output that its readers could not have is this run's failure, not theirs.
        run.decode(data, spec.output_type, "output", was=result)
    except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # whatever a body raises is its outcome
        if not run.is_cancelled:
            return "failed", pack_error(error_info(error), run.codec), error
    except Continued:
        return "completed", b"", None
    except BaseExceptionGroup:
        # A task group's, around what ended this life of the run in one of its tasks.
        if run.continuation is None:
            raise
        return "completed", b"", None
    else:
        if not run.is_cancelled:
            return "completed", data, None
    return "cancelled", run.cancel_reason.encode(), None


def mark_line(error: BaseException, line: int) -> None:
    """Notes which line of the journal an exception comes from: whoever takes the run up again asks."""
    with contextlib.suppress(AttributeError, TypeError):
        error._durable_line = line  # type: ignore[attr-defined]  # what has slots alone goes without


def error_info(error: BaseException) -> ErrorInfo:
    """An exception as data; a child's failure keeps the child's own error as its cause."""
    info = encode_error(error)
    if isinstance(error, ChildFailed):
        return ErrorInfo(info.type, info.message, info.traceback, error.error)
    return info


def step_failure(error: BaseException, codec: Codec) -> bytes:
    """A step's exception as the journal holds it."""
    return pack_failure(error, codec=codec)


def step_error(spec: StepSpec, data: bytes, live: BaseException | None, codec: Codec) -> BaseException:
    """What a failing step raises in the body: itself if it can be rebuilt from data, else a `StepFailed`."""
    rebuilt, info = unpack_failure(data, (*spec.raises, *OWN_FAILURES), codec=codec)
    if rebuilt is not None:
        if live is not None:
            rebuilt.__cause__ = live.__cause__
            rebuilt = rebuilt.with_traceback(live.__traceback__)
        return rebuilt
    failed = StepFailed(f"step {spec.name!r} raised {info.type}: {info.message}", step=spec.name, error=info)
    failed.__cause__ = live
    return failed


def child_error(child: Child, codec: Codec) -> ChildError:
    """What awaiting a child raises that ended without a result."""
    if child.letter == "x":
        reason = child.payload.decode(errors="replace")
        return ChildCancelled(
            f"child {child.id} was cancelled: {reason or 'no reason given'}",
            child_id=child.id,
            workflow=child.workflow,
            reason=reason,
        )
    info = unpack_error(child.payload, codec)
    return ChildFailed(
        f"child {child.id} ended {LETTERS[child.letter]}: {info.type}: {info.message}",
        child_id=child.id,
        workflow=child.workflow,
        error=info,
    )
