"""`durable schedules`: listing, and what can be done to one."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ._support import Process, Project, wait_until

JOBS = """
from durable_async import Durable, cron, days, every, workflow

@workflow(schedule=cron("0 9 * * *", tz="America/New_York"))
async def daily() -> str:
    return "good morning"

@workflow(schedule=every(days(7)), overlap="skip")
async def weekly() -> str:
    return "that was a week"

durable = Durable(workflows=[daily, weekly])
"""


@pytest.fixture
def worker(project: Project) -> Iterator[Process]:
    (project.directory / "jobs.py").write_text(JOBS)
    process = project.spawn("worker", "jobs:durable")
    process.worker_pids()
    wait_until(lambda: len(project.run("schedules", "--json").json) == 2, "both are known")
    yield process
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.lines


def test_schedules(project: Project, worker: Process) -> None:
    daily, weekly = project.run("schedules", "--json").json
    assert (daily["name"], daily["expression"]) == ("daily", "cron 0 9 * * * America/New_York")
    assert (weekly["overlap"], weekly["paused"], weekly["last_run_id"]) == ("skip", False, None)
    assert weekly["next_at"].endswith("T00:00:00+00:00")
    lines = project.run("schedules").out.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["daily", daily["expression"]], ["weekly", "every 604800 s"]]

    assert project.run("schedules", "--pause", "daily", "--pause", "weekly").out == "daily paused\nweekly paused\n"
    assert [each["paused"] for each in project.run("schedules", "--json").json] == [True, True]
    assert "\tpaused" in project.run("schedules").out
    assert project.run("schedules", "--resume", "weekly", "--json").json == [{"name": "weekly", "resumed": True}]

    (triggered,) = project.run("schedules", "--trigger", "daily", "--json").json
    assert triggered["name"] == "daily" and triggered["id"].startswith("daily@")
    wait_until(lambda: project.run("get", triggered["id"], "--json").json[0]["status"] == "completed", "it ran")
    assert project.run("schedules", "--trigger", "daily").out.startswith("daily@")

    assert project.run("schedules", "--remove", "daily").out == "daily removed\n"
    assert [each["name"] for each in project.run("schedules", "--json").json] == ["weekly"]


def test_unknown_ones_are_exit_code_1_and_impossible_names_2(project: Project) -> None:
    assert (project.run("schedules").code, project.run("schedules").out) == (0, "")
    for option in ("--pause", "--resume", "--trigger", "--remove"):
        unknown = project.run("schedules", option, "nobody")
        assert (unknown.code, unknown.out) == (1, "")
        assert "no schedule named 'nobody'" in unknown.err
        impossible = project.run("schedules", option, "no body")
        assert impossible.code == 2
        assert "schedule" in impossible.err
