"""Values from the store as text of a page. Markup is escaped by the templates; what is left is made visible here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from durable_async.cli.plain_data import plain
from durable_async.errors import ErrorInfo

LONGEST: Final = 8 * 1024
"""Characters of a value, or of an error, that a page shows."""


def text(value: object) -> str:
    """A text on one line: control characters, and those that turn the direction of writing, become their escapes."""
    return "".join(c if c.isprintable() else _escape(c) for c in _cut(str(value)))


def block(value: str) -> str:
    """The same for a text of several lines."""
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in _cut(value))


def json(value: object) -> str:
    """A value as indented JSON."""
    return block(orjson.dumps(plain(value), option=orjson.OPT_INDENT_2).decode())


def facts(detail: Mapping[str, Any]) -> str:
    """The details of an entry of a history, which hold no payload."""
    return ", ".join(f"{text(key)}: {_fact(value)}" for key, value in detail.items() if value not in (None, ""))


def error(info: ErrorInfo | None, *, has_values: bool) -> str:
    """An error in a line: its type and, where payloads are shown, what it says."""
    if info is None:
        return ""
    return text(f"{info.type}: {info.message}" if has_values and info.message else info.type)


def when(moment: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(moment: datetime | None, now: datetime) -> str:
    """How long that is ago, or ahead."""
    if moment is None:
        return ""
    distance = now - moment
    return f"in {length(-distance)}" if distance < -timedelta(seconds=1) else f"{length(distance)} ago"


def length(duration: timedelta | None) -> str:
    """Two digits or three, and the unit."""
    if duration is None:
        return ""
    seconds = max(0.0, duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _fact(value: object) -> str:
    if isinstance(value, datetime):
        return when(value)
    return text(value if isinstance(value, str) else orjson.dumps(plain(value)).decode())


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else value[:LONGEST] + f"… ({len(value):,} characters)"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
