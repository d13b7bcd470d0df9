"""The server of a data directory: one, private, kept alive, and gone when nobody needs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.server.embedded import Endpoint, ensure_server, ensure_server_async
from durable_async.server.home import READY, SOCKET_PATH_BYTES, STOPPED, Home
from durable_async.server.probe import Probe

from ._support import PATIENCE, ask, is_alive, python, script, servers_in, wait_for_exit, wait_until
from .conftest import Embedded

ENSURE = """
import sys, json
from durable_async.server.embedded import ensure_server
sys.stdin.readline()
found = ensure_server(sys.argv[1], binary=sys.argv[2])
print(json.dumps([found.pid, found.supervisor_pid, str(found.socket)]), flush=True)
sys.stdin.readline()
"""


def config_of(found: Endpoint, name: str) -> str:
    """One setting of a server, by its own word."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(found.socket))
        connection.sendall(f"CONFIG GET {name}\r\n".encode())
        reply = b""
        while reply.count(b"\r\n") < 5:  # a header, and two times a length and a text
            reply += connection.recv(4096)
    return reply.split(b"\r\n")[4].decode()


def test_racing_processes_get_one_server(embedded: Embedded, data_dir: Path, binary: str) -> None:
    embedded()
    racers = [python(ENSURE, str(data_dir), binary) for _ in range(20)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = {racer.communicate("done\n")[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 20
    assert len(answers) == 1
    pid, _, path = json.loads(answers.pop())
    assert servers_in(data_dir) == [pid]
    assert ask(path, "PING") == "PONG"


def test_the_second_call_joins(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    first = server.ensure()
    assert server.ensure() == first
    assert ensure_server(data_dir, binary="/nowhere") == first
    assert first.data_dir == data_dir
    assert first.url == f"unix://{data_dir}/server.sock"


@pytest.mark.anyio
async def test_async(embedded: Embedded, data_dir: Path) -> None:
    embedded()
    found = await ensure_server_async(data_dir)
    assert ask(found.socket, "PING") == "PONG"


def test_only_its_user_can_reach_it(embedded: Embedded, data_dir: Path, binary: str) -> None:
    found = embedded(binary=binary).ensure()
    assert stat.S_IMODE(found.socket.stat().st_mode) == 0o700
    assert stat.S_ISSOCK(found.socket.stat().st_mode)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert psutil.Process(found.pid).net_connections("inet") == []
    assert psutil.Process(found.supervisor_pid).net_connections("inet") == []
    for file in data_dir.glob("*"):
        assert file.name == ".gitignore" or stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_settings(embedded: Embedded, data_dir: Path, binary: str, fsync: str) -> None:
    found = embedded(binary=binary, fsync=fsync).ensure()
    config = {name: config_of(found, name) for name in ("appendonly", "appendfsync", "save", "port", "dir")}
    assert config == {"appendonly": "yes", "appendfsync": fsync, "save": "", "port": "0", "dir": str(data_dir)}
    assert config_of(found, "maxmemory-policy") == "noeviction"
    assert config_of(found, "aof-load-truncated") == "yes"


def test_a_wrong_fsync_is_refused(embedded: Embedded) -> None:
    with pytest.raises(ConfigurationError, match="'always', 'everysec' or 'no'"):
        embedded(fsync="sometimes")


def test_a_killed_server_is_restarted_with_its_data(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    os.kill(first.pid, signal.SIGKILL)
    wait_for_exit(first.pid)
    second = server.ensure()
    assert second.pid != first.pid
    assert (second.supervisor_pid, second.socket) == (first.supervisor_pid, first.socket)
    assert ask(second.socket, "GET", "k") == "kept"
    assert servers_in(data_dir) == [second.pid]


def test_a_killed_supervisor_is_replaced(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    os.kill(first.supervisor_pid, signal.SIGKILL)
    wait_for_exit(first.supervisor_pid)  # until then, the server is as good as any
    second = server.ensure()
    assert second.supervisor_pid != first.supervisor_pid
    assert ask(second.socket, "GET", "k") == "kept"
    assert servers_in(data_dir) == [second.pid]


def test_supervisor_and_server_killed_together(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    os.kill(first.supervisor_pid, signal.SIGKILL)
    os.kill(first.pid, signal.SIGKILL)
    wait_for_exit(first.supervisor_pid)
    second = server.ensure()
    assert ask(second.socket, "GET", "k") == "kept"
    assert servers_in(data_dir) == [second.pid]


def test_a_frozen_server_without_supervisor_is_replaced(embedded: Embedded, data_dir: Path) -> None:
    server = embedded()
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    os.kill(first.pid, signal.SIGSTOP)
    os.kill(first.supervisor_pid, signal.SIGKILL)
    wait_for_exit(first.supervisor_pid)  # until then, the server is as good as any
    second = server.ensure()
    assert not is_alive(first.pid)
    assert ask(second.socket, "GET", "k") == "kept"
    assert servers_in(data_dir) == [second.pid]


def test_a_server_does_not_stay_without_a_supervisor(embedded: Embedded) -> None:
    found = embedded().ensure()
    os.kill(found.supervisor_pid, signal.SIGKILL)
    wait_for_exit(found.pid)


def test_it_leaves_when_idle_and_comes_back(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary, idle_exit=0.3)
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    wait_for_exit(first.supervisor_pid)
    assert not is_alive(first.pid)
    assert not first.socket.exists()
    assert Home(str(data_dir)).read().state == STOPPED
    second = server.ensure()
    assert ask(second.socket, "GET", "k") == "kept"


def test_it_stays_while_somebody_is_connected(embedded: Embedded) -> None:
    found = embedded(idle_exit=0.05).ensure()
    with Probe(str(found.socket)) as probe:
        started = probe.ask("INFO", "commandstats")
        # The supervisor looks by INFO: ten looks are several idle times.
        wait_until(lambda: _calls(probe.ask("INFO", "commandstats")) > _calls(started) + 20, "many looks")
        assert is_alive(found.supervisor_pid)
    wait_for_exit(found.supervisor_pid)


def _calls(stats: str) -> int:
    return int(stats.partition("cmdstat_info:calls=")[2].partition(",")[0] or 0)


def test_asking_while_it_leaves_gets_a_server(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary, idle_exit=0.4)
    home = Home(str(data_dir))
    for _ in range(3):
        first = server.ensure()
        wait_until(lambda: home.read().state != READY, "it is leaving")
        second = server.ensure()
        assert ask(second.socket, "PING") == "PONG"
        assert second.supervisor_pid != first.supervisor_pid
        assert servers_in(data_dir) == [second.pid]


def test_nobody_joins_while_the_supervisor_decides(embedded: Embedded, data_dir: Path) -> None:
    server = embedded()
    server.ensure()
    found: list[Endpoint] = []
    asking = threading.Thread(target=lambda: found.append(server.ensure()))
    with Home(str(data_dir)).deciding() as decides:
        assert decides
        asking.start()
        asking.join(0.1)
        assert not found
    asking.join()
    assert found


def test_it_outlives_its_starter(embedded: Embedded, data_dir: Path, binary: str) -> None:
    embedded()
    starter = python(ENSURE, str(data_dir), binary)
    assert starter.stdin is not None
    assert starter.stdout is not None
    starter.stdin.write("go\n")
    starter.stdin.flush()
    pid, supervisor_pid, path = json.loads(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert ask(path, "PING") == "PONG"
    assert servers_in(data_dir) == [pid]
    assert os.getsid(pid) not in (os.getsid(0), starter.pid)
    assert psutil.Process(supervisor_pid).ppid() not in (os.getpid(), starter.pid)


def test_sigterm_is_a_clean_shutdown(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    found = server.ensure()
    os.kill(found.supervisor_pid, signal.SIGTERM)
    wait_for_exit(found.supervisor_pid)
    assert not is_alive(found.pid)
    assert not found.socket.exists()
    assert "ready to exit" in found.log.read_text()
    assert Home(str(data_dir)).read().state == STOPPED


def test_shutting_the_server_down_by_hand_ends_both(embedded: Embedded) -> None:
    found = embedded().ensure()
    with pytest.raises(OSError, match="closed"):
        ask(found.socket, "SHUTDOWN")
    wait_for_exit(found.supervisor_pid)


def test_stop(embedded: Embedded, data_dir: Path) -> None:
    server = embedded()
    assert not server.stop()
    assert not data_dir.exists()
    found = server.ensure()
    assert server.stop()
    assert not is_alive(found.pid)
    assert not server.stop()


def test_a_long_data_directory(embedded: Embedded, tmp_path: Path, binary: str) -> None:
    long = tmp_path / ("long" * 30) / "a 'quoted\" name with % and ?"
    server = embedded(long, binary=binary)
    found = server.ensure()
    assert len(str(found.socket)) <= SOCKET_PATH_BYTES < len(str(long))
    assert stat.S_IMODE(found.socket.parent.stat().st_mode) == 0o700
    ask(found.socket, "SET", "k", "kept")
    assert server.stop()
    assert not found.socket.parent.exists()
    again = server.ensure()
    assert again.socket == found.socket
    assert ask(again.socket, "GET", "k") == "kept"


def test_a_strange_name(embedded: Embedded, tmp_path: Path, binary: str) -> None:
    found = embedded(tmp_path / "a 'b\" %?#", binary=binary).ensure()
    assert found.socket.parent == tmp_path / "a 'b\" %?#"
    assert found.url.endswith("/a%20%27b%22%20%25%3F%23/server.sock")
    assert ask(found.socket, "PING") == "PONG"


def test_a_torn_log_loads(embedded: Embedded, data_dir: Path, binary: str) -> None:
    server = embedded(binary=binary)
    found = server.ensure()
    ask(found.socket, "SET", "k", "kept")
    ask(found.socket, "SET", "torn", "x" * 100)
    server.stop()
    (log,) = data_dir.glob("appendonlydir/*.incr.aof")
    os.truncate(log, log.stat().st_size - 50)
    found = server.ensure()
    assert ask(found.socket, "GET", "k") == "kept"
    assert ask(found.socket, "EXISTS", "torn") == "0"


@pytest.mark.parametrize("can_rewrite", [True, False], ids=["rewritten", "no-rewrite"])
def test_a_script_that_was_torn_is_not_done_by_half_later(
    embedded: Embedded, data_dir: Path, binary: str, can_rewrite: bool
) -> None:
    """Redis up to 8.2 leaves the half of it in its file; the start after would do that, with what came behind it.

    A server that can write no new file is not used before its file is whole: the start after it cuts the half off.
    """
    script = (
        "for i = 1, 5 do redis.call('RPUSH', 'list', i) end redis.call('INCR', 'times') return redis.status_reply('OK')"
    )
    server = embedded(binary=binary)
    found = server.ensure()
    ask(found.socket, "EVAL", script, "0")
    (log,) = data_dir.glob("appendonlydir/*.incr.aof")
    first = log.stat().st_size
    ask(found.socket, "EVAL", script, "0")
    size = log.stat().st_size
    server.stop()
    os.truncate(log, (first + size) // 2)
    if not can_rewrite:
        # No file can take the place of a directory.
        (log.parent / "appendonly.aof.2.base.rdb" / "in the way").mkdir(parents=True)
    for times in (1, 2):
        found = server.ensure()
        assert (ask(found.socket, "LLEN", "list"), ask(found.socket, "GET", "times")) == (str(5 * times), str(times))
        ask(found.socket, "EVAL", script, "0")
        server.stop()
    said = (data_dir / "server.log").read_text()
    assert ("it could write no new one: it is started again" in said) is not can_rewrite


def test_a_removed_directory_ends_its_server(embedded: Embedded, data_dir: Path) -> None:
    server = embedded(idle_exit=1)
    first = server.ensure()
    shutil.rmtree(data_dir)
    second = server.ensure()
    assert second.supervisor_pid != first.supervisor_pid
    wait_for_exit(first.supervisor_pid)
    assert not is_alive(first.pid)
    assert ask(second.socket, "PING") == "PONG"


def test_a_removed_socket_is_made_anew(embedded: Embedded) -> None:
    server = embedded(idle_exit=1)
    first = server.ensure()
    ask(first.socket, "SET", "k", "kept")
    first.socket.unlink()
    second = server.ensure()
    assert second.pid != first.pid
    assert ask(second.socket, "GET", "k") == "kept"


def test_a_missing_program(embedded: Embedded, data_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="not an executable file"):
        embedded(binary=data_dir / "nothing").ensure()
    assert ask(embedded().ensure().socket, "PING") == "PONG"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'I cannot do this' >&2; exit 3", "I cannot do this"),
        ("exit 0", "said nothing|exited with status 0"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
    ],
)
def test_a_broken_program(embedded: Embedded, tmp_path: Path, text: str, said: str) -> None:
    broken = script(tmp_path / "broken", text)
    server = embedded(binary=broken)
    with pytest.raises(ConfigurationError, match=r"5 times in a row.*server\.log") as caught:
        server.ensure()
    assert caught.match(said)
    with pytest.raises(ConfigurationError, match="5 times in a row"):
        server.ensure()
    log = (tmp_path / "data" / "server.log").read_text()
    assert "giving up: the server ended 5 times in a row" in log
    assert ask(embedded().ensure().socket, "PING") == "PONG"


def test_a_program_for_another_machine(embedded: Embedded, tmp_path: Path) -> None:
    alien = tmp_path / "alien"
    alien.write_bytes(b"\x7fELF not really")
    alien.chmod(0o755)
    with pytest.raises(ConfigurationError, match="cannot execute"):
        embedded(binary=alien).ensure()


def test_callers_who_waited_share_one_failure(data_dir: Path, tmp_path: Path) -> None:
    broken = script(tmp_path / "broken", f"echo tried >> {tmp_path}/tries; exit 1")
    racers = [python(ENSURE, str(data_dir), str(broken)) for _ in range(8)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate("done\n")
    assert all(racer.returncode == 1 for racer in racers)
    # Five tries if all were waiting; a caller that arrives after the failure tries for itself.
    assert len((tmp_path / "tries").read_text().split()) < 5 * len(racers)


def test_a_server_that_hangs_at_its_start_is_reported(embedded: Embedded, tmp_path: Path) -> None:
    hanging = script(tmp_path / "hanging", "exec sleep 1000")
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s.*starting.*server\.log"):
        embedded(binary=hanging, timeout=0.2).ensure()


def test_a_file_instead_of_the_directory(embedded: Embedded, data_dir: Path) -> None:
    data_dir.write_text("")
    with pytest.raises(ConfigurationError, match=rf"{data_dir} is a file; remove it"):
        embedded().ensure()


def test_the_supervisor_in_the_foreground(embedded: Embedded, data_dir: Path) -> None:
    data_dir.mkdir()
    command = [sys.executable, "-m", "durable_async.server.supervisor", str(data_dir)]
    foreground = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    home = Home(str(data_dir))
    wait_until(lambda: home.read().state == READY, "it is ready")
    found = embedded().ensure()
    assert found.supervisor_pid == foreground.pid
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another supervisor" in second.stderr
    foreground.send_signal(signal.SIGINT)
    foreground.communicate()
    assert foreground.returncode == 0


def test_the_supervisor_is_small(embedded: Embedded) -> None:
    found = embedded().ensure()
    maps = Path(f"/proc/{found.supervisor_pid}/maps").read_text()
    assert "site-packages" not in maps
