"""Whatever stands in the store, decoding gives a value or CorruptPayload, and takes little memory."""

from __future__ import annotations

import contextlib
import pickle
import struct
import tracemalloc

import msgpack  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_async.codec import MsgpackCodec
from durable_async.codec.base import HARD_LIMIT
from durable_async.errors import CorruptPayload

codec = MsgpackCodec()
RICH = codec.encode(
    {"a": [1, 2.5, "text", b"bytes", None, True, (1, {2}), {3: 4}, 2**70] * 3, "long": "x" * 300}, limit=1 << 20
)


def corrupt(data: object, text: str = "") -> None:
    with pytest.raises(CorruptPayload) as caught:
        codec.decode(data)  # type: ignore[arg-type]
    assert text in str(caught.value)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: RICH[:-30] + tail))
@example(b"\xd8\x06" + struct.pack(">qq", 2**62, 0))
@example(b"\xd8\x06" + struct.pack(">qq", 0, 2**62))
@example(b"\xd6\x07\xff\xff\xff\xff")
def test_65_any_bytes_give_a_value_or_corrupt_payload(data: bytes) -> None:
    with contextlib.suppress(CorruptPayload):
        codec.decode(data)


@given(st.integers(0, 127), st.binary(max_size=40))
def test_65_any_extension_gives_a_value_or_corrupt_payload(code: int, body: bytes) -> None:
    with contextlib.suppress(CorruptPayload):
        codec.decode(msgpack.packb([msgpack.ExtType(code, body)]))


@given(st.integers(0, len(RICH) - 1), st.integers(0, 255))
def test_65_one_byte_changed(position: int, byte: int) -> None:
    with contextlib.suppress(CorruptPayload):
        codec.decode(RICH[:position] + bytes([byte]) + RICH[position + 1 :])


def test_65_truncated_at_each_offset_and_followed_by_more() -> None:
    for end in range(len(RICH)):
        corrupt(RICH[:end])
    corrupt(RICH + b"\xc0")
    corrupt(b"\xc0\xc0")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x05\xf5\xe1\x00" + b"\xc0" * 100,
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 1024 + b"\xc0",
        b"\x91" * 1025 + b"\xc0",
        b"\x91" * 100_000 + b"\xc0",
        b"\x91" * 65 + b"\xc0",
        b"\x81\xa1a" * 65 + b"\xc0",
        b"\xd4\xff\x00",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xd4\x63\x00",
        b"\xa2\xff\xfe",
        b"\xa3\xed\xa0\x80",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\x81\xc0\x02",
    ],
    ids=lambda data: data[:8].hex() or "empty",
)
def test_65_the_list(data: bytes) -> None:
    corrupt(data)


def ext(code: int, body: bytes) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, body)))


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (1, b"\xc0"),
        (1, b""),
        (1, b"\x90\xc0"),
        (2, b"\x91\x90"),
        (2, b"\x92\x01\x01"),
        (3, b"\x91\x80"),
        (4, b"\x91\x01"),
        (4, b"\x92\x90\x01"),
        (4, b"\x94\x01\x02\x01\x03"),
        (4, b"\x94\x01\x02\xc3\x03"),
        (5, b"\x01"),
        (5, b""),
        (5, b"\x00" * 12 + b"\x01" + b"\x00" * 9),
        (6, b"\x00" * 15),
        (6, struct.pack(">qq", -1, 0)),
        (6, struct.pack(">qq", 0, 86_400_000_000)),
        (7, b"\x00" * 4),
        (7, b"\x00" * 3),
        (8, struct.pack(">Q", 86_400_000_000)),
        (9, struct.pack(">iII", 0, 86_400, 0)),
        (9, struct.pack(">iII", 2**31 - 1, 0, 0)),
        (10, b"1_0"),
        (10, b"abc"),
        (10, b""),
        (10, "\u0661".encode()),
        (11, b"\x00" * 15),
        (12, b"x"),
        (13, b""),
        (100, b""),
    ],
)
def test_65_extensions_have_one_layout(code: int, body: bytes) -> None:
    corrupt(ext(code, body))
    corrupt(b"\x91" + ext(code, body))


def test_65_duplicate_text_keys_give_the_last() -> None:
    assert codec.decode(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"a": 1}),
        pickle.dumps(1, 0),
        b'{"a": 1}',
        b"[1, 2]",
        b"a: 1\n",
        b"---\n- 1\n",
        b"null",
        b"\x28\xb5\x2f\xfd",
    ],
)
def test_71_other_formats_are_refused_never_sniffed(data: bytes) -> None:
    corrupt(data)


@pytest.mark.parametrize("data", [None, "text", bytearray(b"\xc0"), memoryview(b"\xc0"), 1])
def test_what_is_not_bytes_is_refused(data: object) -> None:
    corrupt(data, "not bytes")


def test_more_bytes_than_the_limit_are_refused_unread() -> None:
    corrupt(b"\xc6" + struct.pack(">I", HARD_LIMIT) + b"\x00" * HARD_LIMIT, "the limit is")
    assert codec.decode(b"\xa3abc", limit=4) == "abc"
    with pytest.raises(CorruptPayload):
        codec.decode(b"\xa3abc", limit=3)


def peak(data: bytes, limit: int) -> int:
    tracemalloc.start()
    try:
        with contextlib.suppress(CorruptPayload):
            codec.decode(data, limit=limit)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


EMPTY_ARRAYS = b"\xdd" + struct.pack(">I", 4_000_000 - 5) + b"\x90" * (4_000_000 - 5)


def test_27_four_megabytes_of_empty_arrays_stay_small() -> None:
    assert peak(EMPTY_ARRAYS, HARD_LIMIT) < 1_000_000
    assert peak(EMPTY_ARRAYS, 4_000_000) < 64_000_000
    with pytest.raises(CorruptPayload, match="more than 250000 containers"):
        codec.decode(EMPTY_ARRAYS, limit=4_000_000)


def array(count: int, item: bytes) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + item * count


@pytest.mark.parametrize(
    "item",
    [
        b"\x90",
        b"\x80",
        ext(2, b"\x90"),
        b"\x81\xa0\xc0",
        ext(1, b"\x91\xc0"),
        ext(10, b"1"),
        b"\xa2ab",
        b"\x91\x90",
        b"\xcb" + b"\x01" * 8,
    ],
    ids=lambda item: item.hex(),
)
def test_27_no_payload_takes_more_than_fifty_times_its_limit(item: bytes) -> None:
    data = array((HARD_LIMIT - 5) // len(item), item)
    assert peak(data, HARD_LIMIT) < 50 * HARD_LIMIT


def test_27_headers_that_claim_what_never_comes() -> None:
    for count in (4, 60, 64):
        claims = (b"\xdd" + struct.pack(">I", 2_000_000)) * count
        assert peak(claims + b"\xa5" * (2_000_000 - 5 * count), HARD_LIMIT) < 10_000_000
        small = (b"\xdc" + struct.pack(">H", 4000)) * count
        assert peak(small + b"\xc0" * (4000 - 3 * count), HARD_LIMIT) < 10_000_000


def test_27_nested_tuples_are_not_copied_without_end() -> None:
    body = b"\xc6" + struct.pack(">I", 2_000_000) + b"\x00" * 2_000_000
    for _ in range(60):
        inner = b"\x91" + body
        body = b"\xc9" + struct.pack(">IB", len(inner), 1) + inner
    assert peak(body, HARD_LIMIT) < 20 * HARD_LIMIT
    corrupt(body, "nested tuples")


def test_no_message_quotes_the_bytes() -> None:
    with pytest.raises(CorruptPayload) as caught:
        codec.decode(ext(10, b"hunter2"))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
