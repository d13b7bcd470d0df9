"""Lists of numbers, text and bytes as bytes: what the engine itself stores, never a user's object."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped, unused-ignore]

from durable_async.errors import CorruptPayload

_packer = msgpack.Packer(use_bin_type=True)


def pack_line(values: list[Any]) -> bytes:
    """A list of None, numbers, text, bytes and lists of these."""
    data: bytes = _packer.pack(values)
    return data


def unpack_line(data: bytes) -> list[Any]:
    """The list that `pack_line` was given.

    Raises:
        CorruptPayload: if the bytes are anything else.
    """
    try:
        values = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptPayload(f"a record cannot be read: {type(error).__name__}") from None
    if not isinstance(values, list):
        raise CorruptPayload("a record is not a list")
    return values
