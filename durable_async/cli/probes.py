"""HTTP for probes: a few paths that only read, answered by threads of their own.

Threads, because a loop that user code blocks must not look dead: whether the worker lives is the heartbeat's to say.
Whoever can connect sees names and numbers, never a payload. What asks slowly, or too often, is cut off.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from durable_async.cli.exits import CliError

Answer = Callable[[], tuple[int, str]]
"""A status and a text."""

PATIENCE_S: Final = 5.0
MOST_AT_ONCE: Final = 16
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""What Prometheus asks for; to everybody else it is plain text."""
SOCKET_VARIABLE: Final = "DURABLE_PROBE_SOCKET"


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    timeout = PATIENCE_S

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def _answer(self, *, has_body: bool) -> None:
        assert isinstance(self.server, _Server)
        answer = self.server.answers.get(self.path.partition("?")[0])
        status, text = answer() if answer is not None else (404, "not found\n")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", TEXT)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def version_string(self) -> str:
        return "durable"

    def address_string(self) -> str:
        return ""  # a unix socket has no address

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds."""


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, family: socket.AddressFamily, address: Any, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.address_family = family
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # not HTTPServer's, which asks the DNS for a name

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= MOST_AT_ONCE:
            self.shutdown_request(request)
            return
        self._open[request] = monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(request, None)

    def service_actions(self) -> None:
        # The handler's time-out is for one read; a byte now and then would keep a thread for ever.
        for request, since in list(self._open.items()):
            if monotonic() - since > PATIENCE_S:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has left, or was too slow."""


class Probes:
    """Listens while it is entered.

    Args:
        address: a host and a port, 0 for any; or the path of a unix socket.
        answers: what is answered, by path. Called from several threads.

    Raises:
        CliError: if it cannot listen there.
    """

    def __init__(self, address: tuple[str, int] | str, answers: Mapping[str, Answer]) -> None:
        try:
            if isinstance(address, str):
                self._server = _Server(socket.AF_UNIX, address, answers)
            else:
                family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
                self._server = _Server(family, address, answers)
        except OSError as error:
            where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            raise CliError(f"cannot listen on {where}: {error.strerror or error}") from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="durable-probes", daemon=True
        )

    @property
    def place(self) -> str:
        """Host and port, as in a URL."""
        host, port = self._server.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("worker", timeout=2.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(socket_path: str, path: str) -> tuple[int, str]:
    """What the process with this socket answers; 503 if it answers nothing within two seconds."""
    connection = _UnixConnection(socket_path)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 503, "no answer\n"
    finally:
        connection.close()


def inherited_socket() -> str | None:
    """Where a supervisor's child is to answer; the variable is removed, as the lifeline's is."""
    return os.environ.pop(SOCKET_VARIABLE, None)
