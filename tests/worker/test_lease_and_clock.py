"""A worker's two clocks: its lease counts from when a beat was sent, and durable time is the server's."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.worker import clock, heartbeat
from durable_async.worker.clock import ServerClock
from durable_async.worker.heartbeat import Heartbeat


class Local:
    """This machine's clock, in the hands of the test."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Local:
    made = Local()
    monkeypatch.setattr(clock, "monotonic", made)
    monkeypatch.setattr(heartbeat, "monotonic", made)
    return made


def test_d29_a_lease_begins_when_the_beat_is_sent_and_not_when_it_is_answered(local: Local) -> None:
    class Slow:
        """The others know of the beat from some moment on while it is under way."""

        def beat(self, worker: str, described: bytes) -> None:
            local.s += 11.0
            beating.stop()

        def close(self) -> None:
            pass

    connection: Any = Slow()
    beating = Heartbeat(lambda: connection, "w", bytes, 15.0)
    beating._run()
    assert beating.age_s == 11.0
    assert not beating.may_launch()
    local.s += 4.0
    assert beating.is_lost


def test_d34_time_is_the_servers_whatever_this_machine_believes(local: Local) -> None:
    told = ServerClock()
    told.heard(5_000)
    local.s += 0.25
    assert told.now_ms() == 5_250
    assert told.seconds_until(6_000) == 0.75


def test_d33_time_that_was_shown_does_not_go_back(local: Local) -> None:
    told = ServerClock()
    told.heard(5_000)
    assert told.now_ms() == 5_000
    told.heard(4_000)
    assert told.now_ms() == 5_000
    local.s += 1.5
    assert told.now_ms() == 5_500
