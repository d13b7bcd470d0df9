"""The commands about questions, against a worker process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ._support import Process, Project, wait_until

NAME = "size\n"


@pytest.fixture
def worker(project: Project) -> Iterator[Process]:
    process = project.spawn("worker", "shop:durable")
    process.worker_pids()
    yield process
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.lines


def test_questions_are_listed_and_answered(project: Project, worker: Process) -> None:
    assert (project.run("inputs").out, project.run("inputs", "--json").out) == ("", "")
    for id in ("a", "b"):
        project.start("asking", "3600", "--id", id)
        wait_until(lambda id=id: project.run("inputs", "--run", id).out, f"{id} asks")
    first, second = project.run("inputs", "--json").json
    assert (first["run_id"], second["run_id"], first["name"], first["kind"]) == ("a", "b", NAME, "choice")
    assert (first["choices"], first["prompt"], first["fields"], first["metadata"]) == (["S", 3], "Which\nsize?", [], {})
    assert first["since"] < first["expires_at"]
    lines = project.run("inputs").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [[id, "size", "choice: S, 3"] for id in ("a", "b")]
    assert lines[0].endswith("Which size?")
    assert [r["run_id"] for r in project.run("inputs", "--json", "--limit", "1").json] == ["a"]
    assert project.run("inputs", "--name", "other").out == ""
    assert project.run("get", "a", "--json").json[0]["waiting_for"] == f"input {NAME}"

    wrong = project.run("answer", "a", NAME, '"M"')
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert "takes one of 'S', 3; got 'M'" in wrong.err
    assert project.run("answer", "a", NAME, '"S"').code == 0
    wait_until(lambda: project.status("a") == "completed", "a gets its answer")
    assert project.run("answer", "b", NAME, "-", "--json", stdin=b"3").json == [{"id": "b", "input": NAME}]
    wait_until(lambda: project.status("b") == "completed", "b gets its answer")
    late = project.run("answer", "a", NAME, '"S"')
    assert (late.code, late.err.count("\n")) == (1, 1)
    assert "durable answer: run a does not ask" in late.err
    assert project.run("answer", "nobody", NAME, '"S"').code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        *(("inputs", "--limit", "0"), ("inputs", "--limit", "1001"), ("inputs", "--run", "a b")),
        *(("inputs", "--name", ""), ("inputs", "--name", "x" * 129), ("answer", "a", NAME)),
        *(("answer", "a", "", "1"), ("answer", "a", NAME, "{"), ("answer", "a b", NAME, "1")),
    ],
    ids=" ".join,
)
def test_usage(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.run(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
