"""The outcomes that a worker writes without the run's body."""

from __future__ import annotations

from durable_async.codec import Codec
from durable_async.engine.failures import pack_error
from durable_async.errors import ErrorInfo


def crash_loop(id: str, claims: int, codec: Codec) -> bytes:
    """The error of a run whose owners died one after the other."""
    return pack_error(
        ErrorInfo(
            "CrashLoop", f"run {id} was claimed by {claims} workers in a row that died before they recorded anything"
        ),
        codec,
    )
