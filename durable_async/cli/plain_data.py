"""Runs and payloads as data that JSON can hold without changing it: what JSON lacks becomes text."""

from __future__ import annotations

import base64
import dataclasses
import enum
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from durable_async.shapes import RunTree


def to_json(value: object) -> bytes:
    """One line of JSON, without its end."""
    return orjson.dumps(plain(value))


def plain(value: Any) -> Any:
    """`value` in JSON's types.

    Text becomes: integers beyond 64 bits, NaN and the infinities, Decimal, UUID, dates (ISO 8601), bytes (base64), and
    keys that are none. A timedelta becomes seconds, a set a list, an Enum its value, an object with fields a dict.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.name if type(value.value) is object else plain(value.value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return _container(value)


def _container(value: Any) -> Any:
    if isinstance(value, RunTree):
        return {**plain(value.run), "children": [plain(child) for child in value.children]}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    for method in ("model_dump", "__struct_fields__"):
        found = getattr(value, method, None)
        if callable(found):
            return plain(found())
        if found is not None:
            return {name: plain(getattr(value, name)) for name in found}
    return repr(value)


def _key(key: Any) -> str:
    data = plain(key)
    return data if isinstance(data, str) else orjson.dumps(data).decode()
