"""Random ids for runs that nobody names.

The system's random bytes cost a system call each time; a burst of starts shares one. What is left of it is dropped
after a second and in a forked child: whoever goes on from a copy of this process must not have the same ids to give.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Final

ID_BYTES: Final = 16
_BURST: Final = 64
_LIFE_S: Final = 1.0

_left: list[str] = []
_made_at = 0.0


def random_id() -> str:
    """32 hexadecimal digits that no other call in any process gets. May be called from any thread."""
    if monotonic() - _made_at < _LIFE_S:
        try:
            return _left.pop()  # atomic
        except IndexError:
            pass
    return _more()


def _more() -> str:
    global _left, _made_at  # one pool per process
    digits = os.urandom(ID_BYTES * _BURST).hex()
    fresh = [digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES)]
    found = fresh.pop()
    # Another thread may do the same now: then one of the two lists is never used.
    _left, _made_at = fresh, monotonic()
    return found


def _drop() -> None:
    global _left  # noqa: PLW0603  # as above
    _left = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop)
