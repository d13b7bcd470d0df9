"""Tells whether this thread is inside Python's cycle collector.

What runs there (finalizers of objects that happen to be garbage now) runs at a moment that no replay repeats, on behalf
of nobody in particular: it must neither change what a run does nor be blamed on it.
"""

from __future__ import annotations

import gc
from _thread import get_ident

_collecting: set[int] = set()


def _watch(phase: str, info: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(get_ident())
    else:
        _collecting.discard(get_ident())


def is_collecting() -> bool:
    """Whether this thread is collecting garbage now."""
    return get_ident() in _collecting


gc.callbacks.append(_watch)
