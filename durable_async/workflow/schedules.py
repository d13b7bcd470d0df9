"""When scheduled workflows run: `cron` and `every`.

A schedule is a pure function from a moment to the next one: it keeps no state and reads no clock, so every worker finds
the same ticks. Moments are whole milliseconds since the epoch, in UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from durable_async.checking import brief, to_ms
from durable_async.codec import Codec, roundtrip
from durable_async.errors import ConfigurationError
from durable_async.types import Duration

CATCH_UP: Final = ("one", "all", "none")
OVERLAP: Final = ("allow", "skip")
LATE_MS: Final = 60_000
"""A tick that nobody has started so long after its time was missed, for `catch_up="none"`."""
LONGEST_NAME: Final = 100
"""Characters of a scheduled workflow's name: the ids of its runs are the name and the tick."""
PROBE: Final = "tick"
"""What workers store beside a schedule for others to see whether they have the same codec."""


class Schedule(ABC):
    """When a workflow is run. Made by `cron` and `every`."""

    __slots__ = ()

    @property
    @abstractmethod
    def expression(self) -> str:
        """The schedule as a text; schedules with the same text have the same ticks."""

    @abstractmethod
    def next_after(self, moment_ms: int) -> int:
        """The first tick after a moment."""

    @abstractmethod
    def last_until(self, now_ms: int, after_ms: int) -> int | None:
        """The newest tick that is later than `after_ms` and not later than `now_ms`; None if there is none."""

    def __repr__(self) -> str:
        return f"<schedule {self.expression}>"


@dataclass(frozen=True, slots=True, repr=False)
class Every(Schedule):
    """Ticks at the multiples of a duration since the epoch."""

    period_ms: int

    @property
    def expression(self) -> str:
        """See `Schedule`."""
        return f"every {self.period_ms // 1000} s"

    def next_after(self, moment_ms: int) -> int:
        """See `Schedule`."""
        return (moment_ms // self.period_ms + 1) * self.period_ms

    def last_until(self, now_ms: int, after_ms: int) -> int | None:
        """See `Schedule`."""
        last = now_ms // self.period_ms * self.period_ms
        return last if last > after_ms else None


@dataclass(frozen=True, slots=True, repr=False)
class Cron(Schedule):
    """Ticks of a cron expression in a time zone."""

    text: str
    zone: ZoneInfo

    @property
    def expression(self) -> str:
        """See `Schedule`."""
        return f"cron {self.text} {self.zone.key}"

    def next_after(self, moment_ms: int) -> int:
        """See `Schedule`.

        Raises:
            StopIteration: if there is none in the fifty years that follow.
        """
        return next(self._after(moment_ms))

    def last_until(self, now_ms: int, after_ms: int) -> int | None:
        """See `Schedule`."""
        # Not backwards: only forwards do the rules for clock changes give the ticks that `next_after` gives. The span
        # is doubled until it holds a tick, so that a year of missed minutes costs no more than an hour of them.
        span_ms = 64_000
        while True:
            since_ms = max(after_ms, now_ms - span_ms)
            found = None
            for tick in self._after(since_ms):
                if tick > now_ms:
                    break
                found = tick
            if found is not None or since_ms == after_ms:
                return found
            span_ms *= 2

    def _after(self, moment_ms: int) -> Iterator[int]:
        last_ms = moment_ms
        for found in _cronsim().CronSim(self.text, datetime.fromtimestamp(moment_ms // 1000, self.zone)):
            tick_ms = int(found.timestamp()) * 1000
            # In an hour that comes twice, a job of a fixed time is found in its first half, which may be over.
            if tick_ms > last_ms:
                last_ms = tick_ms
                yield tick_ms


def cron(expression: str, *, tz: str = "UTC") -> Schedule:
    """A schedule by a cron expression: ``@workflow(schedule=cron("0 9 * * *", tz="America/New_York"))``.

    Five fields: minute, hour, day of the month, month, day of the week, as Debian's cron reads them; names (`MON`,
    `JAN`), ranges, lists, steps, `L` and `MON#2` work. When clocks go forward, a job of a fixed time that is left out
    runs at once after the gap; when they go back, it runs once, the first time. A job of each hour (or minute) runs at
    each hour (or minute) that passes.

    Args:
        expression: the five fields.
        tz: a name of the IANA time zone database, such as ``Europe/Berlin``.

    Raises:
        ValueError: if the expression cannot be read or never comes, or there is no such time zone.
        ConfigurationError: if the extra `cron` is not installed.
    """
    sim = _cronsim()
    if not isinstance(expression, str):
        raise ValueError(f"cron takes an expression such as '0 9 * * *', not {type(expression).__name__}")
    text, zone = " ".join(expression.split()), _zone(tz)
    if len(text) > 200 or len(text.split(" ")) != 5:
        raise ValueError(
            f"the cron expression {brief(expression)} must have five fields: "
            "minute, hour, day of the month, month, day of the week"
        )
    made = Cron(text, zone)
    try:
        made.next_after(0)
    except sim.CronSimError as error:
        raise ValueError(f"the cron expression {brief(expression)} cannot be read: {error}") from None
    except (StopIteration, RuntimeError):
        raise ValueError(f"the cron expression {brief(expression)} names a day that never comes") from None
    return made


def every(period: Duration) -> Schedule:
    """A schedule of equal periods: ``@workflow(schedule=every(minutes(5)))``.

    Ticks are the multiples of the period since 1970-01-01T00:00:00Z, whenever workers were started: every five minutes
    is at :00, :05 and so on, every day at midnight UTC. For a time of the day, or of a time zone, use `cron`.

    Args:
        period: a ``timedelta`` or seconds; whole seconds, at least one.

    Raises:
        ValueError: if it is none of these.
        TypeError: if it is no duration.
    """
    period_ms = to_ms(period, "period")
    if period_ms < 1000 or period_ms % 1000:
        raise ValueError(f"period must be a whole number of seconds, at least 1; got {period_ms / 1000:g} s")
    return Every(period_ms)


def check_schedule(name: str, schedule: object, catch_up: object, overlap: object) -> None:
    """The options of `@workflow` that are about its schedule.

    Raises:
        TypeError: if the schedule is none.
        ValueError: if a choice is none of those there are, or the name is too long.
    """
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be cron(...) or every(...), not {type(schedule).__name__}")
    for what, value, choices in (("catch_up", catch_up, CATCH_UP), ("overlap", overlap, OVERLAP)):
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{what} must be one of {choices}, got {brief(value)}")
    if schedule is not None and len(name) > LONGEST_NAME:
        raise ValueError(f"the name of a scheduled workflow has at most {LONGEST_NAME} characters, got {len(name)}")


def due_ticks(
    schedule: Schedule, catch_up: str, cursor_ms: int, now_ms: int, limit: int
) -> tuple[list[int], int, bool]:
    """What is to be started now.

    Args:
        schedule: when.
        catch_up: which ticks count when several are due.
        cursor_ms: up to which moment ticks have been dealt with.
        now_ms: now.
        limit: how many ticks at most.

    Returns: the ticks to start, oldest first; up to when ticks are dealt with if none is; whether there are more.
    """
    if catch_up == "all":
        ticks: list[int] = []
        tick = schedule.next_after(cursor_ms)
        while tick <= now_ms and len(ticks) < limit:
            ticks.append(tick)
            tick = schedule.next_after(tick)
        return ticks, cursor_ms, tick <= now_ms
    last = schedule.last_until(now_ms, cursor_ms)
    if last is None:
        return [], cursor_ms, False
    if catch_up == "none" and now_ms - last >= LATE_MS:
        return [], last, False
    return [last], last, False


def tick_text(tick_ms: int) -> str:
    """A tick as ids name it: UTC, to the second."""
    return tick_moment(tick_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def tick_moment(tick_ms: int) -> datetime:
    """A tick as a workflow gets it: an aware datetime, in UTC."""
    return datetime.fromtimestamp(tick_ms / 1000, UTC)


def tick_input(codec: Codec, limit: int, tick_ms: int | None) -> tuple[bytes, bytes]:
    """The stored input of a tick's run, and its fingerprint; None for a workflow that does not take the tick.

    Raises:
        PayloadError: if it cannot be stored.
    """
    if tick_ms is None:
        return b"", codec.fingerprint(None)
    payload, seen = roundtrip(codec, tick_moment(tick_ms), datetime, limit, "the tick")
    return payload, codec.fingerprint(seen)


def _zone(tz: object) -> ZoneInfo:
    if not isinstance(tz, str) or not tz:
        raise ValueError(f"tz must be the name of a time zone, such as 'Europe/Berlin', not {brief(tz)}")
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {brief(tz)} in the IANA database of this machine; "
            "if it has none at all, install the package tzdata"
        ) from None


def _cronsim() -> Any:
    try:
        import cronsim
    except ModuleNotFoundError:
        raise ConfigurationError(
            "cron() needs the extra 'cron'; install it with: pip install 'durable-async[cron]'"
        ) from None
    return cronsim
