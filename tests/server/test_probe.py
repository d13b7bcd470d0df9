"""The minimal client: what it makes of each kind of answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_async.server.probe import ABSENT, ALIVE, LOADING, Probe, Refused, greet, info


class Scripted:
    """Listens on a unix socket and answers whatever it is asked with `answers`, in pieces, then hangs up."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.answers: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                for answer in self.answers:
                    connection.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    server = Scripted(tmp_path / "s")
    yield server
    server.close()


@pytest.mark.parametrize(
    ("answer", "condition"),
    [
        (b"+PONG\r\n", ALIVE),
        (b"-LOADING is loading the dataset in memory\r\n", LOADING),
        (b"-BUSY is busy running a script\r\n", ALIVE),
        (b"-MISCONF errors writing to the AOF file\r\n", ALIVE),
        (b"", ABSENT),
        (b"HTTP/1.1 400 Bad Request\r\n", ABSENT),
    ],
)
def test_greet(scripted: Scripted, answer: bytes, condition: str) -> None:
    scripted.answers = [answer]
    assert greet(scripted.address) == condition


def test_greet_nobody(tmp_path: Path) -> None:
    assert greet(str(tmp_path / "nobody")) == ABSENT


def test_greet_somebody_who_never_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert greet(str(tmp_path / "s"), timeout=0.01) == ABSENT


@pytest.mark.parametrize(
    ("answers", "reply"),
    [
        ([b"+OK\r\n"], "OK"),
        ([b":12\r\n"], "12"),
        ([b"$4\r\na\r\nb\r\n"], "a\r\nb"),
        ([b"$", b"2\r", b"\nab", b"\r\n"], "ab"),
    ],
)
def test_ask(scripted: Scripted, answers: list[bytes], reply: str) -> None:
    scripted.answers = answers
    with Probe(scripted.address) as probe:
        assert probe.ask("ANYTHING") == reply


def test_ask_refused(scripted: Scripted) -> None:
    scripted.answers = [b"-ERR no\r\n"]
    with Probe(scripted.address) as probe, pytest.raises(Refused, match="ERR no"):
        probe.ask("ANYTHING")


def test_info(scripted: Scripted) -> None:
    text = b"# Clients\r\nconnected_clients:3\r\nsocket:unix:/a\r\n"
    scripted.answers = [b"$%d\r\n%s\r\n" % (len(text), text)]
    with Probe(scripted.address) as probe:
        assert info(probe, "clients") == {"connected_clients": "3", "socket": "unix:/a"}
