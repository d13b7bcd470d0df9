"""What a run publishes of its state while it lives."""

from __future__ import annotations

from typing import Any

from durable_async.checking import brief, check_label
from durable_async.engine.records import Entry, Kind, record
from durable_async.workflow.current import current_run

MAX_AMOUNT = 2**63 - 1
"""Of progress: an int that every store and reader can hold."""


def put_context(key: str, value: Any) -> None:
    """Publishes a value of the run's state: durable, readable from outside while the run lives.

    Raises:
        NotSerializable, PayloadTooLarge: if the value cannot be stored.
    """
    run = current_run("put_context()")
    check_label(key, "context key")
    data = run.codec.encode(value, limit=run.limits.payload, what=f"context[{key!r}]")
    name = f"context:{key}"
    identity = f"{name}#{run.count(name)}"
    run.context = {**run.context, key: data}
    run.context_dirty = True
    run.issue(identity, Entry("R", record(Kind.CONTEXT, run.now_ms, identity, key, data)))


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Says how far the run is: durable, and shown by `RunInfo.progress`, the command line and `Handle.watch`.

    It is published with the next commit of the run, so between two awaits the last one counts. It decides nothing: a
    call may be added, changed or taken away while runs are on their way.

    Args:
        done: how much is done, in any unit; a finite number from 0 on.
        total: how much there is, if it is known. `done` may exceed it.
        message: what is being done.

    Raises:
        ValueError: if a number is negative, NaN or infinite.
        TypeError: if an argument has a wrong type.
        NotSerializable, PayloadTooLarge: if it cannot be stored.
    """
    run = current_run("progress()")
    _check_amount(done, "done")
    if total is not None:
        _check_amount(total, "total")
    if not isinstance(message, str):
        raise TypeError(f"message must be a str, not {type(message).__name__}")
    run.progress = run.codec.encode([done, total, str(message)], limit=run.limits.payload, what="progress")
    identity = f"progress#{run.count('progress')}"
    run.issue(identity, Entry("R", record(Kind.PROGRESS, run.now_ms, identity, run.progress)))


def _check_amount(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    if not 0 <= value <= MAX_AMOUNT:
        raise ValueError(f"{what} must be a finite number from 0 on, got {brief(value)}")


def get_context(key: str, default: Any = None) -> Any:
    """The value that `put_context` last published under this key in this run, as plain data; else `default`."""
    data = current_run("get_context()").context.get(key)
    if data is None:
        return default
    return current_run("get_context()").decode(data, Any, f"context[{key!r}]")
