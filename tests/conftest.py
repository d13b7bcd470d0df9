"""What every test may ask for: one server for the whole session, and a namespace of its own."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator

import pytest

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_server() -> Iterator[EphemeralServer]:
    """A private server; `$DURABLE_SERVER_BIN` chooses the program."""
    with ephemeral_server() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """Tests share the server and see nothing of each other."""
    return f"t{next(_numbers)}-{os.getpid()}-{secrets.token_hex(2)}"
