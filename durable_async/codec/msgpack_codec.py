"""The default codec: msgpack and a fixed set of extension types. No pickle, no import by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durable_async.codec import lowering, scan, wire
from durable_async.codec.base import HARD_LIMIT, Codec
from durable_async.codec.custom import CustomType, by_class
from durable_async.codec.envelope import foreign_form
from durable_async.codec.walk import ATOMS
from durable_async.errors import CorruptPayload, PayloadTooLarge


class MsgpackCodec(Codec):
    """Stores values as msgpack that keeps the type of every builtin.

    Reads back as itself, without an annotation: None, bool, int of any size, float, str, bytes, list, tuple, dict, set,
    frozenset, aware datetime, date, time, timedelta, Decimal, UUID and ``CHILD_TIMEOUT``, and containers of those. Dict
    keys and set elements may be any of them that can be hashed.

    Reads back as plain data, which `convert` rebuilds from an annotation: dataclasses, Pydantic models and msgspec
    structs (dict), NamedTuples (tuple), Enums (their value), a set of those that cannot be hashed as data (list).

    A type of yours that is none of those is stored by functions of yours, see `CustomType`.

    What is not kept: a zone's name (``zoneinfo`` zones become their offset at that moment), ``fold``, private
    attributes of models, the class of a subclass instance.

    Args:
        types: custom types. Every process that reads these values needs them; until it has them, a run that holds one
            is blocked, not failed.

    Raises:
        ConfigurationError: if two of them have one class or one tag.
    """

    __slots__ = ("_custom", "_unpack")
    unchanging = frozenset({type(None), bool, int, float, str, bytes})

    def __init__(self, types: Iterable[CustomType[Any]] = ()) -> None:
        self._custom = by_class(types)
        self._unpack: Callable[[bytes], object] = wire.unpack
        if self._custom:
            readers = {custom.tag: custom.read for custom in self._custom.values()}
            self._unpack = wire.unpacker(lambda items: wire.read_custom(readers, items))

    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """See `Codec.encode`."""
        if type(value) in ATOMS:
            data = wire.pack(value)
        else:
            data = lowering.pack(lowering.lower(value, limit, what, self._custom), what)
        size = len(data)
        if size > limit:
            raise lowering.too_large(size, limit, what)
        if size > scan.SMALL:
            try:
                scan.check_own(data, limit)
            except scan.TooManyParts as error:
                raise PayloadTooLarge(f"{what}: {error}") from None
        return data

    def decode(self, data: bytes, *, limit: int = HARD_LIMIT) -> object:
        """See `Codec.decode`."""
        if type(data) is not bytes:
            raise CorruptPayload(f"stored value is {type(data).__name__}, not bytes")
        if len(data) > limit:
            raise CorruptPayload(f"stored value has {len(data)} bytes, the limit is {limit}")
        try:
            if len(data) > scan.SMALL or 0xFF in data:
                scan.check(data, limit)
            return self._unpack(data)
        except MemoryError:
            raise  # says nothing about the bytes: their number is bounded
        except CorruptPayload as error:
            kind = foreign_form(data) or type(error)(f"stored value cannot be decoded: {error}")
            raise kind from None
        except Exception as error:  # noqa: BLE001  (msgpack, datetime... raise a dozen classes; their texts quote bytes)
            reason = f"stored value cannot be decoded: {type(error).__name__}"
            raise foreign_form(data) or CorruptPayload(reason) from None

    def __repr__(self) -> str:
        return f"MsgpackCodec({', '.join(custom.tag for custom in self._custom.values())})"

    def fingerprint(self, value: object) -> bytes:
        """See `Codec.fingerprint`."""
        return lowering.fingerprint(value, self._custom)
