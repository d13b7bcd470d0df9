"""What dict keys and set elements are after a round trip."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from durable_async.codec.scan import MAX_DEPTH
from durable_async.codec.walk import ATOMS, Customs, Refused
from durable_async.types import ChildTimeoutType

_KEYS: Final = ATOMS | {str, bytes, date, datetime, time, timedelta, Decimal, UUID, ChildTimeoutType}


def is_named_tuple(cls: type) -> bool:
    """Whether a class is a NamedTuple's."""
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


def stored_key(key: object, depth: int, role: str, custom: Customs) -> object:
    """What a dict key or set element is after a round trip.

    Raises:
        Refused: if that could not be hashed.
    """
    cls = type(key)
    if cls in _KEYS or cls in custom:
        return key
    if depth >= MAX_DEPTH:
        raise Refused(f"nested deeper than {MAX_DEPTH} levels")
    if cls is tuple or cls is frozenset or is_named_tuple(cls):
        made = frozenset if cls is frozenset else tuple
        return made([stored_key(part, depth + 1, role, custom) for part in key])  # type: ignore[attr-defined]
    if isinstance(key, enum.Enum):
        return stored_key(key.value, depth, role, custom)
    raise Refused(f"{role} of type {cls.__name__}, which cannot be one when it is read back")
