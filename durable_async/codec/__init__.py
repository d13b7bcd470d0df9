"""Values as bytes: what can be stored, how large it may be, and how it comes back.

Owns msgpack. Knows neither the store nor the engine.
"""

from durable_async.codec.adapters import Adapter, adapter_for, convert, roundtrip
from durable_async.codec.base import HARD_LIMIT, Codec
from durable_async.codec.failures import (
    encode_error,
    errorinfo_from_data,
    errorinfo_to_data,
    pack_failure,
    unpack_failure,
)
from durable_async.codec.msgpack_codec import MsgpackCodec

__all__ = [
    "HARD_LIMIT",
    "Adapter",
    "Codec",
    "MsgpackCodec",
    "adapter_for",
    "convert",
    "encode_error",
    "errorinfo_from_data",
    "errorinfo_to_data",
    "pack_failure",
    "roundtrip",
    "unpack_failure",
]
