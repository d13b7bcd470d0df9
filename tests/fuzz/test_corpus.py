"""The fuzzer's corpus, without the fuzzer; and its harness can fail."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from . import decoder

FILES = sorted(decoder.CORPUS.iterdir())


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_each_input(path: Path) -> None:
    decoder.feed(path.read_bytes())


def test_inputs_with_bytes_changed() -> None:
    """A little of what the fuzzer does, the same each time."""
    chance = random.Random(7)
    for path in FILES:
        data = path.read_bytes()
        for _ in range(100):
            changed = bytearray(data)
            for _ in range(chance.randrange(1, 4)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            decoder.feed(bytes(changed[: chance.randrange(1, len(changed) + 1)]))


def test_the_harness_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise KeyError("out of a reader")

    monkeypatch.setattr(decoder, "_made", [broken])
    with pytest.raises(KeyError):
        decoder.feed(b"\x00x")
