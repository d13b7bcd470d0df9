"""What tells the stored forms apart: a wrapper's bytes begin with one that no msgpack begins with.

So whoever meets bytes of another codec can say what they are. Nothing else is judged by them: a codec reads its own
form, and refuses every other.
"""

from __future__ import annotations

from typing import Final

from durable_async.errors import CorruptPayload

MARK: Final = b"\xc1"
"""The one byte that msgpack never uses."""
COMPRESSED: Final = MARK + b"z"
"""Followed by a zstd frame."""
ESCAPED: Final = MARK + b"-"
"""Followed by bytes of an inner codec that begin with `MARK` themselves."""
ENCRYPTED: Final = MARK + b"e"
"""Followed by version, key id, random bytes and ciphertext; see `encrypted`."""


class Unreadable(CorruptPayload):
    """Bytes that may be sound, but are not this codec's: of another wrapper, another key, an unregistered type."""


class Opaque(str):
    """What a reader that cannot read a value shows in its place."""

    __slots__ = ()


def foreign_form(data: bytes) -> Unreadable | None:
    """The refusal of bytes that a wrapper made, by a codec that is none; None if no known one did."""
    if data.startswith(ENCRYPTED):
        return Unreadable("stored value is encrypted, and this codec has no keys: use the codec that wrote it")
    if data.startswith((COMPRESSED, ESCAPED)):
        return Unreadable("stored value is compressed, and this codec does not read that: use the codec that wrote it")
    return None
