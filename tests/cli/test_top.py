"""`durable top`: what one look sees, and how it is shown."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from datetime import UTC, datetime, timedelta

from rich.console import Console

from durable_async import Durable, QueueInfo, RunInfo, Status, WorkerInfo
from durable_async.cli.top_command import Snapshot, _picture

from ._support import PATIENCE, Project, wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def shown(shot: Snapshot, trouble: str = "") -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(_picture(shot, Durable("redis://u:secret@localhost"), trouble))
    return console.export_text()


def test_looks(project: Project) -> None:
    project.start("waiting", "--id", "w")
    project.start("sideways", "--id", "s")
    project.start("double", "4711", "--id", "d")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    done = project.run("top", "--json", "--count", "2", "--interval", "0.01", "--limit", "5")
    assert (done.code, done.err) == (0, "")
    for look in done.json:
        assert [(q["name"], q["ready"], q["waiting"], q["workers"]) for q in look["queues"]] == [
            ("default", 0, 1, 0),
            ("side", 1, 0, 0),
        ]
        assert [(run["id"], run["status"], run["waiting_for"]) for run in look["runs"]] == [
            ("s", "pending", None),
            ("w", "waiting", "event go"),
        ]
        assert "input" not in look["runs"][0]
    plain = project.run("top")
    assert plain.code == 0
    assert "side\t1\t0\t0\t0\t" in plain.out and "\tevent go\n" in plain.out
    assert project.run("top", "--url", "redis://127.0.0.1:1").code == 3
    assert project.run("top", "--interval", "0").code == 2


def test_on_a_terminal_until_ctrl_c(project: Project) -> None:
    project.start("waiting", "--id", "the-one-that-waits")
    ours, theirs = pty.openpty()
    env = {**project.env, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    command = project.command("top", "--interval", "0.05")
    top = subprocess.Popen(command, cwd=project.directory, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    def looks() -> int:
        nonlocal seen
        seen += os.read(ours, 65_536)
        return seen.count(b"the-one-that-waits")

    try:
        wait_until(lambda: looks() >= 3, "it looks again and again")
        top.send_signal(signal.SIGINT)
        wait_until(lambda: top.poll() is not None or looks() < 0, "it leaves")
    except OSError:
        pass  # the terminal is gone with it
    finally:
        assert top.wait(PATIENCE) == 0
        os.close(ours)


def test_what_it_shows_is_text() -> None:
    queue = QueueInfo(
        name="mail", ready=3, running=0, waiting=1, paused=False, workers=0, oldest_ready_age=timedelta(minutes=7)
    )
    worker = WorkerInfo("w\x1b[31m", "h", 1, ("mail",), 5, 5, 9, NOW - timedelta(days=3), NOW - timedelta(seconds=2))
    run = RunInfo(
        id="r",
        workflow="[bold]",
        queue="mail",
        status=Status.WAITING,
        root_id="r",
        created_at=NOW,
        waiting_for="a\x1b]0;b",
    )
    text = shown(Snapshot(NOW, [queue], [worker], [run]), "the store cannot be reached")
    assert "secret" not in text and "redis://u:***@localhost" in text
    for words in ("no worker", "7 m", "5/5", "3 d", "2.0 s", "[bold]", r"a\x1b]0;b", "the store cannot be reached"):
        assert words in text, text
    assert "\x1b" not in text
    assert "nothing is active" in shown(Snapshot(NOW))
