"""What the command line shows of payloads that it has neither code nor keys for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from durable_async import CorruptPayload, CustomType, Encrypted, MsgpackCodec, Zstd
from durable_async.codec import Opaque, PeekCodec, pack_failure, unpack_failure
from durable_async.engine.failures import pack_error, unpack_error
from durable_async.errors import ErrorInfo

LIMIT = 1 << 20
SECRET = "S3CR3T"
peek = PeekCodec()


def test_plain_and_compressed_values() -> None:
    value = {"a": [1, (2, {3})], "long": "x" * 5000}
    for codec in (MsgpackCodec(), Zstd()):
        assert peek.decode(codec.encode(value, limit=LIMIT)) == value


def test_encrypted_values_and_errors() -> None:
    codec = Encrypted([b"k" * 32])
    shown = peek.decode(codec.encode(SECRET, limit=LIMIT))
    assert isinstance(shown, Opaque) and shown == "(encrypted)"
    assert unpack_error(pack_error(ErrorInfo("E", SECRET), codec), peek) == ErrorInfo("Unreadable", "(encrypted)")
    failure = pack_failure(ValueError(SECRET), codec=codec)
    assert unpack_failure(failure, (ValueError,), codec=peek) == (None, ErrorInfo("Unreadable", "(encrypted)"))


def test_custom_types() -> None:
    custom = CustomType(complex, to=lambda c: [c.real, c.imag], of=lambda d: complex(*d))
    for wrap in (lambda c: c, Zstd):
        data = wrap(MsgpackCodec([custom])).encode({"z": (1 + 2j,), "long": "x" * 5000}, limit=LIMIT)
        assert peek.decode(data)["z"] == ({"complex": [1.0, 2.0]},)  # type: ignore[index]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Zstd().encode("x" * 5000, limit=LIMIT)
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert isinstance(peek.decode(data), Opaque)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\xc1z", b"\xc1zxx", b"\xc1?", b"\xc1-", b"\xd5\x0d\x91\x01", b"\x91"])
def test_damaged_bytes(data: Any) -> None:
    with pytest.raises(CorruptPayload):
        peek.decode(data)
