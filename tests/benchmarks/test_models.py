"""The simulation of several workers, the split of the server's time, the curves of growth."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.curves import Curve, decades
from benchmarks.growth import markdown
from benchmarks.simulate import ROUTE, Setting, limit, rate
from benchmarks.spent import spent


def setting(**options: Any) -> Setting:
    usual = {"server_us": 50.0, "worker_us": 100.0, "client_us": 25.0, "workers": 1, "cores": 8, "in_flight": 200}
    return Setting(**{**usual, **options})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 10_000),  # one worker is the limit
        ({"workers": 2}, 20_000),
        ({"workers": 4, "clients": 2}, 20_000),  # the server is
        ({"workers": 4, "cores": 1}, 1e6 / 175),  # the core is
        ({"workers": 4, "cores": 2}, 2e6 / 175),
    ],
)
def test_throughput_comes_close_to_whatever_is_used_up(options: dict[str, Any], expected: float) -> None:
    found = setting(**options)
    assert limit(found) == pytest.approx(expected)
    assert 0.8 * expected < rate(found, runs=5_000) < 1.05 * expected


def test_one_run_at_a_time_takes_the_sum_of_its_visits() -> None:
    assert rate(setting(in_flight=1, workers=4), runs=5_000) == pytest.approx(1e6 / 175, rel=0.05)


def test_a_simulation_can_be_repeated() -> None:
    assert rate(setting(), runs=2_000, seed=3) == rate(setting(), runs=2_000, seed=3)


def test_every_process_of_a_run_is_on_its_way() -> None:
    assert set(ROUTE) == {"server", "worker", "client"} and ROUTE[0] == ROUTE[-1] == "client"


def test_the_parts_of_the_server_s_time_are_all_of_it() -> None:
    stats = {
        "cmdstat_evalsha": {"calls": 200, "usec": 5_000},
        "cmdstat_hset": {"calls": 300, "usec": 1_000},
        "cmdstat_rpush": {"calls": 100, "usec": 500},
        "cmdstat_xreadgroup": {"calls": 2, "usec": 400},
        "cmdstat_client|setinfo": {"calls": 1, "usec": 100},
    }
    found = spent(stats, cpu_us=80.0, runs=100)
    assert found.inside_us == {"hset": 10.0, "rpush": 5.0}
    assert found.scripts_us == 35.0
    assert found.outside_us == {"xreadgroup": 4.0, "client|setinfo": 1.0}
    assert found.rest_us == 80.0 - 50.0 - 5.0
    assert found.calls["hset"] == 3.0


def curve(*costs: float) -> Curve:
    points = [{"x": x, "server_us": cost} for x, cost in zip(decades(1, 10_000), costs, strict=False)]
    return Curve("store", "cost", "runs", points=points, flat={"server_us": 10})


def test_flat_is_judged_from_where_a_curve_says() -> None:
    assert curve(90, 10, 11, 12).verdict() == ["server_us is flat from 10 to 1,000 runs: factor 1.20"]
    assert curve(10, 10, 11, 13).verdict() == ["server_us is NOT flat from 10 to 1,000 runs: factor 1.30"]
    assert curve(10, 10).verdict() == [], "one point says nothing"


def test_powers_of_ten() -> None:
    assert decades(1, 1_000) == [1, 10, 100, 1_000]
    assert decades(100, 99) == [100]


def test_each_curve_is_a_table_and_a_verdict() -> None:
    machine = {"cpus": 2, "model": "a machine", "python": "3", "load": 0.0}
    text = markdown([curve(90, 10, 11)], {"curves": {"store": {"machine": machine}}})
    assert "| 100 | 11 |" in text
    assert "* server_us is flat" in text
