"""Values as bytes: what can be stored, how large it may be, and how it comes back.

Owns msgpack. Knows neither the store nor the engine.
"""

from durable_async.codec.adapters import Adapter, adapter_for, convert, roundtrip
from durable_async.codec.base import HARD_LIMIT, Codec, Wrapper, is_same_input
from durable_async.codec.custom import CustomType
from durable_async.codec.encrypted import Encrypted
from durable_async.codec.envelope import Opaque, Unreadable
from durable_async.codec.failures import (
    encode_error,
    errorinfo_from_data,
    errorinfo_to_data,
    pack_failure,
    unpack_failure,
)
from durable_async.codec.msgpack_codec import MsgpackCodec
from durable_async.codec.peek import PeekCodec
from durable_async.codec.zstd import Zstd

__all__ = [
    "HARD_LIMIT",
    "Adapter",
    "Codec",
    "CustomType",
    "Encrypted",
    "MsgpackCodec",
    "Opaque",
    "PeekCodec",
    "Unreadable",
    "Wrapper",
    "Zstd",
    "adapter_for",
    "convert",
    "encode_error",
    "errorinfo_from_data",
    "errorinfo_to_data",
    "is_same_input",
    "pack_failure",
    "roundtrip",
    "unpack_failure",
]
