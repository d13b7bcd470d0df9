"""What a codec is: values to bytes and back, within limits, plus the fingerprint of a value.

A codec knows bytes and plain values only: not where they are stored, not what annotation the reader has. Wrappers
(compression, encryption) are codecs around another one, see `Wrapper`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from durable_async.codec import lowering
from durable_async.errors import ConfigurationError

HARD_LIMIT: Final = 2 * 1024 * 1024
"""Bytes that `Codec.decode` accepts unless told otherwise: twice the default payload limit."""

PIECE: Final = 16
"""Bytes of one piece of a fingerprint."""


class Codec(ABC):
    """Turns values into bytes and back. Stateless towards its caller: safe to share between tasks and threads.

    For codecs of your own: all of it is synchronous and must do no I/O; it is called on the worker's loop, and again
    for what a replay meets. The same value need not have the same bytes twice. What is raised beside the errors named
    here blocks a run.
    """

    unchanging: frozenset[type] = frozenset()
    """Types whose own instances (not those of subclasses) `decode` gives back as they were: what has just been encoded
    need not be decoded to know what its readers will have."""

    @abstractmethod
    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """The stored form of `value`.

        Args:
            value: builtin data, dataclasses, models, structs, enums, or containers of those.
            limit: bytes that the encoded value may have, before compression and encryption.
            what: the name of the root in error messages, such as ``order``.

        Raises:
            NotSerializable: if a part has a type that cannot be stored; the message starts with its path.
            PayloadTooLarge: if the encoded value has more than `limit` bytes, or too many parts to be read back.
        """

    @abstractmethod
    def decode(self, data: bytes, *, limit: int = HARD_LIMIT) -> object:
        """The value that `encode` was given, as plain data (see `durable_async.codec.convert`).

        Args:
            data: any bytes at all; they are not trusted.
            limit: bytes that the encoded value may have; of compressed ones, never more are inflated.

        Raises:
            CorruptPayload: if the bytes are not what `encode` returns, whatever is wrong with them.
        """

    def fingerprint(self, value: object) -> bytes:
        """16 bytes that are equal for equal inputs, in every process and Python version; compared by `is_same_input`.

        The order of dict keys and of set elements does not matter; types do: 1, 1.0 and True differ, as do a list and a
        tuple. A dataclass has the fingerprint of the plain data it is stored as. Not keyed, and not a secret: who may
        guess the value may confirm the guess.

        Raises:
            NotSerializable, PayloadTooLarge: as `encode`, with a limit of 256 MiB.
        """
        return lowering.fingerprint(value)


class Wrapper(Codec):
    """A codec that changes the bytes of another one, `inner`.

    `limit` is about what `inner` encodes, so it is passed on unchanged. Fingerprints do not depend on the stored form.
    """

    __slots__ = ("inner",)
    hides = False
    """Whether the bytes look random: they cannot be compressed."""

    def __init__(self, inner: Codec) -> None:
        if not isinstance(inner, Codec):
            raise ConfigurationError(
                f"{type(self).__name__} wraps a Codec, such as MsgpackCodec(), not {type(inner).__name__}"
            )
        self.inner = inner

    def fingerprint(self, value: object) -> bytes:
        """See `Codec.fingerprint`."""
        return self.inner.fingerprint(value)

    def layers(self) -> Iterator[Codec]:
        """This codec and those inside of it, from the outside in."""
        codec: Codec = self
        while isinstance(codec, Wrapper):
            yield codec
            codec = codec.inner
        yield codec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"


def is_same_input(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints are of equal inputs.

    A codec with several keys gives one piece of 16 bytes for each, so that processes which are not on the same keys yet
    agree: one common piece is enough.
    """
    if one == other:
        return True
    if len(one) <= PIECE and len(other) <= PIECE:
        return False
    pieces = {one[at : at + PIECE] for at in range(0, len(one) - PIECE + 1, PIECE)}
    return any(other[at : at + PIECE] in pieces for at in range(0, len(other) - PIECE + 1, PIECE))
