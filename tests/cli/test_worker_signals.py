"""How a worker leaves: the first signal drains, the second stops at once."""

from __future__ import annotations

import signal
import socket

import pytest

from ._support import Project, is_alive, kill, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_first_signal_lets_running_steps_end(project: Project, number: signal.Signals) -> None:
    worker = project.spawn("worker", "shop:durable")
    id = project.start("gated", '"a"')
    project.has_begun("a")
    worker.send(number)
    worker.wait_for("draining")
    project.open("a")
    assert worker.wait() == 0
    assert project.status(id) == "completed"
    assert "Traceback" not in "".join(worker.lines)


def test_a_drain_that_cuts_exits_with_4_and_others_take_over(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", "--drain-timeout", "0")
    id = project.start("gated", '"a"')
    project.has_begun("a")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 4
    project.open("a")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    assert project.status(id) == "completed"


def test_a_thread_that_hangs_does_not_keep_the_process(project: Project) -> None:
    """Its step was cut; what it does in its thread ends with the process."""
    worker = project.spawn("worker", "shop:durable", "--drain-timeout", "0")
    id = project.start("hanging", '"a"')
    project.has_begun("a")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 4
    project.open("a")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    assert project.status(id) == "completed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_second_signal_stops_at_once(project: Project, number: signal.Signals) -> None:
    worker = project.spawn("worker", "shop:durable", "--lease", "1")
    id = project.start("gated", '"a"')
    project.has_begun("a")
    worker.send(number)
    worker.wait_for("draining")
    worker.send(number)
    assert worker.wait() == 128 + number
    assert project.status(id) == "running"


def test_second_signal_gets_through_a_blocked_loop(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable")
    project.start("blocking", '"a"')
    project.has_begun("a")
    # Nothing can be seen of the first one while the loop is blocked.
    wait_until(lambda: worker.send(signal.SIGTERM) or worker.popen.poll() is not None, "the worker ends")
    assert worker.wait() == 128 + signal.SIGTERM


def test_sigterm_during_the_start(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        worker = project.spawn("worker", "shop:durable", env={"DURABLE_URL": f"redis://127.0.0.1:{port}"})
        connection, _ = silent.accept()
        with connection:
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0


def test_sighup_under_nohup_is_ignored(project: Project) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = project.spawn("worker", "shop:durable")
    finally:
        signal.signal(signal.SIGHUP, before)
    worker.worker_pids()
    worker.send(signal.SIGHUP)
    assert project.run("start", "shop:durable", "double", "4", "--wait").out == "8\n"
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_supervisor_passes_signals_on(project: Project) -> None:
    supervisor = project.spawn("worker", "shop:durable", "-w", "2")
    pids = supervisor.worker_pids(2)
    id = project.start("gated", '"a"')
    project.has_begun("a")
    supervisor.send(signal.SIGINT)
    supervisor.wait_for("SIGINT: draining", 2)
    project.open("a")
    assert supervisor.wait() == 0
    assert project.status(id) == "completed"
    assert not any(is_alive(pid) for pid in pids)


def test_second_signal_ends_the_supervisor_and_its_children(project: Project) -> None:
    supervisor = project.spawn("worker", "shop:durable", "-w", "2")
    pids = supervisor.worker_pids(2)
    project.start("gated", '"a"')
    project.has_begun("a")
    supervisor.send(signal.SIGTERM)
    supervisor.wait_for("SIGTERM: draining", 2)
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 128 + signal.SIGTERM
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "the children have ended")


def test_children_leave_when_the_supervisor_is_killed(project: Project) -> None:
    supervisor = project.spawn("worker", "shop:durable", "-w", "2")
    pids = supervisor.worker_pids(2)
    kill(supervisor.pid)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "the children have left")
    supervisor.wait()
    assert sum("supervisor is gone" in line for line in supervisor.lines) == 2
