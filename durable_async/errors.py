"""Every exception durable_async raises on purpose.

DurableError
├─ ConfigurationError, StoreUnavailable, IncompatibleServer, DataLossSuspected
├─ RunNotFound, WorkflowIdConflict, RefConflict, RunNotWaiting, InvalidInput, NotInWorkflow, UnknownWorkflow
├─ RunError: RunFailed (RunTimeout, CrashLoop, WorkflowDepthExceeded), RunCancelled
├─ ChildError: ChildFailed, ChildCancelled, ChildTimeout (a TimeoutError)
├─ WaitTimeout (a TimeoutError)
├─ StepError: StepFailed, StepTimeout (a TimeoutError), StepInterrupted, NonRetryable
├─ PayloadError: NotSerializable, PayloadTooLarge, CorruptPayload
└─ DeterminismError: NonDeterministicReplay
ControlFlow (BaseException)   internal: never caught by a user's ``except Exception``

Each message says what happened, to which id, and what to do next. No message holds a payload, a password or a URL.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An exception as data: what the store keeps of it. Nothing is ever rebuilt by a name found here."""

    type: str
    """The bare class name."""
    message: str
    traceback: str = ""
    cause: ErrorInfo | None = None


class DurableError(Exception):
    """The root of everything durable_async raises on purpose."""


class ConfigurationError(DurableError):
    """A setting, URL or combination of options cannot work."""


class StoreUnavailable(DurableError):
    """The server could not be reached, or refuses work for now; what was asked may or may not have happened."""


class IncompatibleServer(DurableError):
    """The server is too old, holds a newer schema, or may evict keys."""


class DataLossSuspected(DurableError):
    """The store no longer is the one that was seen before: it was wiped or restored."""


class RunNotFound(DurableError):
    """No run has this id (or its retention is over)."""


class WorkflowIdConflict(DurableError):
    """The id belongs to a run of another workflow or input."""


class RefConflict(DurableError):
    """A ref was used for a second child that differs from the first."""


class RunNotWaiting(DurableError):
    """The run has ended, or the question is not open."""


class InvalidInput(DurableError):
    """An input does not fit the annotated type, or an answer does not fit its question."""


class NotInWorkflow(DurableError):
    """A primitive was used outside a workflow."""


class UnknownWorkflow(DurableError):
    """No registered workflow has this name."""


class RunError(DurableError):
    """A run ended without a result."""

    def __init__(self, message: str, *, id: str = "") -> None:
        super().__init__(message)
        self.id = id


class RunFailed(RunError):
    """The run failed; `error` says how."""

    def __init__(self, message: str, *, id: str = "", error: ErrorInfo | None = None) -> None:
        super().__init__(message, id=id)
        self.error = error if error is not None else ErrorInfo(type(self).__name__, message)


class RunTimeout(RunFailed):
    """The run took longer than its workflow's `timeout`."""


class CrashLoop(RunFailed):
    """The run was claimed by several workers in a row, and none lived to record anything."""


class WorkflowDepthExceeded(RunFailed):
    """A child would be nested deeper than `Limits.depth` levels."""


class RunCancelled(RunError):
    """The run was cancelled; `reason` says why."""

    def __init__(self, message: str, *, id: str = "", reason: str = "") -> None:
        super().__init__(message, id=id)
        self.reason = reason


class ChildError(DurableError):
    """A child did not return a result."""

    def __init__(self, message: str, *, child_id: str = "", workflow: str = "") -> None:
        super().__init__(message)
        self.child_id = child_id
        self.workflow = workflow


class ChildFailed(ChildError):
    """The child failed; `error` is its error as data."""

    def __init__(self, message: str, *, child_id: str = "", workflow: str = "", error: ErrorInfo | None = None) -> None:
        super().__init__(message, child_id=child_id, workflow=workflow)
        self.error = error if error is not None else ErrorInfo("Unknown", message)


class ChildCancelled(ChildError):
    """The child was cancelled; `reason` says why."""

    def __init__(self, message: str, *, child_id: str = "", workflow: str = "", reason: str = "") -> None:
        super().__init__(message, child_id=child_id, workflow=workflow)
        self.reason = reason


class ChildTimeout(ChildError, TimeoutError):
    """The child did not end within `timeout`, and `timeout_value` was RAISE."""


class WaitTimeout(DurableError, TimeoutError):
    """The event did not arrive within `timeout`."""


class StepError(DurableError):
    """A step did not return a result."""


class StepFailed(StepError):
    """A step raised an exception that is not rebuilt as itself; `error` is that exception as data."""

    def __init__(self, message: str, *, step: str = "", error: ErrorInfo | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.error = error if error is not None else ErrorInfo("Unknown", message)


class StepTimeout(StepError, TimeoutError):
    """A step attempt took longer than its `timeout`."""


class StepInterrupted(StepError):
    """The worker died during an at-most-once step: whether its effect happened is unknown."""


class NonRetryable(StepError):
    """Raise it in a step to fail at once, whatever its retry policy says."""


class PayloadError(DurableError):
    """A value cannot be stored or read."""


class NotSerializable(PayloadError):
    """A value has a type that cannot be stored; the message holds its path."""


class PayloadTooLarge(PayloadError):
    """An encoded value exceeds its limit."""


class CorruptPayload(PayloadError):
    """Stored bytes cannot be decoded."""


class DeterminismError(DurableError):
    """A workflow body did something that cannot be replayed."""


class NonDeterministicReplay(DeterminismError):
    """The code no longer asks for what the journal records."""

    def __init__(self, message: str, *, expected: str = "", found: str = "", position: int = -1) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found
        self.position = position


class ControlFlow(BaseException):
    """Internal signals that user code must not catch."""
