"""Whether the body asks, in a replay, for what its journal holds."""

from __future__ import annotations

from typing import Any

from durable_async.codec import Codec, Unreadable, is_same_input
from durable_async.engine.records import Kind
from durable_async.errors import CorruptPayload


def is_same_record(asked: list[Any], recorded: list[Any], codec: Codec, limit: int) -> bool:
    """Whether two records, whose bytes may differ, are of the same call.

    An encrypting codec never gives one value the same bytes twice, and after a rotation of keys a fingerprint has
    other pieces.

    Raises:
        Unreadable: if a value was stored by another codec, so that nobody can tell.
    """
    if asked[3:] == recorded[3:]:
        return True
    if len(asked) != len(recorded):
        return False
    for one, other in zip(asked[3:], recorded[3:], strict=True):
        if one == other:
            continue
        if type(one) is not bytes or type(other) is not bytes:
            return False
        is_same = is_same_input(one, other) if recorded[0] == Kind.CHILD else _is_same_value(one, other, codec, limit)
        if not is_same:
            return False
    return True


def _is_same_value(one: bytes, other: bytes, codec: Codec, limit: int) -> bool:
    try:
        values = [codec.decode(data, limit=limit) for data in (one, other)]
    except Unreadable:
        raise
    except CorruptPayload:
        return False
    return is_same_input(codec.fingerprint(values[0]), codec.fingerprint(values[1]))
