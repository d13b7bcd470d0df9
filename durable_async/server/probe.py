"""The few words of RESP that the helpers need: PING, INFO and SHUTDOWN over one blocking socket.

Not a client: no pipelining, no reconnecting, no arrays. The real transport is in `durable_async.store`.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

Address = str | tuple[str, int]
"""The path of a unix socket, or a host and a port."""

ABSENT = "absent"
LOADING = "loading"
ALIVE = "alive"


class Refused(Exception):
    """The server answered with an error; the text starts with its code, for example ``LOADING``."""


class Probe:
    """One connection to a server; use it in a ``with`` statement.

    Args:
        address: where the server listens.
        timeout: seconds that each of connecting, sending and receiving may take.

    Raises:
        OSError: if nobody listens there, or nobody accepts within `timeout`.
    """

    def __init__(self, address: Address, *, timeout: float = 1.0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._unread = b""
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._socket.close()

    def ask(self, *words: str) -> str:
        """Send one command and return its reply, a simple string, an integer or a bulk string, as text.

        Raises:
            Refused: if the server answers with an error.
            OSError: if it does not answer in time, hangs up, or answers with another type.
        """
        encoded = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
        line = self._read_line()
        kind, rest = line[:1], line[1:].decode("utf-8", "replace")
        if kind in b"+:" and kind:
            return rest
        if kind == b"-":
            raise Refused(rest)
        if kind == b"$" and rest != "-1":
            return self._read_exactly(int(rest) + 2)[:-2].decode("utf-8", "replace")
        raise ConnectionError(f"unexpected reply of type {kind!r}")

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._unread:
            self._fill()
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line

    def _read_exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._fill()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _fill(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._unread += data


def greet(address: Address, *, timeout: float = 1.0) -> str:
    """Ask whoever listens at `address` how it is: `ALIVE`, `LOADING` (its data, from disk) or `ABSENT`.

    A server that is busy with a script, or refuses work because its disk is full, is alive: it answers.
    One that is stopped, or does not answer within `timeout` seconds, is absent.
    """
    try:
        with Probe(address, timeout=timeout) as probe:
            probe.ask("PING")
    except Refused as error:
        return LOADING if str(error).startswith("LOADING") else ALIVE
    except OSError:
        return ABSENT
    return ALIVE


def info(probe: Probe, section: str) -> dict[str, str]:
    """One section of INFO as a dictionary.

    Raises:
        Refused, OSError: as `Probe.ask`.
    """
    lines = probe.ask("INFO", section).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
