"""Types of the user's that are stored by functions of the user's.

A registered type is known in stored bytes by its tag, and comes back as itself without an annotation. What is made of a
tag is decided by the codec that reads, never by the bytes: a tag that is not registered is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, TypeVar

from durable_async.checking import check_name
from durable_async.codec import lowering
from durable_async.errors import ConfigurationError, CorruptPayload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CustomType(Generic[T]):
    """How a type that is not storable by itself is stored: `MsgpackCodec(types=[CustomType(Money, to=..., of=...)])`.

    Values whose type is exactly `cls` are stored as their tag and what `to` makes of them, wherever they are in a
    value, dict keys and set elements included if they can be hashed. They come back through `of`, without an
    annotation.

    Both functions are pure, quick, and do no I/O. What they raise is a `NotSerializable` where the value was given and
    a `CorruptPayload` where it is read; the text of their exceptions is not kept.
    """

    cls: type[T]
    """The type; a subclass of it is another type. Not one that is stored as itself already, such as ``datetime``."""
    _: KW_ONLY
    to: Callable[[T], object]
    """Makes data of a value: anything that can be stored, other registered types included."""
    of: Callable[[Any], T]
    """Makes a value of the data, as plain data: what `to` gave as a dataclass comes as a dict."""
    tag: str = ""
    """Names the type in the store, for ever; by default the class's name. The grammar is that of ids."""

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type):
            raise ConfigurationError(f"CustomType takes a class, not {type(self.cls).__name__}")
        name = self.cls.__name__
        if lowering.is_builtin(self.cls):
            raise ConfigurationError(f"{name} is stored as itself: it cannot be a CustomType")
        if not callable(self.to) or not callable(self.of):
            raise ConfigurationError(f"CustomType({name}): to and of must be functions")
        if self.tag == "":
            object.__setattr__(self, "tag", name)
        try:
            check_name(self.tag, f"the tag of CustomType({name})")
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    def read(self, data: object) -> T:
        """The value of stored data.

        Raises:
            CorruptPayload: if `of` raises, or makes something else.
        """
        try:
            value = self.of(data)
        except Exception as error:  # noqa: BLE001  (the user's code; its text may quote the data)
            raise CorruptPayload(f"custom type {self.tag!r}: its `of` raised {type(error).__name__}") from None
        if type(value) is not self.cls:
            made = type(value).__name__
            raise CorruptPayload(f"custom type {self.tag!r}: its `of` returned {made}, not {self.cls.__name__}")
        return value


def by_class(types: Iterable[CustomType[Any]]) -> dict[type, CustomType[Any]]:
    """Registered types by their class.

    Raises:
        ConfigurationError: if something is none, or a class or a tag occurs twice.
    """
    found: dict[type, CustomType[Any]] = {}
    tags: set[str] = set()
    for custom in types:
        if not isinstance(custom, CustomType):
            raise ConfigurationError(f"types must hold CustomType(...), not {type(custom).__name__}")
        if custom.cls in found or custom.tag in tags:
            raise ConfigurationError(f"custom type {custom.tag!r} ({custom.cls.__name__}) is registered twice")
        found[custom.cls] = custom
        tags.add(custom.tag)
    return found
