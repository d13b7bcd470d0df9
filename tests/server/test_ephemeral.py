"""Private servers for tests: what can be done to one, and that none is ever left behind."""

from __future__ import annotations

import gc
import os
import signal
import stat
import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from durable_async.errors import ConfigurationError
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server
from durable_async.server.probe import ABSENT, ALIVE, Probe, greet

from ._support import is_alive, python, script, wait_for_exit, wait_until

OWN = """
import sys
from durable_async.server.ephemeral import ephemeral_server
server = ephemeral_server(sys.argv[1] or None)
server.start()
print(server.pid, server.directory, flush=True)
if sys.argv[2] == "pause":
    server.pause()
    print("paused", flush=True)
sys.stdin.readline()
"""


def ask(server: EphemeralServer, *words: str) -> str:
    with Probe(server._address) as probe:
        return probe.ask(*words)


def guard_of(server: EphemeralServer) -> int:
    return int(psutil.Process(server.pid).ppid())


def test_unix_socket(binary: str) -> None:
    with ephemeral_server(binary) as server:
        assert ask(server, "PING") == "PONG"
        socket = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert psutil.Process(server.pid).net_connections("inet") == []
        pid = server.pid
    assert not is_alive(pid)
    assert not server.directory.exists()


def test_tcp_on_loopback_only(binary: str) -> None:
    with ephemeral_server(binary, tcp=True) as server:
        assert ask(server, "PING") == "PONG"
        addresses = {c.laddr.ip for c in psutil.Process(server.pid).net_connections("inet") if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}
        assert server.url.startswith("redis://127.0.0.1:")
        url = server.url
        server.restart()
        assert server.url == url
        assert ask(server, "PING") == "PONG"


@pytest.mark.anyio
async def test_async() -> None:
    async with ephemeral_server() as server:
        assert ask(server, "PING") == "PONG"
        pid = server.pid
    assert not is_alive(pid)


def test_kill_and_restart_keep_what_was_logged(binary: str) -> None:
    with ephemeral_server(binary, appendonly=True, fsync="always") as server:
        ask(server, "SET", "k", "kept")
        url, pid = server.url, server.pid
        server.kill()
        assert not is_alive(pid)
        assert greet(server._address) == ABSENT
        with pytest.raises(RuntimeError, match="restart"):
            server.kill()
        server.restart()
        assert server.url == url
        assert ask(server, "GET", "k") == "kept"
        server.restart()
        assert ask(server, "GET", "k") == "kept"


def test_without_a_log_a_restart_forgets(binary: str) -> None:
    with ephemeral_server(binary) as server:
        ask(server, "SET", "k", "v")
        server.restart()
        assert ask(server, "EXISTS", "k") == "0"


def test_pause_and_resume(binary: str) -> None:
    with ephemeral_server(binary) as server:
        server.pause()
        assert greet(server._address, timeout=0.01) == ABSENT
        server.resume()
        assert greet(server._address, timeout=10) == ALIVE


@pytest.mark.parametrize("do", ["restart", "kill", "stop"])
def test_a_paused_server_can_be_ended(do: str) -> None:
    with ephemeral_server() as server:
        pid = server.pid
        server.pause()
        getattr(server, do)()
        assert not is_alive(pid)


def test_extra_config(binary: str) -> None:
    limits = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with ephemeral_server(binary, extra_config={**limits, "databases": 2, "save": "900 1"}) as server:
        told = ask(server, "INFO", "memory")
        assert "maxmemory:104857600" in told
        assert "maxmemory_policy:allkeys-lru" in told


def test_stopping_is_final_and_repeatable() -> None:
    server = ephemeral_server()
    server.start()
    with pytest.raises(RuntimeError, match="already running"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="was stopped"):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_broken_program_says_why(tmp_path: Path) -> None:
    broken = script(tmp_path / "broken", "echo 'no way'; exit 1")
    server = ephemeral_server(broken)
    with pytest.raises(ConfigurationError, match="no way"), server:
        raise AssertionError("entered")
    assert not server.directory.exists()
    server = ephemeral_server(broken, tcp=True)
    with pytest.raises(ConfigurationError, match="no way"):
        server.start()
    server.stop()


def test_a_forgotten_server_is_ended() -> None:
    server = ephemeral_server()
    server.start()
    pid, directory = server.pid, server.directory
    del server
    gc.collect()
    assert not is_alive(pid)
    assert not directory.exists()


def test_the_thread_that_started_it_may_end() -> None:
    server = ephemeral_server()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    with Probe(server._address) as probe:
        assert probe.ask("PING") == "PONG"
    server.stop()


@pytest.mark.parametrize("state", ["run", "pause"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_it_ends_with_its_owner(end: signal.Signals | None, state: str) -> None:
    owner = python(OWN, "", state)
    assert owner.stdout is not None
    pid, directory = owner.stdout.readline().split()
    if state == "pause":
        owner.stdout.readline()
    if end is not None:
        os.killpg(owner.pid, end)
    owner.communicate("\n" if end is None else None)
    wait_for_exit(int(pid))
    wait_until(lambda: not Path(directory).exists(), "the directory is removed")


def test_it_ends_with_its_guard() -> None:
    with ephemeral_server() as server:
        pid = server.pid
        server.pause()
        os.kill(guard_of(server), signal.SIGKILL)
        wait_for_exit(pid)


def test_a_forked_copy_of_the_owner_leaves_it_alone() -> None:
    with ephemeral_server() as server:
        resources = server._resources
        resources.owner += 1  # what a fork looks like from inside the copy
        resources.drop()
        assert ask(server, "PING") == "PONG"
        resources.owner -= 1
