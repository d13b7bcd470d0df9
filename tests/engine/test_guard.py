"""I/O in a body is refused while the body is stepped, and nowhere else."""

# ruff: noqa: SIM115  # files are opened to see that they are not
from __future__ import annotations

import gc
import importlib
import logging
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import zoneinfo
from collections.abc import Callable
from typing import Any

import pytest

from durable_async.engine import guard
from durable_async.engine.loop import DeterministicLoop
from durable_async.errors import DeterminismError


def in_a_body(action: Callable[[], Any]) -> Any:
    """Do something in a coroutine on a deterministic loop."""

    async def main() -> Any:
        return action()

    loop = DeterministicLoop()
    body = loop.create_task(main())
    loop.run_ready()
    try:
        return body.result()
    finally:
        loop.close()


REFUSED: dict[str, Callable[[], Any]] = {
    "open": lambda: open(os.devnull),
    "os.open": lambda: os.open(os.devnull, os.O_RDONLY),
    "pathlib": lambda: pathlib.Path(os.devnull).read_text(),
    "write": lambda: open(os.devnull, "w"),
    "socket": socket.socket,
    "getaddrinfo": lambda: socket.getaddrinfo("localhost", 1),
    "create_connection": lambda: socket.create_connection(("127.0.0.1", 1)),
    "subprocess": lambda: subprocess.run(["true"], check=True),
    "system": lambda: os.system("true"),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "kill": lambda: os.kill(os.getpid(), 0),
    "shutil": lambda: shutil.copyfile(os.devnull, os.devnull),
    "sqlite3": lambda: sqlite3.connect(":memory:"),
    "urllib": lambda: urllib.request.urlopen("http://127.0.0.1:1/"),
    "tempfile": tempfile.mkdtemp,
    "listdir": lambda: os.listdir("."),
    "scandir": lambda: list(os.scandir(".")),
    "mkdir": lambda: os.mkdir("/nonexistent/x"),
    "remove": lambda: os.remove("/nonexistent/x"),
    "thread": lambda: threading.Thread(target=print).start(),
    "time.sleep": lambda: time.sleep(0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_io_in_a_body_is_refused(name: str) -> None:
    with pytest.raises(DeterminismError, match="in a workflow body cannot be replayed; move it into a @step"):
        in_a_body(REFUSED[name])


@pytest.mark.parametrize("name", ["open", "listdir", "time.sleep", "thread"])
def test_it_is_allowed_once_the_body_rests(name: str) -> None:
    in_a_body(lambda: None)
    result = REFUSED[name]()
    if hasattr(result, "close"):
        result.close()


def test_the_guard_holds_in_callbacks_timers_and_while_a_body_is_dropped() -> None:
    caught: list[str] = []

    def attempt(where: str) -> None:
        try:
            open(os.devnull)
        except DeterminismError:
            caught.append(where)

    async def main() -> None:
        try:
            await loop.create_future()
        finally:
            attempt("finally")

    loop = DeterministicLoop()
    loop.call_soon(attempt, "callback")
    loop.call_later(1, attempt, "timer")
    loop.create_task(main())
    loop.run_ready()
    loop.advance(1)
    loop.abandon()
    assert caught == ["callback", "timer", "finally"] and not guard.is_stepping()


def test_harmless_things_are_allowed(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    def harmless() -> None:
        print("printed")  # noqa: T201  # the point
        id(harmless)
        compile("1", "x", "eval")
        try:
            raise ValueError
        except ValueError:
            traceback.format_exc()
        zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
        with open(os.dup(1), "w") as stream:
            stream.write("")

    in_a_body(harmless)
    assert "printed" in capsys.readouterr().out


def test_importing_in_a_body_is_allowed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "imported_late"
    package.mkdir()
    (package / "__init__.py").write_text("from imported_late import inner\n")
    (package / "inner.py").write_text("with open(__file__) as file:\n    text = file.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def late() -> str:
        import imported_late  # type: ignore[import-not-found]  # written above

        return str(imported_late.inner.text)

    try:
        assert "open" in in_a_body(late)
    finally:
        sys.modules.pop("imported_late", None)
        sys.modules.pop("imported_late.inner", None)
    assert in_a_body(lambda: importlib.import_module("imported_late.inner")).text
    sys.modules.pop("imported_late", None)
    sys.modules.pop("imported_late.inner", None)


def test_a_log_handler_may_open_its_file_late(tmp_path: pathlib.Path) -> None:
    handler = logging.FileHandler(tmp_path / "late.log", delay=True)
    logger = logging.getLogger("late")
    logger.addHandler(handler)
    in_a_body(lambda: logger.warning("written"))
    logger.removeHandler(handler)
    handler.close()
    assert "written" in (tmp_path / "late.log").read_text()


def test_an_error_can_be_caught_and_the_body_goes_on() -> None:
    def attempt() -> str:
        try:
            open(os.devnull)
        except DeterminismError:
            return "caught"
        return "not refused"

    assert in_a_body(attempt) == "caught"


def test_the_escape_hatch_and_nesting() -> None:
    with guard.stepping():
        with guard.stepping():
            assert guard.is_stepping()
        with pytest.raises(DeterminismError):
            open(os.devnull)
        with guard.unguarded():
            open(os.devnull).close()
            with guard.stepping(), pytest.raises(DeterminismError):
                open(os.devnull)
            with guard.unguarded():
                open(os.devnull).close()
        assert guard.is_stepping()
        with pytest.raises(DeterminismError):
            open(os.devnull)
    assert not guard.is_stepping()
    with guard.unguarded():
        pass
    assert not guard.is_stepping()


def test_other_threads_are_not_affected() -> None:
    go, done = threading.Event(), threading.Event()
    opened: list[bool] = []

    def elsewhere() -> None:
        go.wait()
        open(os.devnull).close()
        opened.append(True)
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    def body() -> None:
        go.set()
        done.wait()
        with pytest.raises(DeterminismError):
            open(os.devnull)

    in_a_body(body)
    thread.join()
    assert opened == [True]


def test_a_finalizer_run_by_the_collector_is_not_blamed_on_the_body() -> None:
    opened: list[bool] = []

    class Garbage:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            open(os.devnull).close()
            opened.append(True)

    gc.collect()
    Garbage()
    in_a_body(gc.collect)
    assert opened == [True]


def test_replaced_functions_behave_as_before() -> None:
    in_a_body(lambda: None)

    class Holder:
        sleep = time.sleep  # a builtin does not bind self

    Holder().sleep(0)
    assert callable(time.sleep)
