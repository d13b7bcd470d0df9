"""Whether a run has been told how a child ended, as far as its journal shows."""

from __future__ import annotations

from collections.abc import Sequence

from durable_async.engine.records import Kind, parse_message, parse_record
from durable_async.errors import CorruptPayload


def is_untold(journal: Sequence[bytes], child_id: str) -> bool:
    """Whether the journal holds no end of this child after it was last begun. False if it cannot be read.

    A child that failed and is about to be called again has been told of: the parent waits for the time to come.
    """
    told = True
    try:
        for line in journal:
            if line[:1] == b"R":
                values = parse_record(line)
                if values[0] in (Kind.CHILD, Kind.AWAIT) and values[3] == child_id:
                    told = False
            elif line[:1] == b"M":
                message = parse_message(line)
                told = told or (message.kind == "C" and message.key == child_id)
    except (CorruptPayload, IndexError):
        return False
    return not told
