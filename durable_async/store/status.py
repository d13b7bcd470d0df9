"""What scripts answer. The loader gives the Lua side the same names and numbers."""

from __future__ import annotations

import enum


class Answer(enum.IntEnum):
    """The first element of a script's reply."""

    OK = 0
    EXISTS = 1
    STALE = 2
    GONE = 3
    POISON = 4
    RELOAD = 5
    FENCED = 6
    PARKED = 7
    ENDED = 8
    DONE = 9
    RETRY = 10
    FULL = 11
    CORRUPT = 12
    HELD = 13
    RENEWED = 14
