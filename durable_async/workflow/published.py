"""What a run publishes of its state while it lives."""

from __future__ import annotations

from typing import Any

from durable_async.checking import check_label
from durable_async.engine.records import Entry, Kind, record
from durable_async.workflow.current import current_run


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
    run.context[key] = data
    run.context_dirty = True
    run.issue(identity, Entry("R", record(Kind.CONTEXT, run.now_ms, identity, key, data)))


def get_context(key: str, default: Any = None) -> Any:
    """The value that `put_context` last published under this key in this run, as plain data; else `default`."""
    data = current_run("get_context()").context.get(key)
    if data is None:
        return default
    return current_run("get_context()").decode(data, Any, f"context[{key!r}]")
