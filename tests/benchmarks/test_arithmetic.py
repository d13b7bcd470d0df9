"""What a report makes of its samples: medians, the best peer, targets met or not, tables."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.cases import CASES, answered, drivers_of
from benchmarks.drivers import quantiles
from benchmarks.matrix import unit_s
from benchmarks.report import chosen, pick
from benchmarks.results import Results, verdicts
from benchmarks.stats import fitting, median_by_role, short, summarize, times_better
from benchmarks.tables import markdown, table


def test_a_summary_is_median_ends_and_quarters() -> None:
    summary = summarize([5, 1, 3, 2, 4])
    assert (summary.median, summary.low, summary.high, summary.quarter, summary.three_quarters) == (3, 1, 5, 2, 4)
    assert summarize([1, 2]).quarter == 1.25
    assert summarize([7]).three_quarters == 7


def test_times_better_is_above_one_where_we_are_better() -> None:
    assert times_better(30, 10, is_more_better=True) == 3
    assert times_better(10, 30, is_more_better=False) == 3
    assert times_better(30, 10, is_more_better=False) == pytest.approx(1 / 3)
    assert times_better(0, 10, is_more_better=False) == float("inf")


def test_the_median_of_a_role_is_of_the_samples_that_have_it() -> None:
    assert median_by_role([{"server": 1, "worker": 5}, {"server": 3}, {"server": 9}]) == {"server": 3, "worker": 5}


def test_what_fits_into_a_time_is_rounded_down_within_bounds() -> None:
    assert fitting(1.0, 0.001, 20, 10_000) == 1_000
    assert fitting(1.0, 1 / 1_234, 20, 10_000) == 1_200
    assert fitting(1.0, 1 / 57, 20, 10_000) == 57
    assert fitting(1.0, 0.5, 20, 10_000) == 20
    assert fitting(1.0, 1e-9, 20, 10_000) == 10_000


def test_numbers_for_people() -> None:
    assert [short(x) for x in (12_345.6, 99.95, 0.1234, float("inf"))] == ["12,346", "100", "0.123", "∞"]


def test_quantiles_are_of_what_was_measured() -> None:
    assert quantiles([float(i) for i in range(100, 0, -1)]) == {"p50_ms": 51.0, "p99_ms": 100.0}


def test_one_measurement_answers_several_cases() -> None:
    figures = {"worker_kib": 4.0, "wake": {"rate": 500.0, "cpu_us": {"worker": 7.0}}, "cpu_us": {"worker": 1.0}}
    assert CASES["parked"].answer(figures) == 4.0
    assert CASES["woken"].answer(figures) == 500.0
    assert CASES["woken"].part(figures)["cpu_us"] == {"worker": 7.0}
    assert CASES["timers"].answer(figures) is None
    assert drivers_of(["noop", "woken", "parked"]) == ["parked", "noop"]
    assert answered(["noop", "parked"]) == ["parked", "woken", "noop"]


def test_the_time_of_a_unit_is_that_of_all_parts() -> None:
    assert unit_s({"rate": 200.0, "p50_ms": 1.0}) == 0.005
    assert unit_s({"park": {"rate": 100.0}, "wake": {"rate": 50.0}}) == pytest.approx(0.03)
    assert unit_s({"p50_ms": 2.0}) == 0.002


def test_names_that_are_not_known_are_refused() -> None:
    assert chosen("woken,noop", (), tuple(CASES)) == ["woken", "noop"]
    assert chosen(None, ("noop",), tuple(CASES)) == ["noop"]
    with pytest.raises(SystemExit, match="no such case: nop"):
        chosen("nop", (), tuple(CASES))
    with pytest.raises(SystemExit, match="no such system"):
        pick({}, "dbos", ["noop"])


def report(**rates: dict[str, list[float]]) -> Results:
    """Of rates by system and case, with an n of 10,000 each."""
    kinds = {"durable_async": "durable", "durable_async_always": "durable", "floor": "floor", "taskiq": "queue"}
    samples: list[dict[str, Any]] = []
    systems: dict[str, Any] = {}
    for system, cases in rates.items():
        name = system.replace("_", "-")
        systems[name] = {"kind": kinds.get(system, "durable"), "cases": list(cases), "durability": "", "notes": ""}
        systems[name]["versions"] = {name: "1"}
        for case, numbers in cases.items():
            for repeat, number in enumerate(numbers):
                figures = {
                    CASES[case].figure: number,
                    "seconds": number,
                    "cpu_us": {"server": 1e6 / number, "worker": 50.0},
                }
                samples.append({"case": case, "system": name, "repeat": repeat, "n": 10_000, "figures": figures})
    machine = {"cpus": 2, "model": "a machine", "memory_gib": 1, "system": "Linux", "python": "3", "load": 0.0}
    facts = {"machine": machine, "when": "2026-01-01 00:00 UTC", "seconds": 60, "repeats": 3, "is_quick": False}
    return Results(
        {**facts, "cases": list(CASES), "systems": systems, "samples": samples, "absent": {"x": "no"}, "errors": []}
    )


def test_targets_are_against_the_best_peer_by_its_median() -> None:
    results = report(
        durable_async={"noop": [1_300, 1_200, 10], "latency": [2, 2, 2]},
        slow={"noop": [5, 5, 5]},
        # Its best single figure is no median.
        best={"noop": [100, 100, 5_000], "latency": [11, 11, 11]},
        taskiq={"noop": [200, 200, 200]},
        floor={"noop": [2_400, 2_400, 2_400]},
    )
    found = {wanted: (what, peer, is_met) for wanted, what, peer, is_met in verdicts(results)}
    assert found["noop: ≥ 12 x the best durable engine"] == ("12 x", "best", True)
    assert found["latency: ≥ 6 x the best durable engine"] == ("5.5 x", "best", False)
    assert found["noop: ≥ 7 x the best plain asyncio queue"] == ("6 x", "taskiq", False)
    assert found["noop: ≥ 5 x the best plain queue of any kind"] == ("6 x", "taskiq", True)
    assert found["noop: server CPU ≤ 2.5 x of the floor"] == ("2 x", "", True)
    assert found["noop: ≤ 60 µs of worker CPU"] == ("50 µs", "", True)
    assert found["steps10: ≥ 8 x the best durable engine"][2] is None


def test_syncing_each_write_is_held_against_syncing_every_second() -> None:
    results = report(
        durable_async={"noop": [100], "fanout": [1.0]}, durable_async_always={"noop": [79], "fanout": [1.1]}
    )
    found = {wanted: is_met for wanted, _, _, is_met in verdicts(results)}
    assert found["noop: with `appendfsync always` ≥ 80 % of everysec"] is False
    assert found["fanout: with `appendfsync always` ≥ 80 % of everysec"] is True


def test_another_n_is_not_compared_where_n_is_the_question() -> None:
    results = report(durable_async={"fanout": [1.0], "noop": [100]}, other={"fanout": [0.1], "noop": [10]})
    for sample in results.data["samples"]:
        if sample["system"] == "other":
            sample["n"] = 100
    assert results.ahead("fanout", ["other"]) is None
    assert results.ahead("noop", ["other"]) == ("other", 10)


def test_the_report_names_all_that_was_measured_and_all_that_was_not() -> None:
    text = markdown(report(durable_async={"noop": [1_300]}, best={"noop": [100]}, taskiq={"noop": [200]}))
    assert "| `noop`: one step, runs/s ↑ | **1,300** [1,300-1,300] | 100 [100-100] |" in text
    assert "* x is not here: no" in text
    assert "| taskiq |" in text and "|  | durable-async | taskiq |" in text, "no column without a figure"
    assert "13 x | best | yes" in text


def test_a_cell_cannot_break_its_table() -> None:
    assert table(["a"], [["b|c\nd"]]) == "| a |\n|---|\n| b\\|c d |\n"
