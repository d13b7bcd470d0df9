"""The default codec: msgpack and a fixed set of extension types. No pickle, no import by name."""

from __future__ import annotations

from durable_async.codec import lowering, scan, wire
from durable_async.codec.base import HARD_LIMIT, Codec
from durable_async.errors import CorruptPayload, PayloadTooLarge


class MsgpackCodec(Codec):
    """Stores values as msgpack that keeps the type of every builtin.

    Reads back as itself, without an annotation: None, bool, int of any size, float, str, bytes, list, tuple, dict, set,
    frozenset, aware datetime, date, time, timedelta, Decimal, UUID and ``CHILD_TIMEOUT``, and containers of those. Dict
    keys and set elements may be any of them that can be hashed.

    Reads back as plain data, which `convert` rebuilds from an annotation: dataclasses, Pydantic models and msgspec
    structs (dict), NamedTuples (tuple), Enums (their value), a set of those that cannot be hashed as data (list).

    What is not kept: a zone's name (``zoneinfo`` zones become their offset at that moment), ``fold``, private
    attributes of models, the class of a subclass instance.
    """

    __slots__ = ()

    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """See `Codec.encode`."""
        data = lowering.pack(lowering.lower(value, limit, what), what)
        if len(data) > limit:
            raise lowering.too_large(len(data), limit, what)
        if len(data) > scan.SMALL:
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
            return wire.unpack(data)
        except MemoryError:
            raise  # says nothing about the bytes: their number is bounded
        except CorruptPayload as error:
            raise CorruptPayload(f"stored value cannot be decoded: {error}") from None
        except Exception as error:  # noqa: BLE001  (msgpack, datetime... raise a dozen classes; their texts quote bytes)
            raise CorruptPayload(f"stored value cannot be decoded: {type(error).__name__}") from None
