"""A private server that lives as long as a ``with`` block: for tests, benchmarks and demos.

It can be killed, restarted, paused and resumed. It never outlives the process that started it, see `guard`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio.to_thread

from durable_async.errors import ConfigurationError
from durable_async.server.binary import find_binary
from durable_async.server.embedded import Fsync, socket_url
from durable_async.server.home import SOCKET_PATH_BYTES
from durable_async.server.probe import ALIVE, LOADING, Address, greet
from durable_async.server.process import helper_command, server_command, tail
from durable_async.server.sockets import NAME

_START_SECONDS = 10.0
"""How long a server may take to answer; loading its data does not count."""
_STOP_SECONDS = 10.0
"""How long a clean shutdown may take before `restart` kills the server."""
_PORT_TRIES = 5
"""A free port can be taken by somebody else before the server binds it."""


@dataclass(slots=True)
class _Resources:
    """What must not be left behind; apart from the server object, so that a finalizer can hold it."""

    directory: str
    owner: int
    guard: subprocess.Popen[bytes] | None = None

    def drop_guard(self) -> None:
        """End the server, at once, and its guard."""
        guard, self.guard = self.guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the server, and so the guard, may have ended by itself
            os.write(guard.stdin.fileno(), b".")
        guard.stdin.close()
        guard.stdout.close()
        guard.wait()

    def drop(self) -> None:
        """End the server and remove its directory. In a forked copy of the owner, do nothing: they are not its own."""
        if os.getpid() == self.owner:
            self.drop_guard()
            shutil.rmtree(self.directory, ignore_errors=True)


class EphemeralServer:
    """A private server, for use in ``with`` or ``async with``; see `ephemeral_server`. Not safe for several threads.

    Every method that waits blocks the calling thread, for some tens of milliseconds at most on an idle machine.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str] | None,
        *,
        appendonly: bool,
        fsync: Fsync,
        extra_config: Mapping[str, str | int],
        tcp: bool,
    ) -> None:
        self._binary = str(find_binary(binary))
        self._settings = {"appendonly": "yes" if appendonly else "no", "appendfsync": fsync}
        self._settings |= {name: str(value) for name, value in extra_config.items()}
        self._tcp = tcp
        self._pid: int | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="durable-", dir=_short_directory()))
        """Private, of mode 700; holds the server's data, its log and its socket."""
        self._address: Address = str(self.directory / NAME)
        self._resources = _Resources(str(self.directory), os.getpid())
        self._finalizer = weakref.finalize(self, self._resources.drop)

    @property
    def url(self) -> str:
        """``unix://`` and the socket's path, or ``redis://127.0.0.1:<port>``; the same after a restart."""
        if isinstance(self._address, str):
            return socket_url(self._address)
        host, port = self._address
        return f"redis://{host}:{port}"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: if it is not running.
        """
        guard = self._resources.guard
        if self._pid is None or guard is None or guard.poll() is not None:
            raise RuntimeError("the server is not running: restart() it")
        return self._pid

    @property
    def log(self) -> Path:
        """The server's log, of all its starts."""
        return self.directory / "server.log"

    def start(self) -> None:
        """Start the server and return once it answers. ``with`` does this.

        Raises:
            RuntimeError: if it runs already, or was stopped.
            ConfigurationError: if it does not run.
        """
        if not self._finalizer.alive:
            raise RuntimeError("the server was stopped, and its directory removed: make another one")
        if self._resources.guard is not None:
            raise RuntimeError("the server is already running")
        for _ in range(_PORT_TRIES - 1 if self._tcp and isinstance(self._address, str) else 0):
            self._address = ("127.0.0.1", _free_port())
            if self._launch():
                return
        if not self._launch():
            raise ConfigurationError(
                f"the server {self._binary} did not start. The last lines of its log: {tail(str(self.log))}"
            )

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would, and return once it has ended. `restart` brings it back."""
        os.kill(self.pid, signal.SIGKILL)
        self._await_end()

    def restart(self) -> None:
        """Start the server again at the same address, on what its directory holds.

        One that still runs is shut down cleanly first, even if it is paused. Without `appendonly` nothing is kept.

        Raises:
            ConfigurationError: if it does not run any more.
        """
        guard = self._resources.guard
        if guard is not None and guard.poll() is None:
            self.resume()
            os.kill(self.pid, signal.SIGTERM)
            try:
                guard.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
        self._await_end()
        self.start()

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: it accepts connections, by the kernel's hand, and never answers."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 1.0
        while _is_running(self.pid) and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
        """Undo `pause`; harmless otherwise."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server at once and remove its directory; stopping twice is harmless. ``with`` does this."""
        self._finalizer()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    def _launch(self) -> bool:
        """Start guard and server; returns whether the server answered, and leaves nothing running if not."""
        with open(self.log, "ab") as log:
            guard = subprocess.Popen(
                helper_command("guard", json.dumps(self._command()), str(self.directory)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._resources.guard = guard
        line = guard.stdout.readline() if guard.stdout is not None else b""
        self._pid = int(line) if line else None
        deadline = time.monotonic() + _START_SECONDS
        while guard.poll() is None and time.monotonic() < deadline:
            condition = greet(self._address)
            if condition == ALIVE:
                return True
            if condition == LOADING:
                deadline = time.monotonic() + _START_SECONDS
            time.sleep(0.001)
        self._await_end()
        return False

    def _command(self) -> list[str]:
        if isinstance(self._address, str):
            where = {"unixsocket": self._address, "unixsocketperm": "700"}
        else:
            host, port = self._address
            where = {"bind": host, "port": str(port)}
        return server_command(self._binary, str(self.directory), {**where, **self._settings})

    def _await_end(self) -> None:
        """Let go of the guard; a server that still runs is killed by it."""
        self._resources.drop_guard()
        self._pid = None


def ephemeral_server(
    binary: str | os.PathLike[str] | None = None,
    *,
    appendonly: bool = False,
    fsync: Fsync = "everysec",
    extra_config: Mapping[str, str | int] | None = None,
    tcp: bool = False,
) -> EphemeralServer:
    """A private server in a temporary directory, for use in ``with`` or ``async with``.

    Args:
        binary: the server program; None searches as `find_binary` does.
        appendonly: keep the data over `EphemeralServer.kill` and `EphemeralServer.restart`.
        fsync: with `appendonly`, when the log reaches the disk.
        extra_config: further settings of the server, or replacements for ours, in its own words.
        tcp: listen on a free port of 127.0.0.1 instead of a unix socket. Any user of the machine can connect to that.

    Raises:
        ConfigurationError: if no server program is found; entering the block raises it if the server does not run.
    """
    return EphemeralServer(binary, appendonly=appendonly, fsync=fsync, extra_config=extra_config or {}, tcp=tcp)


def _short_directory() -> str:
    """Where the temporary directory goes: the usual place, unless a socket's path would be too long there."""
    usual = tempfile.gettempdir()
    longest = len(os.fsencode(usual)) + len(f"/durable-12345678/{NAME}")
    return usual if longest <= SOCKET_PATH_BYTES else "/tmp"  # mkdtemp makes a private one in it


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_running(pid: int) -> bool:
    """Whether a process is not (yet) stopped; False where that cannot be seen."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"T"
    except OSError:
        return False
