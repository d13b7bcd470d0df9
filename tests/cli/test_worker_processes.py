"""Bursts, the supervisor's restarts, reloading, and where the settings come from."""

from __future__ import annotations

import os
import signal

import orjson

from ._support import Project, is_alive, kill, wait_until


def test_burst_runs_what_is_runnable_and_leaves(project: Project) -> None:
    first = project.start("twice", '{"number": 3}')
    parked = project.start("waiting")
    done = project.run("worker", "shop", "--burst")
    assert done.code == 0, done.err
    assert project.status(first) == "completed"
    assert project.status(parked) == "waiting"


def test_burst_of_several_processes(project: Project) -> None:
    ids = [project.start("double", str(n)) for n in range(3)]
    done = project.run("worker", "shop:durable", "--burst", "-w", "3")
    assert done.code == 0, done.err
    assert {project.status(id) for id in ids} == {"completed"}
    assert "another one starts" not in done.err


def test_a_killed_child_is_started_again(project: Project) -> None:
    supervisor = project.spawn("worker", "shop:durable", "-w", "2", "--lease", "1")
    first, second = supervisor.worker_pids(2)
    id = project.start("gated", '"a"')
    project.has_begun("a")
    kill(first)
    kill(second)
    supervisor.wait_for("was killed by SIGKILL; another one starts", 2)
    third, fourth = supervisor.worker_pids(4)[2:]
    project.open("a")
    wait_until(lambda: project.status(id) == "completed", "a new process takes the run over")
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 0
    assert not any(is_alive(pid) for pid in (first, second, third, fourth))


def test_a_child_told_to_leave_by_somebody_else_is_started_again(project: Project) -> None:
    supervisor = project.spawn("worker", "shop:durable", "-w", "2")
    first, second = supervisor.worker_pids(2)
    os.kill(first, signal.SIGTERM)
    supervisor.wait_for("ended with 0; another one starts")
    assert len(set(supervisor.worker_pids(3))) == 3
    assert is_alive(second)
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 0


def test_what_is_wrong_with_all_processes_is_said_once(project: Project) -> None:
    done = project.run("worker", "shop:missing", "-w", "3")
    assert done.code == 2
    assert done.err.count("\n") == 1, done.err


def test_reload_starts_again_when_a_file_changes(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", "--reload", env={"PYTHONDONTWRITEBYTECODE": "1"})
    worker.worker_pids()
    worker.wait_for("watching the Python files")
    shop = project.directory / "shop.py"
    good = shop.read_text()
    shop.write_text(good + "this is no Python\n")
    worker.wait_for("cannot import 'shop': SyntaxError")
    worker.wait_for("waiting for a change")
    shop.write_text(good)
    worker.wait_for(r"shop\.py changed", 2)
    worker.worker_pids(2)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_reload_lets_running_steps_end(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", "--reload", env={"PYTHONDONTWRITEBYTECODE": "1"})
    (old,) = worker.worker_pids()
    worker.wait_for("watching the Python files")
    id = project.start("gated", '"slow"')
    project.has_begun("slow")
    shop = project.directory / "shop.py"
    shop.write_text(shop.read_text() + "# changed\n")
    worker.wait_for("SIGTERM: draining")
    project.open("slow")
    worker.wait_for("worker has left; nothing was cut")
    assert worker.worker_pids(2)[1] != old
    wait_until(lambda: project.status(id) == "completed", "it ends")
    assert project.run("get", id, "--json").json[0]["output"] == old, "where it had begun"
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_settings_from_the_environment(project: Project) -> None:
    env: dict[str, str | None] = {
        "DURABLE_QUEUES": "side,default",
        "DURABLE_CONCURRENCY": "7",
        "DURABLE_BURST": "1",
        "DURABLE_NAME": "me",
        "DURABLE_LOG_FORMAT": "json",
    }
    done = project.run("worker", "shop:durable", env=env)
    assert done.code == 0, done.err
    lines = [orjson.loads(line) for line in done.err.splitlines()]
    assert set(lines[0]) == {"time", "level", "logger", "pid", "message"}
    ready = next(line["message"] for line in lines if "is ready" in line["message"])
    assert ready.startswith("worker me-")
    assert "queues side, default, concurrency 7" in ready


def test_the_command_line_wins_over_the_environment(project: Project) -> None:
    env: dict[str, str | None] = {"DURABLE_URL": "redis://127.0.0.1:1", "DURABLE_CONCURRENCY": "7"}
    done = project.run("worker", "shop:durable", "--burst", "-c", "8", "--url", project.url, env=env)
    assert done.code == 0, done.err
    assert "concurrency 8" in done.err


def test_the_durable_of_the_code_wins_over_the_environment(project: Project) -> None:
    text = (project.directory / "shop.py").read_text()
    (project.directory / "shop.py").write_text(text.replace("Durable(", f"Durable({project.url!r}, "))
    done = project.run("worker", "shop:durable", "--burst", env={"DURABLE_URL": "redis://127.0.0.1:1"})
    assert done.code == 0, done.err


def test_embedded(project: Project) -> None:
    try:
        done = project.run("worker", "shop:durable", "--burst", "--embedded")
        assert done.code == 0, done.err
        assert (project.directory / ".durable").is_dir()
        env: dict[str, str | None] = {"DURABLE_URL": None}
        assert project.run("start", "shop:durable", "double", "2", "--id", "x", env=env).code == 0
        assert project.run("worker", "shop:durable", "--burst", env=env).code == 0
        assert project.run("get", "x", "--json", env=env).json[0]["output"] == 4
    finally:
        assert project.run("server", "--stop").out == "stopped\n"


def test_queues_that_nothing_uses_are_mentioned(project: Project) -> None:
    done = project.run("worker", "shop:durable", "--burst", "-q", "sdie")
    assert done.code == 0
    assert "no workflow here has the queue 'sdie'" in done.err


def test_logs_hold_no_payload(project: Project) -> None:
    id = project.start("declined", '"secret-4711"')
    done = project.run("worker", "shop:durable", "--burst", "--log-format", "json")
    assert project.status(id) == "failed"
    assert "secret-4711" not in done.err
