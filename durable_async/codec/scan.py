"""Reads the headers of untrusted msgpack before anything is built from it.

Four megabytes of empty arrays become 284 MB of lists, and a header may claim elements that never come; so depth and
number of parts are bounded here, from the bytes alone. `encode` runs the same check on what it returns: what could not
be read back is refused when it is written.
"""

from __future__ import annotations

from typing import Final

from durable_async.codec.wire import CUSTOM, FROZENSET, MAP, SET, TUPLE
from durable_async.errors import CorruptPayload

MAX_DEPTH: Final = 64
"""Containers inside each other. Ours, because msgpack stops only at 1,024."""

SMALL: Final = 64
"""Bytes below which neither depth nor number can exceed a bound."""

_CLAIM: Final = 2 * 1024 * 1024
"""Headers times bytes below which an unread header cannot claim much: a claim is at most `len(data)` elements."""

_HEADERS: Final = bytes([*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)])
"""The bytes that begin an array, a map or an extension value. They occur elsewhere too: a count is an upper bound."""

_TIMESTAMPS: Final = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")
"""Headers of the one extension that msgpack reads by itself, into a type of its own. We never write it."""

_TRANSPARENT: Final = frozenset({TUPLE, SET, FROZENSET, MAP, CUSTOM})


def max_parts(limit: int) -> int:
    """How many arrays, maps and extension values one payload may hold: one per 16 bytes of `limit`, at least 10,000.

    Elements that are none of these need no bound of their own: they cost their bytes and a pointer.
    """
    return max(10_000, limit // 16)


def max_copied(limit: int) -> int:
    """Bytes that the bodies of nested tuples, sets and dicts may have together: each level is copied to be read."""
    return 8 * max(limit, 1 << 20)


def check(data: bytes, limit: int) -> None:
    """Return if `data` is shallow and small enough to be unpacked; it may still be malformed.

    A small value costs nothing, a usual one a count of byte values in C; only one with very many containers, or with
    bytes that look like them, is walked header by header.

    Raises:
        TooManyParts: if there are more than `max_parts(limit)`.
        CorruptPayload: if it is too deep, truncated, or followed by something.
    """
    size = len(data)
    if not (0xFF in data and any(header in data for header in _TIMESTAMPS)):
        if size <= SMALL:
            return
        headers = size - len(data.translate(None, _HEADERS))
        if headers <= MAX_DEPTH and headers * size <= _CLAIM:
            return
    try:
        _walk(data, max_parts(limit), max_copied(limit))
    except IndexError:
        raise CorruptPayload("truncated") from None


def check_own(data: bytes, limit: int) -> None:
    """As `check`, for what was just packed: only its number of parts is still in question.

    Raises:
        TooManyParts: if `check` would refuse it.
    """
    size = len(data)
    if size <= 10_000:  # cannot hold more than that many parts
        return
    if size - len(data.translate(None, _HEADERS)) > max_parts(limit):
        check(data, limit)


class TooManyParts(CorruptPayload):
    """A payload with more containers than `max_parts`."""


def _table() -> list[int]:
    """Size of a value by its first byte; 0 if the size is in the header, -1 for containers and extensions."""
    sizes = [1] * 256
    for first in range(0xA0, 0xC0):
        sizes[first] = 1 + (first & 0x1F)
    for first, size in zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True):
        sizes[first] = size
    for first in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB):
        sizes[first] = 0
    for first in _HEADERS:
        sizes[first] = -1
    return sizes


_SIZES: Final = _table()
_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
_COUNT_BYTES: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def _walk(data: bytes, most_parts: int, most_copied: int) -> None:
    # Extensions that hold an array are read through: the array counts as the one level. Their bodies are copied once
    # per level when unpacked, so a chain of nested tuples is bounded by the sum of its bodies too.
    sizes = _SIZES
    end = len(data)
    pos = parts = copied = 0
    left = 1
    open_: list[int] = []
    while True:
        while left:
            left -= 1
            first = data[pos]
            size = sizes[first]
            if size > 0:
                pos += size
                continue
            if size == 0:
                width = _LENGTH_BYTES[first]
                pos += 1 + width + int.from_bytes(data[pos + 1 : pos + 1 + width], "big")
                continue
            parts += 1
            if parts > most_parts:
                raise TooManyParts(f"more than {most_parts} containers")
            if 0xC7 <= first <= 0xD8:
                header, body = _extension(data, pos, first)
                code = data[pos + header - 1]
                if code > 0x7F:
                    raise CorruptPayload(f"unknown extension type {code - 256}")
                if code in _TRANSPARENT:
                    copied += body
                    if copied > most_copied:
                        raise TooManyParts("too much data in nested tuples, sets or dicts with keys other than str")
                    left, body = left + 1, 0
                pos += header + body
                continue
            header, count = _container(data, pos, first)
            pos += header
            if count > end - pos:
                raise CorruptPayload("truncated")
            open_.append(left)
            left = count
            if len(open_) > MAX_DEPTH:
                raise CorruptPayload(f"nested deeper than {MAX_DEPTH} levels")
        if not open_:
            break
        left = open_.pop()
    if pos != end:
        raise CorruptPayload("truncated" if pos > end else "followed by more data")


def _extension(data: bytes, pos: int, first: int) -> tuple[int, int]:
    if first >= 0xD4:
        return 2, 1 << (first - 0xD4)
    width = _LENGTH_BYTES[first]
    return 2 + width, int.from_bytes(data[pos + 1 : pos + 1 + width], "big")


def _container(data: bytes, pos: int, first: int) -> tuple[int, int]:
    if first < 0xA0:
        return 1, (first & 0x0F) * (1 if first >= 0x90 else 2)
    width = _COUNT_BYTES[first]
    return 1 + width, int.from_bytes(data[pos + 1 : pos + 1 + width], "big") * (1 if first < 0xDE else 2)
