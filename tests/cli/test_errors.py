"""Whatever is wrong is said in one line on standard error, with an exit code and no traceback."""

from __future__ import annotations

import http.server
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_async.cli.app import run
from durable_async.server.ephemeral import ephemeral_server

from ._support import Project, Result

MODULES = {
    "broken.py": "import shop\n\n\ndef load():\n    return {}['key\\nwith a break']\n\n\nload()\n",
    "syntax.py": "def (\n",
    "leaves.py": "raise SystemExit('I am leaving')\n",
    "wants.py": "import not_there_at_all\n",
    "empty.py": "x = 1\n",
    "flows_only.py": "from shop import double\n",
    "no_flows.py": "from durable_async import Durable\ndurable = Durable()\n",
    "several.py": "from durable_async import Durable\na, b = Durable(), Durable()\n",
    "bad_url.py": "from durable_async import Durable\ndurable = Durable('redis://me:sesame@host:port')\n",
}


def assert_one_line(done: Result, code: int, *parts: str) -> None:
    assert done.code == code, done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("durable"), done.err
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err, done.err


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    """For what is refused before anything is imported or started: no process of its own."""
    code = run(arguments)
    out, err = capsys.readouterr()
    return Result(subprocess.CompletedProcess(arguments, code, out.encode(), err.encode()))


@pytest.fixture
def modules(project: Project) -> Project:
    for name, text in MODULES.items():
        (project.directory / name).write_text(text)
    return project


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("nowhere", "no module 'nowhere'"),
        ("nowhere.at.all:durable", "no module 'nowhere'"),
        ("shop.inside:durable", "shop"),
        ("broken:durable", "broken.py, line 5"),
        ("syntax:durable", "syntax.py, line 1"),
        ("leaves:durable", "SystemExit: I am leaving"),
        ("wants:durable", "No module named 'not_there_at_all'"),
        ("empty", "has no Durable"),
        ("flows_only", "has workflows, but no Durable"),
        ("no_flows", "no workflow is registered"),
        ("several", "several:a, several:b"),
        ("shop:missing", "has no 'missing'"),
        ("shop:durable.missing", "has no 'durable.missing'"),
        ("shop:double", "is a workflow, not a Durable"),
        ("shop:HERE", "not a Durable"),
        ("shop.py:durable", "try shop:durable"),
        ("a/shop.py", "try a.shop"),
        ("", "MODULE:OBJECT"),
        (":durable", "MODULE:OBJECT"),
        ("shop:", "MODULE:OBJECT"),
        ("..shop:durable", "MODULE:OBJECT"),
        ("bad_url", "port"),
    ],
)
def test_targets(modules: Project, target: str, part: str) -> None:
    done = modules.run("worker", target)
    assert_one_line(done, 2, part)
    assert "sesame" not in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-c", "0"], "0 is not in the range"),
        (["-c", "-1"], "-1 is not in the range"),
        (["-c", "abc"], "'abc' is not a valid integer"),
        (["-w", "0"], "0 is not in the range"),
        (["-q", ""], "queue must have 1 to 128 characters"),
        (["-q", "a b"], "holds ' '"),
        (["-q", "a:b"], "holds ':'"),
        (["-q", "a", "-q", "a"], "'a' is given twice"),
        (["--lease", "0"], "is not a number of seconds above 0"),
        (["--lease", "nan"], "is not a number of seconds"),
        (["--drain-timeout", "-1"], "is not a number of seconds from 0"),
        (["--drain-timeout", "inf"], "is not a number of seconds"),
        (["--url", "http://localhost"], "http"),
        (["--url", "redis://me:sesame@host:port"], "port"),
        (["--namespace", "a b"], "namespace"),
        (["--log-format", "xml"], "xml"),
        (["--embedded", "--url", "redis://h"], "exclude each other"),
        (["--burst", "--reload"], "exclude each other"),
        (["--name", "a\nb"], "--name"),
        (["--nonsense"], "--nonsense"),
    ],
    ids=" ".join,
)
def test_options(capsys: pytest.CaptureFixture[str], arguments: list[str], part: str) -> None:
    done = in_process(capsys, "worker", "shop:durable", *arguments)
    assert_one_line(done, 2, part)
    assert "sesame" not in done.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DURABLE_CONCURRENCY", "many"),
        ("DURABLE_CONCURRENCY", "0"),
        ("DURABLE_QUEUES", "a,,b"),
        ("DURABLE_QUEUES", "a,a"),
        ("DURABLE_LEASE", "0"),
        ("DURABLE_URL", "me:sesame@host"),
        ("DURABLE_PROCESSES", "-2"),
    ],
)
def test_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    done = in_process(capsys, "worker", "shop:durable")
    assert_one_line(done, 2)
    assert "sesame" not in done.err


def test_commands(project: Project) -> None:
    assert_one_line(project.run("wroker"), 2, "wroker")
    assert_one_line(project.run("worker"), 2, "MODULE:OBJECT")
    shown = project.run()
    assert (shown.code, shown.err) == (2, "")
    assert "worker" in shown.out
    assert project.run("--version").out.startswith("durable ")
    assert project.run("worker", "--help").code == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("more", [[], ["-w", "2"]], ids=["one", "several"])
def test_nobody_listens(project: Project, more: list[str]) -> None:
    url = f"redis://me:sesame@127.0.0.1:{free_port()}"
    done = project.run("worker", "shop:durable", *more, env={"DURABLE_URL": url})
    assert_one_line(done, 3, "cannot connect")
    assert "sesame" not in done.err
    assert_one_line(project.run("get", "x", "--url", url), 3, "cannot connect")


def test_a_wrong_password_is_not_shown(project: Project) -> None:
    with ephemeral_server(tcp=True) as server:
        port = server.url.rpartition(":")[2]
        subprocess_config(server.url, "requirepass", "open")
        done = project.run("worker", "shop:durable", "--url", f"redis://:sesame@127.0.0.1:{port}")
        assert_one_line(done, 2, "refused the user name or password")
        assert "sesame" not in done.err
        assert_one_line(project.run("worker", "shop:durable", "--url", server.url), 2)


def subprocess_config(url: str, name: str, value: str) -> None:
    host, _, port = url.removeprefix("redis://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"CONFIG SET {name} {value}\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def http_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_an_http_server(project: Project, http_port: int) -> None:
    done = project.run("worker", "shop:durable", "--url", f"redis://127.0.0.1:{http_port}")
    assert_one_line(done, 2, "not a Redis or Valkey server")


class _OldRedis(threading.Thread):
    """Answers as Redis 6.2 would, as far as it is asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        info = b"redis_version:6.2.14\r\nredis_mode:standalone\r\nrole:master\r\nloading:0\r\n"
        with connection:
            while data := connection.recv(65536):
                for _ in range(data.count(b"*")):
                    is_info = b"INFO" in data and b"CLIENT" not in data
                    connection.sendall(b"$%d\r\n%s\r\n" % (len(info), info) if is_info else b"+OK\r\n")


def test_a_server_that_is_too_old(project: Project) -> None:
    old = _OldRedis()
    old.start()
    done = project.run("worker", "shop:durable", "--url", f"redis://127.0.0.1:{old.port}")
    old.listener.close()
    assert_one_line(done, 2, "6.2.14", "Redis 7.0 or Valkey 7.2")


def test_a_server_that_may_evict(project: Project) -> None:
    with ephemeral_server(tcp=True, extra_config={"maxmemory-policy": "allkeys-lru"}) as server:
        done = project.run("worker", "shop:durable", "--url", server.url)
    assert_one_line(done, 2, "noeviction")


def test_a_deleted_working_directory(project: Project, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m durable_async worker shop:durable"
    done = subprocess.run(["/bin/sh", "-c", script], env=project.env, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("durable worker: the working directory does not exist")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(project: Project, closed: str) -> None:
    id = project.start("double", "2")
    script = f"exec {sys.executable} -m durable_async worker shop:durable --burst {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=project.env, cwd=project.directory, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert project.status(id) == "completed"


def test_nobody_reads_the_log(project: Project) -> None:
    id = project.start("double", "2")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        project.command("worker", "shop:durable", "--burst"),
        env=project.env,
        cwd=project.directory,
        stderr=writing,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert project.status(id) == "completed"


def test_nobody_reads_the_output(project: Project) -> None:
    project.start("double", "2")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        project.command("list", "--json"),
        env=project.env,
        cwd=project.directory,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("flags", [["-OO"], ["-W", "error"], ["-X", "dev"]], ids=" ".join)
def test_flags_of_the_interpreter(project: Project, flags: list[str]) -> None:
    id = project.start("twice", '{"number": 2}')
    done = project.run("worker", "shop:durable", "--burst", "-w", "2", flags=flags)
    assert done.code == 0, done.err
    assert "Warning" not in done.err
    assert project.status(id) == "completed"
    assert project.run("--help", flags=flags).code == 0


def test_a_locale_that_is_not_utf_8(project: Project) -> None:
    env: dict[str, str | None] = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": None,
    }
    done = project.run("start", "shop:durable", "twice", '{"number": 2, "note": "Grüße"}', "--id", "x", env=env)
    assert done.code == 0, done.err
    assert project.run("worker", "shop:durable", "--burst", env=env).code == 0
    assert project.run("get", "x", "--json", env=env).json[0]["input"] == {"number": 2, "note": "Grüße"}
    assert project.run("get", "x", env=env).code == 0


def test_few_file_descriptors(project: Project) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    done = project.run("worker", "shop:durable", "--burst", preexec_fn=limit)
    assert done.code != 0
    assert "Traceback" not in done.err


def test_a_missing_extra_is_named(project: Project) -> None:
    for package, extra, arguments in (
        ("click", "cli", ["list"]),
        ("rich", "cli", ["list"]),
        ("watchfiles", "cli", ["worker", "shop", "--reload"]),
        ("uvicorn", "web", ["dashboard"]),
        ("prometheus_client", "metrics", ["worker", "shop", "--metrics-port", "0"]),
        ("prometheus_client", "metrics", ["worker", "shop", "--metrics-port", "0", "-w", "2"]),
    ):
        code = f"import sys; sys.modules[{package!r}] = None; from durable_async.cli import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=project.env, cwd=project.directory, capture_output=True, check=False)
        assert done.returncode == 2
        message = f": the package {package!r} is missing; install it with: pip install 'durable-async[{extra}]'\n"
        assert done.stderr.decode().endswith(message)
        assert done.stderr.count(b"\n") == 1


def test_the_library_does_not_import_the_command_lines_packages() -> None:
    code = "import sys, durable_async; print({'click', 'rich', 'watchfiles', 'durable_async.cli'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
