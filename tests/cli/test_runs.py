"""The commands about runs, against a worker process."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from durable_async.cli.app import run
from durable_async.cli.exits import CliError
from durable_async.cli.json_input import read_json

from ._support import Process, Project, wait_until


@pytest.fixture
def worker(project: Project) -> Iterator[Process]:
    process = project.spawn("worker", "shop:durable")
    process.worker_pids()
    yield process
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.lines


def test_start_and_wait(project: Project, worker: Process) -> None:
    done = project.run("start", "shop:durable", "twice", '{"number": 21}', "--id", "x", "--wait")
    assert (done.code, done.out, done.err) == (0, '{"number":42}\n', "")
    again = project.run("start", "shop:durable", "twice", '{"number": 21}', "--id", "x", "--wait", "--json")
    assert again.json[0]["status"] == "completed"
    assert again.json[0]["output"] == {"number": 42}
    from_stdin = project.run("start", "shop:durable", "double", "-", "--wait", stdin=b" 4 ")
    assert from_stdin.out == "8\n"


def test_a_failed_run_is_exit_code_1(project: Project, worker: Process) -> None:
    done = project.run("start", "shop:durable", "declined", '"no \\u001b[31mmoney\\nat all"', "--id", "x", "--wait")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("durable start: run x ended failed: ValueError: no ")
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1
    as_json = project.run(
        "start", "shop:durable", "declined", '"no \\u001b[31mmoney\\nat all"', "--id", "x", "--wait", "--json"
    )
    assert as_json.code == 1
    assert as_json.json[0]["error"]["type"] == "ValueError"
    assert "\x1b" not in project.run("get", "x").out
    assert "\x1b" not in project.run("history", "x").out
    assert "\x1b" not in project.run("list").out


def test_looking_at_runs(project: Project, worker: Process) -> None:
    assert project.run("start", "shop:durable", "twice", '{"number": 1}', "--id", "x", "--wait").code == 0
    runs = project.run("get", "x", "x/double", "--json").json
    assert [r["id"] for r in runs] == ["x", "x/double"]
    assert runs[1]["parent_id"] == "x"
    assert "status: completed\n" in project.run("get", "x").out
    tree = project.run("tree", "x", "--json").json[0]
    assert [child["ref"] for child in tree["children"]] == ["double"]
    assert project.run("tree", "x").out == "x  twice  completed\n  double  double  completed\n"
    kinds = [event["kind"] for event in project.run("history", "x", "--json").json]
    assert kinds == ["started", "child_started", "child_completed", "completed"]
    assert "child_started" in project.run("history", "x").out


def test_lists(project: Project) -> None:
    for n in range(4):
        project.start("double", str(n), "--id", f"d{n}")
    project.start("waiting", "--id", "w")
    assert [r["id"] for r in project.run("list", "--json").json] == ["w", "d3", "d2", "d1", "d0"]
    some = project.run("list", "--json", "--workflow", "double", "--limit", "2", "--id-prefix", "d")
    assert [r["id"] for r in some.json] == ["d3", "d2"]
    assert "there are more" in some.err
    assert project.run("list", "--json", "--status", "completed").out == ""
    assert len(project.run("list", "--status", "pending", "--status", "failed").out.splitlines()) == 5
    assert project.run("list", "--status", "bogus").code == 2
    assert project.run("list", "--limit", "0").code == 2
    assert project.run("list", "--since", "2999-01-01").out == ""


def test_queues_and_workers(project: Project) -> None:
    for n in range(2):
        project.start("double", str(n), "--id", f"d{n}")
    assert project.run("workers").out == ""
    (queue,) = project.run("queues", "--json").json
    age = queue.pop("oldest_ready_age")
    assert age >= 0
    assert queue == {"name": "default", "ready": 2, "running": 0, "waiting": 0, "paused": False, "workers": 0}
    assert re.fullmatch(r"default\t2\t0\t0\t0\t\d+\.\d s\n", project.run("queues").out)


def test_pausing_queues(project: Project, worker: Process) -> None:
    assert project.run("pause", "default", "side").out == "queue default is paused\nqueue side is paused\n"
    project.start("double", "4", "--id", "x")
    assert [q["paused"] for q in project.run("queues", "--json").json] == [True, True]
    assert project.run("queues").out.splitlines()[0].endswith("paused")
    assert project.status("x") == "pending"
    resumed = project.run("resume", "default", "side", "--json").json
    assert resumed == [{"name": "default", "paused": False}, {"name": "side", "paused": False}]
    wait_until(lambda: project.status("x") == "completed", "it goes on")
    for command in ("pause", "resume"):
        assert project.run(command).code == project.run(command, "a:b").code == 2


def test_queues_and_workers_of_a_worker(project: Project, worker: Process) -> None:
    (found,) = project.run("workers", "--json").json
    assert (found["pid"], found["queues"], found["running"]) == (worker.worker_pids()[0], ["default"], 0)
    assert found["id"] in project.run("workers").out
    assert [q["workers"] for q in project.run("queues", "--json").json] == [1]


def test_events_and_ends(project: Project, worker: Process) -> None:
    for name in ("a", "b", "c"):
        project.start("waiting", "--id", name)
    assert project.run("send", "a", "go", '"now"').code == 0
    wait_until(lambda: project.status("a") == "completed", "a gets its event")
    assert project.run("cancel", "b", "--reason", "enough").out == "b cancelled\n"
    wait_until(lambda: project.status("b") == "cancelled", "b is cancelled")
    assert project.run("get", "b", "--json").json[0]["reason"] == "enough"
    assert project.run("cancel", "b", "--json").json == [{"id": "b", "cancelled": False}]
    assert project.run("terminate", "c", "--json").json == [{"id": "c", "terminated": True}]
    assert project.status("c") == "cancelled"
    late = project.run("send", "a", "go")
    assert (late.code, late.err) == (1, "durable send: run a has ended: it takes no event\n")


def test_another_try_and_a_fork(project: Project, worker: Process) -> None:
    project.run("start", "shop:durable", "declined", '"no"', "--id", "x", "--wait")
    done = project.run("retry", "x")
    assert (done.code, done.out, done.err) == (0, "x goes on\n", "")
    wait_until(lambda: project.status("x") == "failed", "it fails again")
    assert project.run("retry", "x", "--json").json == [{"id": "x", "retried": True}]
    forked = project.run("fork", "x", "--from-step", "decline").out.strip()
    wait_until(lambda: project.status(forked) == "failed", "so does its fork")
    no_step = project.run("fork", "x", "--from-step", "nothing")
    assert no_step.code == 2 and "no step 'nothing'; it has decline" in no_step.err
    project.start("waiting", "--id", "w")
    wait_until(lambda: project.status("w") == "waiting", "it waits")
    refused = project.run("retry", "w")
    assert refused.code == 1 and "only a run that has failed" in refused.err


@pytest.mark.parametrize("command", ["get", "tree", "history", "cancel", "terminate", "retry"])
def test_unknown_runs_are_exit_code_1_and_impossible_ids_2(
    project: Project, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    unknown = project.run(command, "nobody")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (1, "", 1)
    assert "nobody" in unknown.err
    for id in ("", "a b", "a" * 300, "é", "a/../b\x1b"):
        assert run([command, id]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "\x1b" not in err


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{'number': 1}", "is not JSON"),
        ("", "is not JSON"),
        ('{"number": 1', "is not JSON"),
        ('{"number": -9223372036854775809}', "does not fit 64 bits"),
        ('{"number": ' + "9" * 5000 + "}", "does not fit 64 bits"),
        ('{"number": NaN}', "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ('{"number": 1e999}', "too large for a float"),
        ('{"number": 1, "number": 2}', "comes twice"),
        ('{"number": 1, "note": "\\ud800"}', "surrogate"),
        ("\ufeff{}", "is not JSON"),
        ("\udcff", "byte 1 is not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ("hello", "a text needs quotes"),
    ],
)
def test_json_that_is_refused(text: str, part: str) -> None:
    with pytest.raises(CliError, match=re.escape(part)) as caught:
        read_json(text, "the input")
    assert caught.value.code == 2
    assert len(str(caught.value)) < 200


def test_json_is_taken_exactly() -> None:
    text = '{"a": [18446744073709551615, -9223372036854775808, 0.1, "é\\u0000", null, true]}'
    assert read_json(text, "the input") == {"a": [2**64 - 1, -(2**63), 0.1, "é\0", None, True]}


@pytest.mark.parametrize(
    ("workflow", "text", "part"),
    [
        ("twice", '{"number": 18446744073709551616}', "does not fit 64 bits"),
        ("twice", '{"number": "1"}', "input.number"),
        ("twice", "{}", "number"),
        ("waiting", "1", "takes no input"),
        ("nothing", "1", "no workflow is named 'nothing'"),
    ],
)
def test_inputs_are_taken_exactly_or_refused(project: Project, workflow: str, text: str, part: str) -> None:
    done = project.run("start", "shop:durable", workflow, text)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert part in done.err
    assert project.run("list").out == ""


def test_other_inputs_that_are_no_json(project: Project) -> None:
    for stdin in (b"\xff", b"\xef\xbb\xbf1", b"1 2"):
        assert project.run("start", "shop:durable", "double", "-", stdin=stdin).code == 2
    done = project.run("start", "shop:durable", "double", "1", "--id", "a/b")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_conflict_is_exit_code_1(project: Project) -> None:
    project.start("double", "1", "--id", "x")
    done = project.run("start", "shop:durable", "double", "2", "--id", "x")
    assert done.code == 1
    assert "another input" in done.err


def test_without_a_store_nothing_is_made(project: Project) -> None:
    done = project.run("list", env={"DURABLE_URL": None})
    assert done.code == 2
    assert "no store is known" in done.err
    assert not (project.directory / ".durable").exists()


def test_server(project: Project) -> None:
    try:
        started = project.run("server", "--data-dir", "data", "--json")
        assert started.code == 0, started.err
        url = started.json[0]["url"]
        listed = project.run("list", "--url", url)
        assert (listed.code, listed.out, listed.err) == (0, "", "")
        assert project.run("server", "--data-dir", "data").out.startswith(f"url: {url}\n")
    finally:
        assert project.run("server", "--data-dir", "data", "--stop").out == "stopped\n"
    assert project.run("server", "--data-dir", "data", "--stop", "--json").json == [{"stopped": False}]
    (project.directory / "file").touch()
    assert project.run("server", "--data-dir", "file").code == 2
