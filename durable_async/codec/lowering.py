"""Live values to what msgpack packs by itself, with every check that storing needs.

One walk in Python decides everything: types, depth, cycles, sizes, keys. msgpack alone would take a bytearray for
bytes, pack dict keys it cannot read back, stop at its own depth, and copy a huge string before its size is known.
What needs no change is returned as it is, so plain data is walked once and packed in C.

The walk keeps no path: a refusal collects it on the way out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from msgpack import ExtType  # type: ignore[import-untyped, unused-ignore]

from durable_async.codec import foreign, wire
from durable_async.codec.hashed import is_named_tuple, stored_key
from durable_async.codec.paths import piece, surrogate_path, text
from durable_async.codec.walk import (
    ATOMS,
    CANONICAL_ATOMS,
    NO_CUSTOMS,
    STRICT,
    CanonicalWalk,
    Custom,
    Customs,
    Refused,
    Walk,
    why_not,
)
from durable_async.errors import NotSerializable, PayloadTooLarge
from durable_async.types import ChildTimeoutType

FINGERPRINT_LIMIT: Final = 256 * 1024 * 1024
_NAN: Final = float("nan")
"""The one that stands for all signs and payloads of NaN in a fingerprint."""

_Lower = Callable[[Any, Walk, int], object]


def lower(value: object, limit: int, what: str, custom: Customs = NO_CUSTOMS) -> object:
    """`value` as what `wire.pack` takes; `custom` are the registered types of the user's.

    Raises:
        NotSerializable, PayloadTooLarge: as `Codec.encode`.
    """
    cls = type(value)
    if cls in ATOMS or (cls in (str, bytes) and len(value) <= limit) or (cls is dict and _is_flat(value, limit)):  # type: ignore[arg-type]
        return value
    walk = Walk(limit)
    if custom:
        walk.custom = custom
    return _run(value, walk, what)


def _is_flat(value: dict[object, object], limit: int) -> bool:
    # The most usual value by far is a small dict of scalars: it needs no walk that counts and remembers.
    for key, item in value.items():
        if type(key) is not str:
            return False
        cls = type(item)
        if cls not in ATOMS:
            if cls is not str:
                return False
            limit -= len(item)  # type: ignore[arg-type]
        limit -= len(key)
    return limit >= 0


def is_plain(value: object, limit: int) -> bool:
    """Whether `value` can be stored and read back as itself without an annotation."""
    walk = Walk(limit)
    try:
        _run(value, walk, "value")
    except (NotSerializable, PayloadTooLarge):
        return False
    return walk.is_plain


def fingerprint(value: object, custom: Customs = NO_CUSTOMS) -> bytes:
    """See `Codec.fingerprint`."""
    cls = type(value)
    if cls is dict and _is_flat(value, FINGERPRINT_LIMIT):  # type: ignore[arg-type]
        names: dict[str, object] = value  # type: ignore[assignment]
        value = {name: item if (item := names[name]) == item else _NAN for name in sorted(names)}
    elif cls not in CANONICAL_ATOMS and not (cls is str and len(value) <= FINGERPRINT_LIMIT):  # type: ignore[arg-type]
        walk = CanonicalWalk(FINGERPRINT_LIMIT)
        walk.custom = custom
        value = _run(value, walk, "value")
    return hashlib.blake2b(pack(value, "value"), digest_size=16).digest()


def pack(lowered: object, what: str) -> bytes:
    """The bytes of a lowered value.

    Raises:
        NotSerializable: if a str holds a lone surrogate, which only packing finds out; the message holds its path.
    """
    try:
        return wire.pack(lowered)
    except UnicodeEncodeError:
        path = surrogate_path(lowered)
        raise NotSerializable(f"{what}{path or ''}: str with a lone surrogate, which has no UTF-8 form") from None


def too_large(size: int, limit: int, what: str) -> PayloadTooLarge:
    """The refusal of a value whose encoded form is `size` bytes long."""
    return PayloadTooLarge(f"{what}: {size} bytes when encoded, the limit is {limit}")


def _run(value: object, walk: Walk, what: str) -> object:
    try:
        return _lower(value, walk, 0)
    except Refused as refused:
        raise refused.error(f"{text(what, refused.path)}: {refused}") from None
    except RecursionError:
        raise NotSerializable(f"{what}: nested too deeply for the stack that is left") from None
    except RuntimeError:  # "dictionary changed size during iteration", from another thread
        raise NotSerializable(f"{what}: changed while it was encoded") from None


def _lower(value: object, walk: Walk, depth: int) -> object:
    cls = type(value)
    handler = _BUILTIN.get(cls)
    if handler is None:
        walk.is_plain = False
        custom = walk.custom.get(cls)
        if custom is not None:
            return _custom(custom, value, walk, depth)
        handler = _handler_for(cls)  # type: ignore[arg-type]
    return handler(value, walk, depth)


# --- containers -------------------------------------------------------------------------------------------------------


def _list(value: list[object], walk: Walk, depth: int) -> list[object]:
    walk.enter(depth, len(value))
    atoms = walk.atoms
    if atoms.issuperset(map(type, value)):
        return value
    lowered = None
    size = 0
    for index, item in enumerate(value):
        cls = type(item)
        if cls in atoms:
            continue
        if cls is str:
            size += len(item)  # type: ignore[arg-type]
            continue
        try:
            low = _lower(item, walk, depth + 1)
        except Refused as refused:
            refused.path.append(f"[{index}]")
            raise
        if low is not item:
            if lowered is None:
                lowered = value.copy()
            lowered[index] = low
    if size:
        walk.grow(size)
    return value if lowered is None else lowered


def _dict(value: dict[object, object], walk: Walk, depth: int) -> object:
    walk.enter(depth, len(value))
    if walk.canonical:
        return _canonical_dict(value, walk, depth)
    for key in value:
        if type(key) is not str:
            return _keyed_dict(value, walk, depth)
    names: dict[str, object] = value  # type: ignore[assignment]
    atoms = walk.atoms
    lowered = None
    size = 0
    for name, item in names.items():
        cls = type(item)
        if cls in atoms:
            size += len(name)
            continue
        if cls is str:
            size += len(name) + len(item)  # type: ignore[arg-type]
            continue
        try:
            low = _lower(item, walk, depth + 1)
        except Refused as refused:
            refused.path.append(piece(name))
            raise
        if low is not item:
            if lowered is None:
                lowered = names.copy()
            lowered[name] = low
    if size:
        walk.grow(size)
    return value if lowered is None else lowered


def _canonical_dict(value: dict[object, object], walk: Walk, depth: int) -> object:
    if {*map(type, value)} - {str}:
        return _keyed_dict(value, walk, depth)
    names: dict[str, object] = value  # type: ignore[assignment]
    lowered: dict[str, object] = {}
    size = 0
    for name in sorted(names):
        item = names[name]
        if type(item) is str:
            size += len(item)
            lowered[name] = item
        else:
            lowered[name] = _at(item, walk, depth, name)
    walk.grow(size)
    return lowered


def _at(item: object, walk: Walk, depth: int, key: object) -> object:
    if type(item) in walk.atoms:
        return item
    try:
        return _lower(item, walk, depth + 1)
    except Refused as refused:
        refused.path.append(piece(key))
        raise


def _keyed_dict(value: dict[object, object], walk: Walk, depth: int) -> object:
    """A dict with a key that is not a str: as one with str keys if enums make it so, else as pairs in order."""
    stored = [stored_key(key, depth + 1, "dict key", walk.custom) for key in value]
    if len(set(stored)) != len(stored):
        raise Refused("two dict keys are stored as the same value")
    items = [_at(item, walk, depth, key) for key, item in value.items()]
    if all(type(key) is str for key in stored):
        walk.is_plain = False  # enums whose values are text
        pairs: Any = zip(stored, items, strict=True)
        return dict(sorted(pairs) if walk.canonical else pairs)
    entries = [(_at(key, walk, depth, key), item) for key, item in zip(value, items, strict=True)]
    if walk.canonical:
        entries.sort(key=lambda entry: _pack_key(entry[0]))
    return _ext(wire.MAP, [part for entry in entries for part in entry], walk)


def _pack_key(lowered: object) -> bytes:
    try:
        return wire.pack(lowered)
    except UnicodeEncodeError:
        raise Refused("str with a lone surrogate, which has no UTF-8 form") from None


def _ext(code: int, items: list[object], walk: Walk) -> ExtType:
    body = _pack_key(items)
    walk.copy(len(body))
    return wire.ext(code, body)


def _tuple(value: tuple[object, ...], walk: Walk, depth: int) -> ExtType:
    return _ext(wire.TUPLE, _list(list(value), walk, depth), walk)


def _set(value: set[object] | frozenset[object], walk: Walk, depth: int) -> object:
    # Ordered by bytes: the order of a set differs between processes, its stored form should not.
    lowered = _list(list(value), walk, depth)
    lowered.sort(key=_pack_key)
    try:
        stored = [stored_key(item, depth + 1, "set element", walk.custom) for item in value]
    except Refused:
        walk.is_plain = False  # such as a set of frozen dataclasses: a list of their data, for set[X] to rebuild
        return lowered
    if len(set(stored)) != len(stored):
        raise Refused("two set elements are stored as the same value")
    return _ext(wire.SET if type(value) is set else wire.FROZENSET, lowered, walk)


# --- scalars ----------------------------------------------------------------------------------------------------------


def _same(value: object, walk: Walk, depth: int) -> object:
    return value


def _float(value: float, walk: Walk, depth: int) -> float:
    return _NAN if walk.canonical and math.isnan(value) else value


def _sized(value: str | bytes, walk: Walk, depth: int) -> object:
    walk.grow(len(value))
    return value


def _datetime(value: datetime, walk: Walk, depth: int) -> ExtType:
    offset = _offset(value)
    if offset is None:
        raise Refused("naive datetime; give it a zone, such as datetime.now(timezone.utc)")
    return wire.ext_datetime(value, offset)


def _time(value: time, walk: Walk, depth: int) -> ExtType:
    offset = _offset(value)
    if offset is None and value.tzinfo is not None:
        raise Refused("time with a zone that has no fixed offset")
    return wire.ext_time(value, offset)


def _offset(value: datetime | time) -> timedelta | None:
    try:
        return value.utcoffset()
    except Exception as error:  # noqa: BLE001  (a zone may be a class of the user's)
        raise Refused(f"the time zone raised {type(error).__name__}") from None


def _scalar(make: Callable[[Any], object]) -> _Lower:
    return lambda value, walk, depth: make(value)


def _custom(custom: Custom, value: object, walk: Walk, depth: int) -> ExtType:
    walk.enter(depth, 2)
    try:
        data = custom.to(value)
    except Exception as error:  # noqa: BLE001  (the user's code; its text may quote the value)
        raise Refused(f"custom type {custom.tag!r}: its `to` raised {type(error).__name__}") from None
    return _ext(wire.CUSTOM, [custom.tag, _lower(data, walk, depth + 1)], walk)


# --- the user's types -------------------------------------------------------------------------------------------------


def _enum(value: enum.Enum, walk: Walk, depth: int) -> object:
    return _lower(value.value, walk, depth)


def _named_tuple(value: tuple[object, ...], walk: Walk, depth: int) -> ExtType:
    walk.enter(depth, len(value))
    names: tuple[str, ...] = value._fields  # type: ignore[attr-defined]
    items = [_at(item, walk, depth, name) for name, item in zip(names, value, strict=True)]
    return _ext(wire.TUPLE, items, walk)


def _record(data: dict[str, object], walk: Walk, depth: int) -> object:
    return _dict(data, walk, depth)  # type: ignore[arg-type]


def _dataclass(value: Any, walk: Walk, depth: int) -> object:
    try:
        data = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    except Exception as error:  # noqa: BLE001  (a field may be a descriptor of the user's)
        raise Refused(f"{type(value).__name__} with a field that raised {type(error).__name__} when read") from None
    return _record(data, walk, depth)


def _model(value: object, walk: Walk, depth: int) -> object:
    try:
        data = foreign.dump_model(value)
    except Exception as error:  # noqa: BLE001  (serialisers are the user's)
        raise Refused(f"{type(value).__name__}.model_dump() raised {type(error).__name__}") from None
    outer, walk.in_model = walk.in_model, True
    try:
        return _lower(data, walk, depth)
    finally:
        walk.in_model = outer


def _struct(value: object, walk: Walk, depth: int) -> object:
    try:
        data = foreign.dump_struct(value)
    except AttributeError:
        raise Refused(f"{type(value).__name__} with a field that is not set") from None
    return _lower(data, walk, depth)


def _unknown(value: object, walk: Walk, depth: int) -> object:
    cls = type(value)
    if walk.in_model and foreign.is_text(value):
        return _lower(str(value), walk, depth)
    raise Refused(why_not(cls))


@functools.lru_cache(maxsize=4096)
def _handler_for(cls: type) -> _Lower:
    if issubclass(cls, enum.Enum):
        return _enum
    if is_named_tuple(cls):
        return _named_tuple
    if issubclass(cls, STRICT):
        return _unknown
    if foreign.is_model_type(cls):
        return _model
    if dataclasses.is_dataclass(cls):
        return _dataclass
    if foreign.is_struct_type(cls):
        return _struct
    return _unknown


_BUILTIN: Final[dict[type, _Lower]] = {
    type(None): _same,
    bool: _same,
    int: _same,
    float: _float,
    str: _sized,
    bytes: _sized,
    list: _list,
    dict: _dict,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    datetime: _datetime,
    date: _scalar(wire.ext_date),
    time: _time,
    timedelta: _scalar(wire.ext_timedelta),
    Decimal: _scalar(wire.ext_decimal),
    UUID: _scalar(wire.ext_uuid),
    ChildTimeoutType: lambda value, walk, depth: wire.EXT_SENTINEL,
}


def is_builtin(cls: type) -> bool:
    """Whether a type is stored as itself, whatever is registered."""
    return cls in _BUILTIN
