"""Feeds bytes to everything that reads bytes of the store: a value, or `CorruptPayload`, and nothing else.

With atheris (`tox run -e fuzz`) it looks for such bytes, from the corpus beside it on:

    python tests/fuzz/decoder.py tests/fuzz/corpus -max_total_time=60

Without it, `test_corpus.py` feeds it the corpus. The first byte chooses the reader.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
LIMIT = 1 << 16


def readers() -> list[Callable[[bytes], Any]]:
    """Imported late, so that atheris can watch it."""
    from durable_async import CustomType, Encrypted, MsgpackCodec, Zstd
    from durable_async.client.reading import history_events
    from durable_async.codec import PeekCodec, unpack_failure
    from durable_async.engine.failures import unpack_error
    from durable_async.engine.records import parse_message, parse_outcome, parse_record

    plain = MsgpackCodec()
    typed = MsgpackCodec([CustomType(Fraction, to=str, of=Fraction)])
    encrypted = Encrypted({"k": b"k" * 32})

    class Open(MsgpackCodec):
        """What an attacker who has the key could do: the bytes arrive as those of the inner codec."""

        def encode(self, value: object, *, limit: int, what: str = "value") -> bytes:
            assert isinstance(value, bytes)
            return value

    sealed = Encrypted(Open(), {"k": b"k" * 32})
    whole = Encrypted(Zstd(), {"k": b"k" * 32})

    def again(codec: MsgpackCodec | Zstd) -> Callable[[bytes], object]:
        def read(data: bytes) -> object:
            value = codec.decode(data, limit=LIMIT)
            # What can be read can be stored, and is the same then; of NaN and the like, its fingerprint is.
            stored = codec.encode(value, limit=64 * LIMIT)
            assert codec.fingerprint(codec.decode(stored, limit=64 * LIMIT)) == codec.fingerprint(value)
            return value

        return read

    return [
        again(plain),
        again(typed),
        again(Zstd(typed, min_size=0)),
        lambda data: encrypted.decode(data, limit=LIMIT),
        lambda data: whole.decode(sealed.encode(data, limit=LIMIT), limit=LIMIT),
        lambda data: PeekCodec().decode(data, limit=LIMIT),
        lambda data: unpack_failure(data, (KeyError,)),
        lambda data: unpack_error(data, plain),
        lambda data: parse_message(b"M" + data),
        lambda data: parse_record(b"R" + data),
        lambda data: parse_outcome(b"Z" + data),
        lambda data: history_events([data], 0, plain),
    ]


_made: list[Callable[[bytes], Any]] = []


def feed(data: bytes) -> None:
    """One input."""
    from durable_async import CorruptPayload, NotSerializable

    if not _made:
        _made.extend(readers())
    if not data:
        return
    try:
        _made[data[0] % len(_made)](data[1:])
    except (CorruptPayload, NotSerializable):
        # NotSerializable: what can be read is a little more than what can be stored, such as two equal keys' worth.
        return


def main() -> None:
    """Runs the fuzzer."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["durable_async"]):
        import durable_async.client.reading  # noqa: F401
    atheris.Setup(sys.argv, feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
