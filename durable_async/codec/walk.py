"""What one walk over a live value carries along: its budgets, and the refusals it makes."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from durable_async.codec.paths import Misfit
from durable_async.codec.scan import MAX_DEPTH, max_copied, max_parts
from durable_async.errors import NotSerializable, PayloadTooLarge

ATOMS: Final = frozenset({type(None), bool, int, float})
"""Types that are packed as they are and cost next to nothing."""
CANONICAL_ATOMS: Final = ATOMS - {float}


class Refused(Misfit):
    """A part cannot be stored; `error` is what the caller gets."""

    def __init__(self, reason: str, error: type[Exception] = NotSerializable) -> None:
        super().__init__(reason)
        self.error = error


class Custom(Protocol):
    """How values of one registered type are stored (see `durable_async.CustomType`)."""

    @property
    def tag(self) -> str:
        """What names the type in stored bytes."""
        ...

    @property
    def to(self) -> Callable[[Any], object]:
        """Makes data of a value."""
        ...


Customs = Mapping[type, Custom]
NO_CUSTOMS: Final[Customs] = types.MappingProxyType({})


class Walk:
    """What one walk carries along."""

    canonical = False
    """Whether equal values must have equal bytes: dict keys are sorted, NaNs unified."""
    atoms = ATOMS
    is_plain = True
    """Whether no type was met that needs an annotation to come back."""
    in_model = False
    custom: Customs = NO_CUSTOMS
    size = 0
    copied = 0

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts = max_parts(limit)

    def enter(self, depth: int, size: int) -> None:
        """Count one container of at least `size` bytes, before its parts are walked.

        The number bounds containers that hold one another many times: they would grow without end in the bytes.
        """
        self.parts -= 1
        self.size += size
        if depth < MAX_DEPTH and self.parts >= 0 and self.size <= self.limit:
            return
        if depth >= MAX_DEPTH:
            raise Refused(f"nested deeper than {MAX_DEPTH} levels, or inside itself")
        if self.parts < 0:
            raise Refused(f"more than {max_parts(self.limit)} containers", PayloadTooLarge)
        self.grow(0)

    def grow(self, size: int) -> None:
        """Count `size` more bytes (a lower bound: a str has at least one byte a character)."""
        self.size += size
        if self.size > self.limit:
            raise Refused(f"at least {self.size} bytes, the limit is {self.limit}", PayloadTooLarge)

    def copy(self, size: int) -> None:
        """Count the body of a nested container, of which `scan.check` allows only so many bytes."""
        self.copied += size
        if self.copied > max_copied(self.limit):
            raise Refused("too much data in nested tuples, sets or dicts with keys other than str", PayloadTooLarge)


class CanonicalWalk(Walk):
    """A walk that gives equal values equal bytes, for fingerprints."""

    canonical = True
    atoms = CANONICAL_ATOMS


_HINTS: Final[dict[type, str]] = {
    bytearray: "bytearray; pass bytes",
    memoryview: "memoryview; pass bytes",
    types.CoroutineType: "coroutine; await it and store what it returns",
    types.GeneratorType: "generator; store a list of what it yields",
    types.AsyncGeneratorType: "async generator; store a list of what it yields",
    types.FunctionType: "function; store data, and let code be code",
    types.BuiltinFunctionType: "function; store data, and let code be code",
    types.MethodType: "method; store data, and let code be code",
}
STRICT: Final = (
    str,
    int,
    float,
    bytes,
    dict,
    list,
    tuple,
    set,
    frozenset,
    datetime,
    date,
    time,
    timedelta,
    Decimal,
    UUID,
)


def why_not(cls: type) -> str:
    """Why a type cannot be stored, and what to do instead."""
    if cls in _HINTS:
        return _HINTS[cls]
    for base in STRICT:
        if issubclass(cls, base):
            return f"{cls.__name__}, a subclass of {base.__name__} that would come back as another type; convert it"
    return (
        f"{cls.__module__}.{cls.__qualname__} cannot be stored; store plain data, a dataclass or a model, "
        "or register a CustomType with the codec"
    )
