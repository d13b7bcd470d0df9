"""Plain values shared by every layer: statuses, durations, limits, retry policies and the sentinels.

Nothing here does I/O or knows how a value is stored; every other module may import this one.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from durable_async.checking import brief, check_label, check_queue, to_ms
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


MOST_AT_ONCE: Final = 1_000_000
MOST_STARTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with limits, which all its workers keep together: ``@workflow(queue=Queue("mail", concurrency=10))``.

    A limit counts runs that are *running*: that have a worker's attention, steps included. A run that waits, for a
    time, an event or a child, gives its place back and takes another one when it goes on, before runs that have never
    started. So a parent and its children may share a queue of any limit without holding each other up. Of runs that
    wait for a place, those with a higher priority come first, then older ones.

    The limits are the queue's, whoever starts its runs: a worker that serves it writes them down when it starts. They
    stay until a worker starts with others; `Queue("mail")` without any lifts them.

    Args:
        name: the queue's name.
        concurrency: how many of its runs may be running at once.
        rate: `(n, period)`: no more than `n` runs, up to 100,000, are started within any such period, of at least a
            millisecond. What goes on after a wait counts for nothing.
        key: a function of a run's input that says whose it is: a text of up to 128 characters, an int, or None for
            nobody's. It is called where the run is started; what it raises, the caller gets.
        per_key: how many runs of one key may be running at once; 1 is one after the other, in the order of their start.

    Raises:
        ValueError: if the name breaks the grammar of names, or a number is out of range, or only one of `key` and
            `per_key` is given.
        TypeError: if an argument has the wrong type.
    """

    name: str
    concurrency: int | None = None
    rate: tuple[int, Duration] | None = None
    key: Callable[[Any], object] | None = None
    per_key: int | None = None

    def __post_init__(self) -> None:
        check_queue(self.name)
        for what, number, most in (
            ("concurrency", self.concurrency, MOST_AT_ONCE),
            ("per_key", self.per_key, MOST_AT_ONCE),
            ("rate", self.rate[0] if isinstance(self.rate, tuple) and len(self.rate) == 2 else None, MOST_STARTS),
        ):
            if number is not None and type(number) is not int:
                raise TypeError(f"{what} of queue {self.name!r} must be an int, not {type(number).__name__}")
            if number is not None and not 1 <= number <= most:
                raise ValueError(f"{what} of queue {self.name!r} must be from 1 to {most:,}, got {brief(number)}")
        if self.rate is not None:
            if not isinstance(self.rate, tuple) or len(self.rate) != 2:
                raise TypeError(f"rate of queue {self.name!r} must be (n, period), such as (100, minutes(1))")
            if to_ms(self.rate[1], "the period of rate") < 1:
                raise ValueError(f"the period of rate of queue {self.name!r} must be a millisecond or longer")
        if (self.key is None) != (self.per_key is None):
            raise ValueError(f"queue {self.name!r}: key and per_key are given together")
        if self.key is not None and not callable(self.key):
            raise TypeError(f"key of queue {self.name!r} must be a function, not {type(self.key).__name__}")

    @property
    def limits(self) -> str:
        """As the store has them: runs at once, starts, their period in ms, runs at once of a key; 0 is no limit."""
        starts, period = self.rate or (0, 0)
        return f"{self.concurrency or 0} {starts} {to_ms(period)} {self.per_key or 0}"

    def key_of(self, input: object) -> str:
        """Whose a run with this input is; empty for nobody's.

        Raises:
            TypeError: if `key` gives neither a text nor an int nor None.
            ValueError: if the text is empty, too long or cannot be stored.
        """
        if self.key is None:
            return ""
        value = self.key(input)
        if value is None:
            return ""
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            what = f"the key function of queue {self.name!r} must give a str, an int or None"
            raise TypeError(f"{what}, not {type(value).__name__}")
        text = check_label(value, f"the key of queue {self.name!r}")
        if "\0" in text:
            raise ValueError(f"the key of queue {self.name!r} holds a null character")
        return text
