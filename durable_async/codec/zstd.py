"""Compression of payloads. Needs Python 3.14 or the extra `zstd`, when a `Zstd` is made and not before.

What is smaller than `min_size`, or does not shrink, is stored as the inner codec gave it, without any mark. So a store
can be changed over at any time: readers first, then writers.

A bomb inflates to nothing: a frame says its size in its header, and one that says more than the reader's limit, or does
not say, is refused before it is touched; so is one that asks for a larger window than its content can need.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from durable_async.codec.base import HARD_LIMIT, Codec, Wrapper
from durable_async.codec.envelope import COMPRESSED, ENCRYPTED, ESCAPED, MARK
from durable_async.codec.msgpack_codec import MsgpackCodec
from durable_async.errors import ConfigurationError, CorruptPayload

LEVEL: Final = 3
MIN_SIZE: Final = 1024


def _library() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigurationError('Zstd needs a library that is not installed: pip install "durable-async[zstd]"')


class Zstd(Wrapper):
    """Compresses what another codec encodes, if it is large enough and shrinks.

    To encrypt as well, encrypt what was compressed: ``Encrypted(Zstd(MsgpackCodec()), keys)``. The other order is
    refused, because ciphertext does not shrink. Whoever sees the length of compressed secrets learns something about
    them; where outsiders choose part of a payload and secrets are in the same one, leave compression out.

    Args:
        codec: what is wrapped; by default `MsgpackCodec()`.
        level: how hard to try, from -7 (fast) to 22 (slow); 3 is a good start.
        min_size: bytes below which a value is stored as it is.

    Raises:
        ConfigurationError: if the library is missing, an argument makes no sense, or `codec` compresses or encrypts.
    """

    __slots__ = ("_compressors", "_level", "_min_size", "_zstd")

    def __init__(self, codec: Codec | None = None, *, level: int = LEVEL, min_size: int = MIN_SIZE) -> None:
        super().__init__(MsgpackCodec() if codec is None else codec)
        _refuse_order(self)
        self._zstd = _library()
        low, high = -7, self._zstd.CompressionParameter.compression_level.bounds()[1]
        if type(level) is not int or not low <= level <= high:
            raise ConfigurationError(f"Zstd(level=) must be an int from {low} to {high}")
        if type(min_size) is not int or min_size < 0:
            raise ConfigurationError("Zstd(min_size=) must be a number of bytes")
        self._level = level
        self._min_size = min_size
        # A compressor costs more to make than most payloads to compress, and serves one call at a time: list.pop and
        # list.append are atomic, so a list is pool enough.
        self._compressors: list[Any] = []

    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """See `Codec.encode`; `limit` is about the bytes before compression."""
        data = self.inner.encode(value, limit=limit, what=what)
        if len(data) >= self._min_size:
            packed = self._compress(data)
            if len(packed) + len(COMPRESSED) < len(data):
                return COMPRESSED + packed
        return ESCAPED + data if data[:1] == MARK else data

    def _compress(self, data: bytes) -> bytes:
        zstd = self._zstd
        try:
            compressor = self._compressors.pop()
        except IndexError:
            options = {
                zstd.CompressionParameter.compression_level: self._level,
                zstd.CompressionParameter.checksum_flag: 1,
            }
            compressor = zstd.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(len(data))
        packed: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
        if len(self._compressors) < 8:
            self._compressors.append(compressor)
        return packed

    def decode(self, data: bytes, *, limit: int = HARD_LIMIT) -> object:
        """See `Codec.decode`."""
        if type(data) is bytes and data[:1] == MARK:
            if data.startswith(COMPRESSED):
                data = self._inflate(data[len(COMPRESSED) :], limit)
            elif data.startswith(ESCAPED):
                data = data[len(ESCAPED) :]
            elif not data.startswith(ENCRYPTED):  # that the inner codec can name
                raise CorruptPayload("stored value is neither compressed nor plain")
        return self.inner.decode(data, limit=limit)

    def _inflate(self, frame: bytes, limit: int) -> bytes:
        zstd = self._zstd
        if len(frame) > limit:
            raise CorruptPayload(f"stored value has {len(frame)} bytes, the limit is {limit}")
        try:
            size = zstd.get_frame_info(frame).decompressed_size
            if size is None or size > limit:
                said = "an unknown number of" if size is None else f"{size}"
                raise CorruptPayload(f"stored value would inflate to {said} bytes, the limit is {limit}")
            window = {zstd.DecompressionParameter.window_log_max: min(max(limit.bit_length(), 10), 30)}
            decompressor = zstd.ZstdDecompressor(options=window)
            inflated: bytes = decompressor.decompress(frame, max_length=size + 1)
            is_whole = decompressor.eof and not decompressor.unused_data and len(inflated) == size
        except zstd.ZstdError:
            raise CorruptPayload("stored value cannot be inflated: it is damaged") from None
        if not is_whole:
            raise CorruptPayload("stored value cannot be inflated: it is cut off or followed by more data")
        return inflated


def _refuse_order(wrapper: Zstd) -> None:
    _, *inner = wrapper.layers()
    for codec in inner:
        if isinstance(codec, Zstd):
            raise ConfigurationError("Zstd(Zstd(...)): compressing twice gains nothing")
        if isinstance(codec, Wrapper) and codec.hides:
            raise ConfigurationError(
                f"Zstd({type(codec).__name__}(...)): ciphertext does not shrink; compress first: "
                f"{type(codec).__name__}(Zstd(...), keys)"
            )
