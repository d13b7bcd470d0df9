"""A codec for looking at any store without its code and keys: the command line's."""

from __future__ import annotations

from durable_async.codec import wire
from durable_async.codec.base import HARD_LIMIT, Wrapper
from durable_async.codec.envelope import ENCRYPTED, MARK, Opaque
from durable_async.codec.msgpack_codec import MsgpackCodec
from durable_async.codec.zstd import Zstd
from durable_async.errors import ConfigurationError, CorruptPayload


class PeekCodec(Wrapper):
    """Reads what can be read: of what is encrypted it says so, and custom types are shown as ``{tag: data}``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_Plain())

    def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
        """See `Codec.encode`."""
        return self.inner.encode(value, limit=limit, what=what)

    def decode(self, data: bytes, *, limit: int = HARD_LIMIT) -> object:
        """See `Codec.decode`; an `Opaque` stands for what cannot be read here."""
        if data[:1] != MARK:
            return self.inner.decode(data, limit=limit)
        if data.startswith(ENCRYPTED):
            return Opaque("(encrypted)")
        try:
            return Zstd(self.inner).decode(data, limit=limit)
        except ConfigurationError:
            return Opaque("(compressed, and the zstd library is not installed here)")


class _Plain(MsgpackCodec):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self._unpack = wire.unpacker(_show)


def _show(items: list[object]) -> object:
    tag, data = items if len(items) == 2 else (None, None)
    if not isinstance(tag, str):
        raise CorruptPayload("a custom type in the wrong form")
    return {tag: data}
