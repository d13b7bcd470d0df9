"""Where in a value something is wrong: pieces of a path, and the refusal that collects them."""

from __future__ import annotations

from typing import Final

LONGEST_PATH: Final = 300


class Misfit(Exception):
    """A part does not fit. Pieces of the path are appended from the inside out; the text never quotes a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


def piece(key: object) -> str:
    """One step of a path: ``.name``, ``[2]``, ``['a key']``; keys of other types and long ones are shortened."""
    if type(key) is str:
        if key.isidentifier() and key.isascii():
            return "." + key[:64]
        return f"[{key[:64]!a}]"
    if type(key) is int and key.bit_length() <= 64:
        return f"[{key}]"
    if key is None or type(key) in (bool, float):
        return f"[{key!r}]"
    return f"[<{type(key).__name__}>]"


def text(root: str, pieces: list[str]) -> str:
    """The path from `root`, of pieces collected from the inside out."""
    path = root + "".join(reversed(pieces))
    return path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "…"
