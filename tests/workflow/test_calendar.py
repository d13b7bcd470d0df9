"""`cron` and `every`: when ticks are, clock changes included, and what is refused."""

from __future__ import annotations

import builtins
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_async import ConfigurationError, Schedule, cron, every, hours, minutes, seconds, workflow
from durable_async.workflow.schedules import LATE_MS, due_ticks, tick_text

HOUR = 3_600_000
NEW_YORK = "America/New_York"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def ticks(schedule: Schedule, since: str, count: int) -> list[str]:
    found, at = [], ms(since)
    for _ in range(count):
        at = schedule.next_after(at)
        found.append(tick_text(at).removesuffix(":00Z"))
    return found


class TestEvery:
    def test_it_is_aligned_to_the_epoch(self) -> None:
        assert ticks(every(minutes(5)), "2026-01-01T09:02:11", 2) == ["2026-01-01T09:05", "2026-01-01T09:10"]
        assert ticks(every(hours(24)), "2026-01-01T09:02:11", 1) == ["2026-01-02T00:00"]
        assert every(90).next_after(90_000) == 180_000

    @pytest.mark.parametrize("period", [0, 0.5, 1.5, -1, float("nan"), True, timedelta(microseconds=1)])
    def test_what_is_no_period(self, period: Any) -> None:
        with pytest.raises(ValueError, match="period"):
            every(period)

    def test_what_is_no_duration(self) -> None:
        with pytest.raises(TypeError, match="period"):
            every("5m")  # type: ignore[arg-type]  # the point


class TestClockChanges:
    """V8: DST both ways."""

    def test_a_time_that_is_left_out_comes_right_after_the_gap(self) -> None:
        found = ticks(cron("30 2 * * *", tz=NEW_YORK), "2026-03-07T00:00", 3)
        assert found == ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"]

    def test_a_time_that_comes_twice_counts_once(self) -> None:
        found = ticks(cron("30 1 * * *", tz=NEW_YORK), "2026-10-31T00:00", 3)
        assert found == ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"]

    def test_also_for_one_who_looks_in_between(self) -> None:
        """Between the two of it, and right at the first one."""
        daily = cron("30 1 * * *", tz=NEW_YORK)
        for since in ("2026-11-01T05:30", "2026-11-01T05:45", "2026-11-01T06:10", "2026-11-01T06:30"):
            assert ticks(daily, since, 1) == ["2026-11-02T06:30"]

    def test_each_hour_is_each_hour_that_passes(self) -> None:
        hourly = cron("0 * * * *", tz=NEW_YORK)
        for since in ("2026-11-01T03:00", "2026-03-08T05:00"):
            found = ticks(hourly, since, 6)
            assert [int(b[11:13]) - int(a[11:13]) for a, b in pairwise(found)] == [1] * 5

    def test_the_offset_follows_the_zone(self) -> None:
        nine = cron("0 9 * * *", tz=NEW_YORK)
        assert ticks(nine, "2026-03-06T23:00", 3) == ["2026-03-07T14:00", "2026-03-08T13:00", "2026-03-09T13:00"]
        assert ticks(nine, "2026-10-31T00:00", 3) == ["2026-10-31T13:00", "2026-11-01T14:00", "2026-11-02T14:00"]


EXPRESSIONS = [
    "* * * * *", "*/7 * * * *", "30 * * * *", "30 1 * * *", "30 2 * * *", "0 0,2,3 * * *", "15 1-3 * * *",
    "0 9 * * MON-FRI", "0 0 L * *", "0 0 29 2 *", "30 2 8 3 *", "0 3 1 1 *", "0 0 * * MON#2",
]  # fmt: skip
ZONES = ["UTC", NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]


BAD_EXPRESSIONS: list[Any] = [
    "", " ", "* * * *", "* * * * * *", "@daily", "60 * * * *", "x * * * *", "0 0 30 2 *", "0 0 0 * *", "5-1 * * * *",
    "*/0 * * * *", "* * * * MONN", "9" * 5000, "\0 * * * *", "\ud800 * * * *", "1,,2 * * * *", 5, None, b"* * * * *",
]  # fmt: skip
BAD_ZONES: list[Any] = [
    "", "Nowhere", "America", "../etc/passwd", "/etc/localtime", "a\0b", "\ud800", "x" * 5000, 5, None, UTC,
]  # fmt: skip


class TestCron:
    @settings(deadline=None)
    @given(
        st.sampled_from(EXPRESSIONS),
        st.sampled_from(ZONES),
        st.integers(ms("2024-01-01T00:00"), ms("2030-01-01T00:00")),
        st.integers(0, 40 * 24 * HOUR),
    )
    def test_whoever_looks_from_wherever_finds_the_same_ticks(
        self, text: str, zone: str, since: int, span: int
    ) -> None:
        """`last_until` and `next_after` agree, and ticks rise: or one would be started twice, or never."""
        schedule = cron(text, tz=zone)
        last = schedule.last_until(since + span, since)
        if last is None:
            assert schedule.next_after(since) > since + span
        else:
            assert since < last <= since + span < schedule.next_after(last)
            assert schedule.next_after(last - 1) == last

    def test_a_long_time_is_searched_from_its_end(self) -> None:
        """Ten years of missed minutes."""
        now = ms("2026-01-01T00:00:30")
        schedule = cron("* * * * *")
        calls = 0
        after = type(schedule)._after  # type: ignore[attr-defined]  # looks at how it is done

        def counting(self: Any, moment: int) -> Any:
            nonlocal calls
            for found in after(self, moment):
                calls += 1
                yield found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(schedule), "_after", counting)
            assert schedule.last_until(now, ms("2016-01-01T00:00")) == now - 30_000
        assert calls < 10

    def test_the_text_is_tidied(self) -> None:
        assert cron(" 0  9 * *\tMON ", tz=NEW_YORK).expression == "cron 0 9 * * MON America/New_York"
        assert repr(every(300)) == "<schedule every 300 s>"

    @pytest.mark.parametrize("text", BAD_EXPRESSIONS)
    def test_what_is_no_expression(self, text: Any) -> None:
        with pytest.raises(ValueError, match="cron"):
            cron(text)

    def test_a_day_that_never_comes(self) -> None:
        with pytest.raises(ValueError, match=r"never comes|cannot be read"):
            cron("0 0 31 2,4 *")

    @pytest.mark.parametrize("zone", BAD_ZONES)
    def test_what_is_no_zone(self, zone: Any) -> None:
        with pytest.raises(ValueError, match=r"tz|time zone"):
            cron("* * * * *", tz=zone)

    def test_a_missing_extra_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        imports = builtins.__import__

        def without(name: str, *more: Any) -> Any:
            if name == "cronsim":
                raise ModuleNotFoundError(name=name)
            return imports(name, *more)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ConfigurationError, match=re.escape("pip install 'durable-async[cron]'")):
            cron("* * * * *")
        assert every(5).expression == "every 5 s"


class TestCatchUp:
    HOURLY = every(hours(1))

    def due(self, catch_up: str, cursor: int, now: int, limit: int = 10) -> Any:
        return due_ticks(self.HOURLY, catch_up, cursor * HOUR, now, limit)

    @pytest.mark.parametrize("catch_up", ["one", "all", "none"])
    def test_nothing_is_due(self, catch_up: str) -> None:
        assert self.due(catch_up, 5, 6 * HOUR - 1) == ([], 5 * HOUR, False)
        # The clock was set back.
        assert self.due(catch_up, 5, 3 * HOUR) == ([], 5 * HOUR, False)

    @pytest.mark.parametrize("catch_up", ["one", "all", "none"])
    def test_one_is_due(self, catch_up: str) -> None:
        assert self.due(catch_up, 5, 6 * HOUR + 1)[0] == [6 * HOUR]

    def test_several_are_due(self) -> None:
        now = 9 * HOUR + LATE_MS - 1
        assert self.due("one", 5, now) == ([9 * HOUR], 9 * HOUR, False)
        assert self.due("none", 5, now) == ([9 * HOUR], 9 * HOUR, False)
        assert self.due("all", 5, now) == ([n * HOUR for n in (6, 7, 8, 9)], 5 * HOUR, False)
        assert self.due("all", 5, now, limit=3) == ([n * HOUR for n in (6, 7, 8)], 5 * HOUR, True)

    def test_all_of_them_are_late(self) -> None:
        now = 9 * HOUR + LATE_MS
        assert self.due("none", 5, now) == ([], 9 * HOUR, False)
        assert self.due("one", 5, now)[0] == [9 * HOUR]


class TestDefinitions:
    @pytest.mark.parametrize(
        ("options", "kind", "words"),
        [
            ({"schedule": "0 9 * * *"}, TypeError, "cron"),
            ({"schedule": seconds(5)}, TypeError, "every"),
            ({"schedule": every}, TypeError, "schedule"),
            ({"catch_up": "some"}, ValueError, "catch_up"),
            ({"catch_up": True}, ValueError, "catch_up"),
            ({"overlap": "forbid"}, ValueError, "overlap"),
            ({"overlap": ["skip"]}, ValueError, "overlap"),
            ({"schedule": every(5), "name": "n" * 101}, ValueError, "100 characters"),
        ],
    )
    def test_options_that_make_no_sense(self, options: Any, kind: Any, words: str) -> None:
        async def nothing() -> None: ...

        with pytest.raises(kind, match=words):
            workflow(**options)(nothing)

    def test_the_longest_name(self) -> None:
        async def nothing() -> None: ...

        made = workflow(schedule=every(5), name="n" * 100)(nothing)
        assert made.schedule is not None
