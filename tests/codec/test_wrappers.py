"""Compression and encryption: round trips, orders, keys, hostile bytes. No test compares a time."""

from __future__ import annotations

import base64
import contextlib
import copy
import itertools
import os
import pickle
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_async import Codec, ConfigurationError, CorruptPayload, Encrypted, MsgpackCodec, PayloadTooLarge, Zstd
from durable_async.codec import Unreadable, Wrapper, is_same_input, roundtrip
from durable_async.codec.zstd import _library

LIMIT = 1 << 20
OLD, NEW = Encrypted.new_key(), Encrypted.new_key()
PLAIN = MsgpackCodec()
SECRET = "S3CR3T-in-a-payload"
VALUE = {"text": SECRET * 200, "numbers": list(range(300)), "pair": (1, {2, 3})}
zstd = _library()
CODECS: dict[str, Codec] = {
    "zstd": Zstd(min_size=0),
    "encrypted": Encrypted([OLD]),
    "both": Encrypted(Zstd(min_size=0), {"old": OLD, "new": NEW}),
}
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def refused(codec: Codec, data: object, *texts: str, limit: int = LIMIT) -> CorruptPayload:
    with pytest.raises(CorruptPayload) as caught:
        codec.decode(data, limit=limit)  # type: ignore[arg-type]
    message = str(caught.value)
    assert SECRET not in message and SECRET not in repr(caught.value.__context__)
    for text in texts:
        assert text in message
    return caught.value


@every_codec
@given(value=values)
def test_what_is_stored_comes_back(codec: Codec, value: object) -> None:
    data = codec.encode(value, limit=LIMIT)
    got = codec.decode(data, limit=LIMIT)
    assert got == value
    assert type(got) is type(value)


@every_codec
def test_rich_values_come_back(codec: Codec) -> None:
    data = codec.encode(VALUE, limit=LIMIT)
    assert codec.decode(data) == VALUE
    assert SECRET.encode() * 2 not in data
    assert roundtrip(codec, VALUE, Any)[1] == VALUE


@every_codec
def test_65_truncated_at_each_offset_changed_and_followed_by_more(codec: Codec) -> None:
    data = codec.encode({"text": SECRET * 30}, limit=LIMIT)
    for end in range(len(data)):
        refused(codec, data[:end])
        with contextlib.suppress(CorruptPayload):
            codec.decode(data[:end] + bytes([data[end] ^ 0x41]) + data[end + 1 :])
    refused(codec, data + b"\0")
    refused(codec, data + data)


@every_codec
@given(tail=st.binary(max_size=120))
@example(b"")
def test_65_any_bytes_behind_a_mark_give_a_value_or_corrupt_payload(codec: Codec, tail: bytes) -> None:
    for mark in (b"\xc1", b"\xc1z", b"\xc1-", b"\xc1e", b"\xc1e\x01\x03old", b"\xc1z\x28\xb5\x2f\xfd", b""):
        with contextlib.suppress(CorruptPayload):
            codec.decode(mark + tail)


@every_codec
@pytest.mark.parametrize("data", [pickle.dumps({"a": 1}), b'{"a": 1}', b"", None, "text", bytearray(b"\xc0")])
def test_71_nothing_else_is_read(codec: Codec, data: object) -> None:
    refused(codec, data)


@every_codec
def test_22_sizes_are_those_before_compression_and_encryption(codec: Codec) -> None:
    value = "x" * 1000
    size = len(PLAIN.encode(value, limit=LIMIT))
    data = codec.encode(value, limit=size)
    assert codec.decode(data, limit=size) == value
    assert roundtrip(codec, value, str, size)[1] == value
    with pytest.raises(PayloadTooLarge, match="order"):
        codec.encode(value, limit=size - 1, what="order")
    refused(codec, data, f"the limit is {size - 1}", limit=size - 1)


@every_codec
def test_fingerprints_do_not_depend_on_the_stored_form(codec: Codec) -> None:
    assert codec.fingerprint({"a": 1, "b": 2}) == codec.fingerprint({"b": 2, "a": 1})
    assert not is_same_input(codec.fingerprint(1), codec.fingerprint(True))


class TestZstd:
    def test_small_values_and_what_does_not_shrink_are_stored_as_they_are(self) -> None:
        codec = Zstd(min_size=100)
        for value in ("x" * 90, os.urandom(5000), None):
            assert codec.encode(value, limit=LIMIT) == PLAIN.encode(value, limit=LIMIT)
        assert len(codec.encode("x" * 5000, limit=LIMIT)) < 100

    def test_a_store_can_be_changed_over(self) -> None:
        assert Zstd().decode(PLAIN.encode(VALUE, limit=LIMIT)) == VALUE
        with pytest.raises(Unreadable, match="compressed"):
            PLAIN.decode(Zstd().encode(VALUE, limit=LIMIT))

    def test_bytes_of_an_inner_codec_that_look_like_ours(self) -> None:
        class Odd(Wrapper):
            def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
                return b"\xc1z" + self.inner.encode(value, limit=limit, what=what)

            def decode(self, data: bytes, *, limit: int = LIMIT) -> object:
                return self.inner.decode(data[2:], limit=limit)

        codec = Zstd(Odd(PLAIN))
        for value in (1, "x" * 5000):
            assert codec.decode(codec.encode(value, limit=LIMIT)) == value

    @pytest.mark.parametrize("size", [LIMIT + 1, 1 << 30])
    def test_72_a_bomb_is_refused_before_it_is_inflated(self, size: int) -> None:
        bomb = b"\xc1z" + zstd.compress(bytes(size))
        tracemalloc.start()
        refused(Zstd(), bomb, f"would inflate to {size} bytes", limit=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_72_a_frame_that_lies_or_says_nothing(self) -> None:
        compressor = zstd.ZstdCompressor()
        silent = compressor.compress(bytes(5000)) + compressor.flush()
        refused(Zstd(), b"\xc1z" + silent, "an unknown number")
        honest = zstd.compress(bytes(300))
        assert zstd.get_frame_info(honest).decompressed_size == 300
        at = honest.index((300 - 256).to_bytes(2, "little"), 4)
        for said in (1, 299, 301, 60_000):
            lie = honest[:at] + (said - 256 & 0xFFFF).to_bytes(2, "little") + honest[at + 2 :]
            refused(Zstd(), b"\xc1z" + lie)

    def test_72_a_bad_checksum(self) -> None:
        data = Zstd(min_size=0).encode("x" * 400, limit=LIMIT)
        refused(Zstd(), data[:-1] + bytes([data[-1] ^ 1]), "damaged")

    def test_72_a_window_larger_than_any_content(self) -> None:
        options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 1}
        compressor = zstd.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(10_000_000)
        frame = compressor.compress(bytes(10_000_000), compressor.FLUSH_FRAME)
        refused(Zstd(), b"\xc1z" + frame, "would inflate")

    @pytest.mark.parametrize("options", [{"level": 23}, {"level": True}, {"level": "3"}, {"min_size": -1}])
    def test_bad_settings(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            Zstd(**options)

    def test_orders_that_make_no_sense(self) -> None:
        for inner, text in ((Encrypted([OLD]), "ciphertext does not shrink"), (Zstd(), "twice")):
            with pytest.raises(ConfigurationError, match=text):
                Zstd(inner)
        with pytest.raises(ConfigurationError, match="wraps a Codec"):
            Zstd(3)  # type: ignore[arg-type]


class TestEncrypted:
    def test_equal_values_differ_in_the_store(self) -> None:
        codec = Encrypted([OLD])
        assert len({codec.encode(VALUE, limit=LIMIT) for _ in range(50)}) == 50

    def test_rotation(self) -> None:
        before, reads, writes, after = (
            Encrypted({id: {"old": OLD, "new": NEW}[id] for id in ids})
            for ids in (["old"], ["old", "new"], ["new", "old"], ["new"])
        )
        order = (before, reads, writes, after)
        for one, other in itertools.pairwise(order):
            # Neighbours are in production at the same time.
            assert is_same_input(one.fingerprint(VALUE), other.fingerprint(VALUE))
            assert not is_same_input(one.fingerprint(VALUE), other.fingerprint(SECRET))
        for writer in (before, reads):
            for reader in (before, reads, writes):
                assert reader.decode(writer.encode(VALUE, limit=LIMIT)) == VALUE
        for reader in (reads, writes, after):
            assert reader.decode(writes.encode(VALUE, limit=LIMIT)) == VALUE
        error = refused(after, before.encode(VALUE, limit=LIMIT), "key 'old'", "has new")
        assert isinstance(error, Unreadable)

    def test_ids_made_of_keys(self) -> None:
        codec = Encrypted([NEW, OLD])
        assert codec.decode(Encrypted([OLD]).encode(1, limit=LIMIT)) == 1
        error = refused(Encrypted([OLD]), codec.encode(1, limit=LIMIT), "is encrypted with key")
        assert NEW not in str(error) and OLD not in str(error)

    def test_another_key_of_the_same_name(self) -> None:
        data = Encrypted({"k": OLD}).encode(VALUE, limit=LIMIT)
        refused(Encrypted({"k": NEW}), data, "does not fit key 'k'")

    def test_each_part_is_authenticated(self) -> None:
        codec = Encrypted({"one": OLD, "two": NEW})
        data = codec.encode(VALUE, limit=LIMIT)
        for at in range(len(data)):
            refused(codec, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        refused(codec, data.replace(b"one", b"two", 1), "does not fit key 'two'")
        refused(codec, data.replace(b"one", b"\xff\n\x1b", 1), "'(no name)'")

    def test_context(self) -> None:
        data = Encrypted([OLD], context=b"staging").encode(VALUE, limit=LIMIT)
        assert Encrypted([OLD], context=b"staging").decode(data) == VALUE
        refused(Encrypted([OLD], context=b"production"), data, "does not fit")
        refused(Encrypted([OLD]), data, "does not fit")

    def test_plain_values_are_refused_unless_asked_for(self) -> None:
        data = PLAIN.encode(VALUE, limit=LIMIT)
        refused(Encrypted([OLD]), data, "is not encrypted")
        assert Encrypted([OLD], reads_plain=True).decode(data) == VALUE
        while_changing = Encrypted([OLD], reads_plain=True).fingerprint(VALUE)
        assert is_same_input(while_changing, PLAIN.fingerprint(VALUE))
        assert is_same_input(while_changing, Encrypted([OLD]).fingerprint(VALUE))
        assert not is_same_input(Encrypted([OLD]).fingerprint(VALUE), PLAIN.fingerprint(VALUE))

    def test_other_codecs_say_what_they_met(self) -> None:
        data = Encrypted([OLD]).encode(VALUE, limit=LIMIT)
        assert isinstance(refused(PLAIN, data, "is encrypted", "has no keys"), Unreadable)
        assert isinstance(refused(Zstd(), data, "is encrypted", "has no keys"), Unreadable)
        refused(Encrypted([OLD]), Zstd().encode(VALUE, limit=LIMIT), "is compressed")

    def test_a_bomb_inside(self) -> None:
        raw = zstd.compress(bytes(1 << 28))

        class Bomb(MsgpackCodec):
            def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
                return b"\xc1z" + raw

        data = Encrypted(Bomb(), [OLD]).encode(None, limit=LIMIT)
        refused(Encrypted(Zstd(), [OLD]), data, "would inflate")

    KEYS: tuple[Any, ...] = (
        "hunter2", b"hunter2", b"x" * 31, "A" * 44, 5, None, [], {}, "", {"k": ""}, {"k": "hunter2"}, [OLD, OLD],
        {"a": OLD, "b": base64.b64decode(OLD.replace("-", "+").replace("_", "/"))}, {"a b": OLD}, {"": OLD}, {3: OLD},
        [bytes([n]) * 32 for n in range(17)], {OLD},
    )  # fmt: skip

    @pytest.mark.parametrize("keys", KEYS, ids=range(len(KEYS)))
    def test_bad_keys_are_refused_and_not_shown(self, keys: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Encrypted(PLAIN, keys)
        for text in ("hunter2", OLD, "x" * 31):
            assert text not in str(caught.value)

    def test_bad_arguments(self) -> None:
        bad: list[tuple[Any, ...]] = [(), (PLAIN,), ([OLD], PLAIN), ([OLD], [NEW]), (Encrypted([OLD]), [NEW])]
        for arguments in bad[1:]:
            with pytest.raises(ConfigurationError):
                Encrypted(*arguments)
        with pytest.raises(ConfigurationError, match="context"):
            Encrypted([OLD], context="text")  # type: ignore[arg-type]

    def test_keys_are_not_shown_and_do_not_travel(self) -> None:
        codec = Encrypted(Zstd(), {"k": OLD})
        key = base64.urlsafe_b64decode(OLD)
        for text in (repr(codec), str(codec), repr([codec])):
            assert OLD not in text and repr(key)[2:-1] not in text
        assert repr(codec) == "Encrypted(Zstd(MsgpackCodec()), keys k)"
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="holds keys"):
                duplicate(codec)

    def test_new_keys(self) -> None:
        keys = {Encrypted.new_key() for _ in range(100)}
        assert len(keys) == 100
        assert {len(base64.urlsafe_b64decode(key)) for key in keys} == {32}


@pytest.mark.parametrize(
    ("made", "modules", "extra"),
    [
        ("Zstd()", "compression.zstd backports.zstd", "durable-async[zstd]"),
        ("Encrypted([b'k' * 32])", "cryptography", "durable-async[crypto]"),
    ],
)
def test_a_missing_extra_is_named(made: str, modules: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({modules.split()!r}))\n"
        "from durable_async import ConfigurationError, Encrypted, Zstd\n"
        f"try: {made}\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert extra in done.stdout, done.stderr
