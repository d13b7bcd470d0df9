"""Where in a value something is wrong: pieces of a path, and the refusal that collects them."""

from __future__ import annotations

from typing import Any, Final

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


def surrogate_path(lowered: object) -> str | None:
    """Where a lone surrogate is in a lowered value, or None: extensions were packed, and checked, before."""
    if type(lowered) is str:
        return "" if has_surrogate(lowered) else None
    items: Any = ()
    if type(lowered) is list:
        items = enumerate(lowered)
    elif type(lowered) is dict:
        items = lowered.items()
    for key, item in items:
        if type(key) is str and has_surrogate(key):
            return piece(key)
        found = surrogate_path(item)
        if found is not None:
            return (f"[{key}]" if type(lowered) is list else piece(key)) + found
    return None


def has_surrogate(string: str) -> bool:
    """Whether a text holds half of a pair: it has no UTF-8 form."""
    try:
        string.encode()
    except UnicodeEncodeError:
        return True
    return False
