"""Flat lists for scripts on the server.

The server's own msgpack reader, which its scripts use, knows strings but no type for bytes: both go as strings here.
Values that people stored are never packed this way; see `msgpack_codec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgpack import Packer, unpackb  # type: ignore[import-untyped, unused-ignore]

_packer = Packer(use_bin_type=False)


def pack_flat(values: Sequence[str | bytes | int]) -> bytes:
    """One argument of a script that holds many values, for ``cmsgpack.unpack``.

    Raises:
        TypeError: if a value is none of the three types. (An int must fit a double: the script makes it one.)
    """
    packed: Any = _packer.pack(values)
    return bytes(packed)


def unpack_flat(packed: bytes) -> list[bytes | Literal[False]]:
    """The values of a list that a script has packed; False where it found none.

    Raises:
        ValueError: if it is no such list.
    """
    values: Any = unpackb(packed, raw=True)
    if not isinstance(values, list):
        raise ValueError("not a list")
    return values
