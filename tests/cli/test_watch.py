"""`durable watch`, against a worker process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ._support import Process, Project, wait_until


@pytest.fixture
def worker(project: Project) -> Iterator[Process]:
    process = project.spawn("worker", "shop:durable")
    process.worker_pids()
    yield process
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.lines


def test_it_follows_a_run_to_its_end(project: Project, worker: Process) -> None:
    project.start("twice", '{"number": 4}', "--id", "x")
    done = project.run("watch", "x", "--json")
    assert (done.code, done.err) == (0, "")
    events = done.json
    assert {e["run_id"] for e in events} == {"x"}
    assert [e["data"]["what"] for e in events if e["kind"] == "child"] == ["child_started", "child_completed"]
    assert [e["data"]["status"] for e in events if e["kind"] == "status"][::100] == ["pending"]
    assert events[-1]["data"] == {"status": "completed"}
    first = next(n for n, e in enumerate(events) if e["kind"] == "child")
    rest = project.run("watch", "x", "--json", "--after", events[first]["id"]).json
    assert [e["data"].get("what") for e in rest if e["kind"] == "child"] == ["child_completed"]
    lines = project.run("watch", "x").out.splitlines()
    assert lines[0].endswith("status  pending")
    assert "  child  child_completed  x/double" in "\n".join(lines)
    assert lines[-1].endswith("status  completed")


def test_it_waits_with_the_run(project: Project, worker: Process) -> None:
    project.start("waiting", "--id", "w")
    watcher = project.spawn("watch", "w", "--json")
    wait_until(lambda: project.status("w") == "waiting", "w waits")
    assert watcher.popen.poll() is None
    assert project.run("send", "w", "go", '"now"').code == 0
    assert watcher.wait() == 0


def test_a_failed_run_is_exit_code_1(project: Project, worker: Process) -> None:
    project.start("declined", '"no \\u001b[31mmoney"', "--id", "x")
    done = project.run("watch", "x")
    assert (done.code, done.err) == (1, "durable watch: run x ended failed\n")
    assert "\x1b" not in done.out
    assert done.out.splitlines()[-1].startswith("20") and "ValueError: no " in done.out.splitlines()[-1]
    assert project.run("watch", "nobody").code == 1
    assert project.run("watch", "x", "--after", "bogus").code == 2
    assert project.run("watch", "a b").code == 2
