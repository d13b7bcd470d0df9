"""What the arguments of `Durable` must be; all is checked before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from durable_async.checking import brief, to_ms
from durable_async.client.settings import Settings
from durable_async.codec import Codec
from durable_async.errors import ConfigurationError
from durable_async.types import Duration, Limits, Status

CONFLICTS: Final = ("join", "raise", "replace")


def check_parts(settings: object, codec: object, limits: object, lifespan: object) -> None:
    """The objects that a `Durable` is made of.

    Raises:
        ConfigurationError: naming the argument that is something else.
    """
    if not isinstance(codec, Codec):
        raise ConfigurationError(f"codec must be a Codec, such as MsgpackCodec(), not {type(codec).__name__}")
    if not isinstance(limits, Limits):
        raise ConfigurationError(f"limits must be a Limits, such as Limits(depth=8), not {type(limits).__name__}")
    if not isinstance(settings, Settings):
        raise ConfigurationError(
            f"settings must be a Settings, such as Settings.from_env(), not {type(settings).__name__}"
        )
    if lifespan is not None and not callable(lifespan):
        raise ConfigurationError(
            "lifespan must be a function that takes the Durable and returns an async context manager, "
            f"not {type(lifespan).__name__}"
        )


def check_moment(value: object, what: str) -> datetime:
    """An aware datetime.

    Raises:
        ValueError: if it is naive.
        TypeError: if it is no datetime.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be an aware datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(f"{what} must be an aware datetime; add a tzinfo, such as datetime.UTC")
    return value


def delay_ms(delay: Duration | None, at: datetime | None) -> int:
    """How long a run waits before it starts, in milliseconds.

    Raises:
        ValueError, TypeError: if the duration or the moment is none, or both are given.
    """
    if delay is not None and at is not None:
        raise ValueError("pass delay or at, not both")
    if delay is not None:
        return to_ms(delay, "delay")
    if at is None:
        return 0
    return to_ms(max(0.0, (check_moment(at, "at") - datetime.now(UTC)).total_seconds()), "at")


HIGHEST_PRIORITY: Final = 10


def check_priority(priority: object) -> int:
    """A whole number from -10 to 10; None is 0.

    Raises:
        ValueError: if it is out of range.
        TypeError: if it is no int.
    """
    if priority is None:
        return 0
    if type(priority) is not int:
        raise TypeError(f"priority must be an int, not {type(priority).__name__}")
    if not -HIGHEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise ValueError(
            f"priority must be a number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, got {brief(priority)}"
        )
    return priority


def statuses(status: Any) -> frozenset[Status] | None:
    """One status or several; None for all.

    Raises:
        ValueError: naming the statuses there are.
    """
    if status is None:
        return None
    try:
        given = [status] if isinstance(status, str) else list(status)
        return frozenset(Status(s) for s in given)
    except (ValueError, TypeError):
        raise ValueError(f"status must be one or several of {', '.join(Status)}; got {brief(status)}") from None


def check_filter(value: object, what: str) -> str | None:
    """A text that a listing compares with; None for any.

    Raises:
        ValueError: if it is no text, or longer than any name.
    """
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{what} must be a str, not {type(value).__name__}")
    if value is not None and len(value) > 255:
        raise ValueError(f"{what} must have at most 255 characters, got {len(value)}")
    return value
