"""Plain values shared by every layer: statuses, durations, limits, retry policies and the sentinels.

Nothing here does I/O or knows how a value is stored; every other module may import this one.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from durable_async.checking import brief, to_ms
from durable_async.errors import NonRetryable

Duration = timedelta | float | int
"""A length of time: a ``timedelta`` or a number of seconds."""


class Status(enum.StrEnum):
    """What a run is doing, as users see it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended for good."""
        return self in TERMINAL


TERMINAL: Final = frozenset(
    {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.COMPENSATED, Status.COMPENSATION_FAILED}
)


class ChildTimeoutType(enum.Enum):
    """The type of `CHILD_TIMEOUT`: falsy, one instance, survives serialisation."""

    CHILD_TIMEOUT = "CHILD_TIMEOUT"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "CHILD_TIMEOUT"


class RaiseType(enum.Enum):
    """The type of `RAISE`, the `timeout_value` that asks for an exception."""

    RAISE = "RAISE"

    def __repr__(self) -> str:
        return "RAISE"


CHILD_TIMEOUT: Final = ChildTimeoutType.CHILD_TIMEOUT
"""What `call_workflow` returns, unless told otherwise, when its `timeout` elapses."""

RAISE: Final = RaiseType.RAISE
"""Pass as `timeout_value` to get an exception instead of a value."""


def seconds(n: float) -> timedelta:
    """`n` seconds."""
    return timedelta(seconds=n)


def minutes(n: float) -> timedelta:
    """`n` minutes."""
    return timedelta(minutes=n)


def hours(n: float) -> timedelta:
    """`n` hours."""
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    """`n` days."""
    return timedelta(days=n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that keep one run from harming the others. Sizes are of encoded values, before compression.

    Raises:
        ValueError: if a bound is below 1 (`depth` and `cancel_grace`: below 0), or `cancel_grace` is no duration.
        TypeError: if a bound has the wrong type.
    """

    payload: int = 1024 * 1024
    """Bytes of one input, output, step result, event or context value."""
    journal_entries: int = 50_000
    journal_bytes: int = 50 * 1024 * 1024
    depth: int = 64
    """Levels of children below a root."""
    cancel_grace: float = 60.0
    """Seconds that cleanup code gets after a cancel."""
    crash_loop: int = 5
    """Claims by different owners without a new record, after which a run fails as `CrashLoop`."""
    inbox: int = 100_000
    """Messages that may wait for one run."""

    def __post_init__(self) -> None:
        for name in ("payload", "journal_entries", "journal_bytes", "depth", "crash_loop", "inbox"):
            least = 0 if name == "depth" else 1
            bound = getattr(self, name)
            if type(bound) is not int:
                raise TypeError(f"{name} must be an int, not {type(bound).__name__}")
            if not least <= bound < 2**53:
                raise ValueError(f"{name} must be a number from {least} on, got {brief(bound)}")
        to_ms(self.cancel_grace, "cancel_grace")


MAX_FACTOR: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a failed attempt is repeated.

    The wait before attempt n+1 is `initial * factor ** (n - 1)`, at most `maximum`, then multiplied by a random number
    between `1 - jitter` and `1 + jitter`. It is recorded: a restart neither shortens nor repeats it.

    Raises:
        ValueError: if attempts are below 1, factor is below 1 or above a million, jitter is outside 0..1, or maximum is
            below initial.
        TypeError: if a field has the wrong type.
    """

    max_attempts: int = 1
    initial: Duration = timedelta(seconds=1)
    factor: float = 2.0
    maximum: Duration = timedelta(minutes=1)
    jitter: float = 0.25
    retry_on: tuple[type[BaseException], ...] | type[BaseException] = (Exception,)
    never_on: tuple[type[BaseException], ...] | type[BaseException] = ()
    max_elapsed: Duration | None = None
    """No attempt starts later than this after the first one did."""

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int:
            raise TypeError(f"max_attempts must be an int, not {type(self.max_attempts).__name__}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, got {self.max_attempts}")
        for name in ("jitter", "factor"):
            if type(getattr(self, name)) not in (int, float):
                raise TypeError(f"{name} must be a number, not {type(getattr(self, name)).__name__}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, got {self.jitter}")
        if not 1 <= self.factor <= MAX_FACTOR:
            raise ValueError(f"factor must be at least 1 and at most {MAX_FACTOR:,}")
        if to_ms(self.maximum, "maximum") < to_ms(self.initial, "initial"):
            raise ValueError("maximum must not be below initial")
        if self.max_elapsed is not None:
            to_ms(self.max_elapsed, "max_elapsed")
        for name in ("retry_on", "never_on"):
            kinds = getattr(self, name)
            for kind in kinds if isinstance(kinds, tuple) else (kinds,):
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise TypeError(f"{name} must hold exception classes, got {kind!r}")

    def allows(self, error: BaseException, attempt: int) -> bool:
        """Whether attempt number `attempt`, which ended in `error`, may be followed by another one."""
        if attempt >= self.max_attempts or isinstance(error, NonRetryable):
            return False
        return isinstance(error, self.retry_on) and not isinstance(error, self.never_on)

    def allows_named(self, type_name: str) -> bool:
        """As `allows`, for an exception of which only the bare class name is known: names are compared.

        `Exception` in `retry_on` stands for any; of other classes, subclasses are not recognised.
        """

        def named(kinds: tuple[type[BaseException], ...] | type[BaseException]) -> bool:
            kinds = kinds if isinstance(kinds, tuple) else (kinds,)
            return any(k in (Exception, BaseException) or k.__name__ == type_name for k in kinds)

        return type_name != NonRetryable.__name__ and named(self.retry_on) and not named(self.never_on)

    def delay_ms(self, attempt: int, spread: float) -> int:
        """The wait after attempt number `attempt`, in milliseconds; `spread` is a random number in 0..1."""
        longest = to_ms(self.maximum)
        try:
            grown = to_ms(self.initial) * float(self.factor) ** (attempt - 1)
        except OverflowError:
            grown = longest if to_ms(self.initial) else 0
        return math.ceil(min(grown, longest) * (1 + self.jitter * (2 * spread - 1)))


def as_retry(value: Retry | int | None) -> Retry:
    """A policy from what `retry=` takes: None, a number of attempts, or a policy.

    Raises:
        TypeError: if it is something else.
        ValueError: if the number is below 1.
    """
    if value is None:
        return Retry()
    if isinstance(value, Retry):
        return value
    if type(value) is int:
        return Retry(max_attempts=value)
    raise TypeError(f"retry must be a Retry or a number of attempts, not {type(value).__name__}")
