"""Plain values shared by every layer: statuses, durations, limits, retry policies and the sentinels.

Nothing here does I/O or knows how a value is stored; every other module may import this one.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from durable_async.errors import ErrorInfo, NonRetryable

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run says it is."""

    done: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A snapshot of one run. Times are aware UTC datetimes by the server's clock."""

    id: str
    workflow: str
    queue: str
    status: Status
    input: Any = None
    output: Any = None
    error: ErrorInfo | None = None
    reason: str | None = None
    parent_id: str | None = None
    root_id: str
    ref: str | None = None
    attempt: int = 1
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    waiting_for: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class RunTree:
    """A run and its children, recursively, oldest first."""

    run: RunInfo
    children: tuple[RunTree, ...] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; `cursor` asks for the next one and is None on the last."""

    items: list[T]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One line of a run's history."""

    index: int
    kind: str
    name: str
    at: datetime
    attempt: int | None = None
    duration: timedelta | None = None
    error: ErrorInfo | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """How busy one queue is."""

    name: str
    ready: int
    running: int
    waiting: int
    paused: bool
    workers: int
    oldest_ready_age: timedelta | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker process as it last described itself."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    running: int
    resident: int
    since: datetime
    last_seen: datetime
