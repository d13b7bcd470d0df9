"""`DURABLE_TEST_CODEC=encrypted`: every `Durable` of these tests compresses and encrypts, in the midst of a rotation.

A process of the crowd has the keys in the other order than the test's own, so each reads what the other wrote.
"""

from __future__ import annotations

import hashlib
import os

import durable_async.client.base
from durable_async import Codec, Encrypted, Zstd

CODEC = os.environ.get("DURABLE_TEST_CODEC", "plain")
CODECS = ("plain", "encrypted")
KEYS = {id: hashlib.sha256(id.encode()).digest() for id in ("old", "new")}

if CODEC not in CODECS:
    raise RuntimeError(f"DURABLE_TEST_CODEC must be one of {', '.join(CODECS)}, got {CODEC!r}")


def make_codec(*ids: str) -> Codec:
    """Compresses what it can, and encrypts with the first of these keys."""
    return Encrypted(Zstd(min_size=16), {id: KEYS[id] for id in ids})


def install(*ids: str) -> None:
    """Makes it what a `Durable` has that is given no codec, if the environment says so."""
    if CODEC == "encrypted":
        setattr(durable_async.client.base, "MsgpackCodec", lambda: make_codec(*ids))  # noqa: B010  # mypy knows a class there
