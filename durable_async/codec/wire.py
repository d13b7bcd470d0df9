"""The stored form of what msgpack has no type for: one extension code a type, each with one exact layout.

==== ============= =====================================================================================
code type          body
==== ============= =====================================================================================
1    tuple         a msgpack array
2    set           a msgpack array, ordered by the bytes of its elements
3    frozenset     as set
4    dict          a msgpack array key, value, key, value...: only for dicts with a key that is not a str
5    int           two's complement, big-endian, shortest; only outside of what msgpack's own integers hold
6    datetime      i64 microseconds of wall-clock time since 0001-01-01, i64 microseconds of zone offset
7    date          u32 proleptic ordinal
8    time          u64 microseconds since midnight, and i64 microseconds of zone offset if it has one
9    timedelta     i32 days, u32 seconds, u32 microseconds, normalised
10   Decimal       ``str(value)`` in ASCII
11   UUID          its 16 bytes
12   CHILD_TIMEOUT empty
13   custom        a msgpack array tag, data: a type that the user has registered with the codec
==== ============= =====================================================================================

Codes are never reused. A wall-clock time with an offset, rather than an instant, because year 1 and year 9999 with an
offset have no UTC instant that ``datetime`` can hold.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from msgpack import ExtType, Packer, unpackb  # type: ignore[import-untyped, unused-ignore]

from durable_async.checking import check_name
from durable_async.codec.envelope import Unreadable
from durable_async.errors import CorruptPayload
from durable_async.types import CHILD_TIMEOUT

TUPLE: Final = 1
SET: Final = 2
FROZENSET: Final = 3
MAP: Final = 4
INT: Final = 5
DATETIME: Final = 6
DATE: Final = 7
TIME: Final = 8
TIMEDELTA: Final = 9
DECIMAL: Final = 10
UUID_: Final = 11
SENTINEL: Final = 12
CUSTOM: Final = 13

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 64) - 1

_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = datetime.min  # noqa: DTZ901  (wall-clock time; the zone is put on afterwards)
_DAY_US: Final = 86_400_000_000
_pair = struct.Struct(">qq")
_u32 = struct.Struct(">I")
_u64 = struct.Struct(">Q")
_time = struct.Struct(">Qq")
_delta = struct.Struct(">iII")


def ext(code: int, body: bytes) -> ExtType:
    """An extension value. Its own constructor checks in Python what is known here."""
    return tuple.__new__(ExtType, (code, body))


def ext_int(value: int) -> ExtType:
    """An integer that msgpack's own integers cannot hold."""
    return ext(INT, value.to_bytes(_int_size(value), "big", signed=True))


def _int_size(value: int) -> int:
    return ((value if value >= 0 else ~value).bit_length() // 8) + 1


def ext_datetime(value: datetime, offset: timedelta) -> ExtType:
    """An aware datetime; `offset` is what its zone said."""
    day = (value.hour * 3600 + value.minute * 60 + value.second) * 1_000_000 + value.microsecond
    wall = (value.toordinal() - 1) * _DAY_US + day
    return ext(DATETIME, _pair.pack(wall, offset // _MICROSECOND if offset else 0))


def ext_date(value: date) -> ExtType:
    """A date."""
    return ext(DATE, _u32.pack(value.toordinal()))


def ext_time(value: time, offset: timedelta | None) -> ExtType:
    """A time of day; `offset` is None for a naive one."""
    wall = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return ext(TIME, _u64.pack(wall) if offset is None else _time.pack(wall, offset // _MICROSECOND))


def ext_timedelta(value: timedelta) -> ExtType:
    """A length of time."""
    return ext(TIMEDELTA, _delta.pack(value.days, value.seconds, value.microseconds))


def ext_decimal(value: Decimal) -> ExtType:
    """A decimal number with its exponent: 1.0 is not 1.00."""
    return ext(DECIMAL, str(value).encode("ascii"))


def ext_uuid(value: UUID) -> ExtType:
    """A UUID, without ``is_safe``."""
    return ext(UUID_, value.bytes)


EXT_SENTINEL: Final = ext(SENTINEL, b"")


# Reusing packers saves most of the cost of a small value, but one that is in use (by another thread, or by a finaliser
# that runs in the middle) must not be entered again. list.pop and list.append are atomic, so a list is pool enough.
_packers: list[Any] = []


def _big_int(value: object) -> object:
    # msgpack asks only for what it cannot pack: integers out of its range. The rest was refused by lowering.
    if type(value) is int:
        return ext_int(value)
    raise TypeError(f"{type(value).__name__} reached the packer")


def pack(lowered: object) -> bytes:
    """The bytes of a lowered value (see `durable_async.codec.lowering`).

    Raises:
        UnicodeEncodeError: if a str holds a lone surrogate.
    """
    try:
        packer = _packers.pop()
    except IndexError:
        packer = Packer(default=_big_int, strict_types=True, autoreset=True, buf_size=4096)
    data: bytes = packer.pack(lowered)
    if len(data) <= 65_536 and len(_packers) < 16:  # a packer keeps its largest buffer: do not pool a huge one
        _packers.append(packer)
    return data


def unpack(data: bytes) -> object:
    """The value of packed bytes; any exception at all if they are not well-formed. The caller checked their size.

    If a stored map names one str key twice, the last one wins; the other containers refuse duplicates.
    """
    value: object = unpackb(data, ext_hook=_unpack_ext, strict_map_key=True, raw=False, use_list=True)
    return value


def unpacker(read_custom: Callable[[list[object]], object]) -> Callable[[bytes], object]:
    """`unpack` of a codec that knows custom types: `read_custom` makes one of its array."""

    def unpack_with(data: bytes) -> object:
        value: object = unpackb(data, ext_hook=hook, strict_map_key=True, raw=False, use_list=True)
        return value

    def hook(code: int, body: bytes) -> object:
        make = read_custom if code == CUSTOM else _CONTAINERS.get(code)
        return _unpack_ext(code, body) if make is None else make(_as_list(unpack_with(body)))

    return unpack_with


def _unpack_ext(code: int, body: bytes) -> object:
    reader = _READERS.get(code)
    if reader is None:
        raise CorruptPayload(f"unknown extension type {code}")
    return reader(body)


def _as_list(value: object) -> list[object]:
    if type(value) is not list:
        raise CorruptPayload("a container without an array")
    return value


def _set_of(items: list[object]) -> set[object]:
    value = set(items)
    if len(value) != len(items):
        raise CorruptPayload("a set with duplicates")
    return value


def _frozenset_of(items: list[object]) -> frozenset[object]:
    return frozenset(_set_of(items))


def _dict_of(items: list[object]) -> dict[object, object]:
    keys = items[::2]
    value = dict(zip(keys, items[1::2], strict=True))
    if len(value) != len(keys):
        raise CorruptPayload("a dict with duplicate keys")
    return value


def _no_custom(items: list[object]) -> object:
    return read_custom({}, items)


def read_custom(known: Mapping[str, Callable[[Any], object]], items: list[object]) -> object:
    """The value of a custom type's array, made by the function that `known` has for its tag.

    Raises:
        Unreadable: if it has none.
        CorruptPayload: if the array is none of a custom type.
    """
    tag, data = items if len(items) == 2 else (None, None)
    if not isinstance(tag, str):
        raise CorruptPayload("a custom type in the wrong form")
    make = known.get(tag)
    if make is None:
        raise Unreadable(f"custom type {_shown(tag)} is not registered with this codec: MsgpackCodec(types=[...])")
    return make(data)


def _shown(tag: str) -> str:
    try:
        return repr(check_name(tag, "tag"))
    except ValueError:
        return "with a tag that is no name"


def _read_int(body: bytes) -> int:
    value = int.from_bytes(body, "big", signed=True)
    if INT_MIN <= value <= INT_MAX or len(body) != _int_size(value):
        raise CorruptPayload("an integer in the wrong form")
    return value


def _zone(offset: int) -> timezone:
    return timezone(timedelta(microseconds=offset)) if offset else UTC


def _read_datetime(body: bytes) -> datetime:
    wall, offset = _pair.unpack(body)
    return (_FIRST + timedelta(microseconds=wall)).replace(tzinfo=_zone(offset))


def _read_date(body: bytes) -> date:
    return date.fromordinal(_u32.unpack(body)[0])


def _read_time(body: bytes) -> time:
    if len(body) == 8:
        (wall,), zone = _u64.unpack(body), None
    else:
        wall, offset = _time.unpack(body)
        zone = _zone(offset)
    if wall >= _DAY_US:
        raise CorruptPayload("a time of day past midnight")
    return (_FIRST + timedelta(microseconds=wall)).time().replace(tzinfo=zone)


def _read_timedelta(body: bytes) -> timedelta:
    days, seconds, microseconds = _delta.unpack(body)
    if seconds >= 86_400 or microseconds >= 1_000_000:
        raise CorruptPayload("a timedelta in the wrong form")
    return timedelta(days, seconds, microseconds)


def _read_decimal(body: bytes) -> Decimal:
    text = body.decode("ascii")
    value = Decimal(text)
    if str(value) != text:
        raise CorruptPayload("a Decimal in the wrong form")
    return value


def _read_uuid(body: bytes) -> UUID:
    return UUID(bytes=body)


def _read_sentinel(body: bytes) -> object:
    if body:
        raise CorruptPayload("a sentinel with a body")
    return CHILD_TIMEOUT


_READERS: Final[dict[int, Callable[[bytes], object]]] = {
    TUPLE: lambda body: tuple(_as_list(unpack(body))),
    SET: lambda body: _set_of(_as_list(unpack(body))),
    FROZENSET: lambda body: _frozenset_of(_as_list(unpack(body))),
    MAP: lambda body: _dict_of(_as_list(unpack(body))),
    CUSTOM: lambda body: _no_custom(_as_list(unpack(body))),
    INT: _read_int,
    DATETIME: _read_datetime,
    DATE: _read_date,
    TIME: _read_time,
    TIMEDELTA: _read_timedelta,
    DECIMAL: _read_decimal,
    UUID_: _read_uuid,
    SENTINEL: _read_sentinel,
}
_CONTAINERS: Final[dict[int, Callable[[list[object]], object]]] = {
    TUPLE: tuple,
    SET: _set_of,
    FROZENSET: _frozenset_of,
    MAP: _dict_of,
}
