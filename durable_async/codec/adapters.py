"""Plain data to annotated types: what the reader's annotation says, and nothing the store says.

Builtin types come out of the codec as themselves; classes of the user's are rebuilt here. Nothing is imported by a name
found in data: the classes that can be constructed are those in the annotation.

An annotation that holds a Pydantic model is read by Pydantic, one that holds a msgspec struct by msgspec; the rest, by
the small readers below. They are strict about scalars (a bool is no int), with these exceptions: an int fits ``float``;
ISO text fits datetime, date, time, UUID and Decimal, and a list fits tuple and set annotations, so that inputs may come
from JSON.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from durable_async.codec import readers
from durable_async.codec.base import HARD_LIMIT, Codec
from durable_async.codec.paths import Misfit, text
from durable_async.errors import InvalidInput


class Adapter:
    """Reads plain data into one annotation. Call it with a decoded value."""

    __slots__ = ("_read", "annotation")

    def __init__(self, annotation: Any, read: Callable[[object], object] | None) -> None:
        self.annotation = annotation
        self._read = read

    @property
    def is_identity(self) -> bool:
        """Whether every value is returned as it is."""
        return self._read is None

    def __call__(self, value: object, what: str = "input") -> object:
        """`value` as the annotated type. `what` names the root in the message.

        Raises:
            InvalidInput: if it does not fit; the message holds the path and the reason, never a value.
        """
        read = self._read
        if read is None:
            return value
        try:
            return read(value)
        except Misfit as misfit:
            raise InvalidInput(f"{text(what, misfit.path)}: {misfit}") from None
        except RecursionError:
            raise InvalidInput(f"{what}: nested too deeply") from None


_IDENTITY: Final = Adapter(Any, None)
_SCALARS: Final = frozenset({bool, int, float, str, bytes})

# By identity, not by equality: ``A | B == B | A``, but which is tried first is not the same. The adapter keeps its
# annotation alive, so an id is never reused while it is a key here. Plain classes, whose equality is identity, are
# their own keys: `id` is audited, and costs several times a look-up where an audit hook is installed.
_cache: dict[object, Adapter] = {}
_CACHE_SIZE: Final = 4096


def adapter_for(annotation: Any) -> Adapter:
    """The adapter of an annotation, from a cache. ``Any``, ``object`` and no annotation give the identity.

    Keep the adapter where the same annotation is used again and again.

    Raises:
        TypeError: if the annotation is text, or refers to a name that cannot be resolved.
    """
    key: object = annotation if type(annotation) is type else id(annotation)
    adapter = _cache.get(key)
    if adapter is None:
        if annotation is inspect.Parameter.empty:
            return _IDENTITY
        read = readers.reader_for(annotation)
        adapter = Adapter(annotation, None if read is readers.identity else read)
        if len(_cache) >= _CACHE_SIZE:  # annotations made anew for each call would fill it for ever
            _cache.clear()
        _cache[key] = adapter
    return adapter


def convert(value: object, annotation: Any, what: str = "input") -> object:
    """A decoded value as the annotated type.

    With no annotation, or ``Any``, the plain data is returned: a dataclass was stored as a dict and stays one.

    Args:
        value: what `Codec.decode` returned.
        annotation: a type, or anything that may stand behind a colon; resolved (see ``typing.get_type_hints``).
        what: the name of the root in error messages.

    Raises:
        InvalidInput: if the value does not fit; the message holds the path and the reason, never a value.
        TypeError: if the annotation is text, or refers to a name that cannot be resolved.
    """
    if type(value) is annotation and annotation in _SCALARS:
        return value  # as the reader would give it
    return adapter_for(annotation)(value, what)


def roundtrip(
    codec: Codec, value: object, annotation: Any, limit: int = HARD_LIMIT, what: str = "input"
) -> tuple[bytes, object]:
    """The stored bytes of a live value, and what a reader with this annotation will get.

    Raises:
        NotSerializable, PayloadTooLarge: if it cannot be stored.
        InvalidInput: if what was stored does not fit the annotation.
        TypeError: as `adapter_for`.
    """
    data = codec.encode(value, limit=limit, what=what)
    if type(value) in codec.unchanging:
        return data, convert(value, annotation, what)
    # Wrappers may make the stored form longer than the limit, which is about the encoded value.
    return data, adapter_for(annotation)(codec.decode(data, limit=max(limit + 4096, len(data))), what)
