"""What a codec is: values to bytes and back, within limits, plus the fingerprint of a value.

A codec knows bytes and plain values only: not where they are stored, not what annotation the reader has. Wrappers
(compression, encryption) implement `Codec` around another one and inherit `Codec.fingerprint`, which never depends on
the stored form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from durable_async.codec import lowering

HARD_LIMIT: Final = 2 * 1024 * 1024
"""Bytes that `Codec.decode` accepts unless told otherwise: twice the default payload limit."""


class Codec(ABC):
    """Turns values into bytes and back. Stateless towards its caller: safe to share between tasks and threads."""

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
            limit: bytes that are accepted, before decompression is even tried.

        Raises:
            CorruptPayload: if the bytes are not what `encode` returns, whatever is wrong with them.
        """

    def fingerprint(self, value: object) -> bytes:
        """16 bytes that are equal for equal inputs, in every process and Python version.

        The order of dict keys and of set elements does not matter; types do: 1, 1.0 and True differ, as do a list and a
        tuple. A dataclass has the fingerprint of the plain data it is stored as. Not keyed, and not a secret: who may
        guess the value may confirm the guess.

        Raises:
            NotSerializable, PayloadTooLarge: as `encode`, with a limit of 256 MiB.
        """
        return lowering.fingerprint(value)
