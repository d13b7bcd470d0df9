"""What callers pass, checked: durations, ids, names and texts. Each refusal names the culprit."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

MAX_DURATION_MS: Final = 100 * 365 * 86_400 * 1000
"""A hundred years: longer durations are refused rather than overflowing a timer."""


def to_ms(duration: object, what: str = "duration") -> int:
    """A duration in whole milliseconds, rounded up; 0 means at once.

    Raises:
        TypeError: if it is neither a ``timedelta`` nor a number.
        ValueError: if it is negative, NaN, infinite, a bool, or longer than a hundred years.
    """
    if isinstance(duration, bool):
        raise ValueError(f"{what} must be a timedelta or a number of seconds, not the bool {duration!r}")
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, int | float):
        value = duration
    else:
        raise TypeError(f"{what} must be a timedelta or a number of seconds, not {type(duration).__name__}")
    # Compared only: an int may be too large for a float, and too long to be shown.
    if value != value:
        raise ValueError(f"{what} must not be NaN")
    if value < 0:
        raise ValueError(f"{what} must not be negative")
    if value > MAX_DURATION_MS // 1000:
        raise ValueError(f"{what} must not exceed 100 years")
    return math.ceil(value * 1000)


MAX_NAME: Final = 128
_NAME = re.compile(r"[A-Za-z0-9_.:@+\-]{1,128}\Z")
_QUEUE = re.compile(r"[A-Za-z0-9_.@+\-]{1,128}\Z")
_BAD_NAME = re.compile(r"[^A-Za-z0-9_.:@+\-]")
_BAD_QUEUE = re.compile(r"[^A-Za-z0-9_.@+\-]")


def check_name(value: object, what: str) -> str:
    """An id, ref or workflow name: 1-128 of ``A-Z a-z 0-9 _ . : @ + -``.

    Raises:
        ValueError: naming the offending character, or the length.
    """
    if isinstance(value, str) and _NAME.match(value):
        return value
    raise _bad_name(value, what, _BAD_NAME, "_ . : @ + -")


def check_queue(value: object, what: str = "queue") -> str:
    """A queue name: as `check_name`, without ``:``.

    Raises:
        ValueError: naming the offending character, or the length.
    """
    if isinstance(value, str) and _QUEUE.match(value):
        return value
    raise _bad_name(value, what, _BAD_QUEUE, "_ . @ + -")


def check_run_id(value: object, what: str = "id") -> str:
    """The id of an existing run: names joined by ``/``, or the hashed form of a long one.

    Raises:
        ValueError: if no run could have this id.
    """
    if not isinstance(value, str) or not value or len(value) > 255:
        raise _bad_name(value, what, _BAD_NAME, "_ . : @ + - and / between child and parent", 255)
    for part in value.split("/"):
        check_name(part.removeprefix("~"), what)
    return value


def check_label(value: object, what: str) -> str:
    """An event or input name: any text of 1-128 characters that can be encoded.

    Raises:
        ValueError: if it is empty, too long, not text, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a str, not {type(value).__name__}")
    if not 1 <= len(value) <= MAX_NAME:
        raise ValueError(f"{what} must have 1 to {MAX_NAME} characters, got {len(value)}")
    return _encodable(value, what)


def brief(value: object) -> str:
    """A wrong value, as a message shows it: not long, and never an error of its own."""
    try:
        return ascii(value)[:40]
    except Exception:  # noqa: BLE001  # a huge int, or a repr of the user's
        return f"some {type(value).__name__}"


MAX_REASON: Final = 1_000


def check_reason(value: object) -> str:
    """Why a run is cancelled: any text of at most 1,000 characters that can be encoded.

    Raises:
        ValueError: if it is too long, not text, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise ValueError(f"reason must be a str, not {type(value).__name__}")
    if len(value) > MAX_REASON:
        raise ValueError(f"reason must have at most {MAX_REASON} characters, got {len(value)}")
    return _encodable(value, "reason")


def _encodable(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds a lone surrogate and cannot be stored") from None
    return text


def _bad_name(value: object, what: str, bad: re.Pattern[str], extra: str, longest: int = MAX_NAME) -> ValueError:
    if not isinstance(value, str):
        return ValueError(f"{what} must be a str, not {type(value).__name__}")
    if not 1 <= len(value) <= longest:
        return ValueError(f"{what} must have 1 to {longest} characters, got {len(value)}")
    found = bad.search(value)
    shown = ascii(found.group()) if found else ascii(value)
    return ValueError(f"{what} {value!a} holds {shown}; allowed are A-Z a-z 0-9 {extra}")
