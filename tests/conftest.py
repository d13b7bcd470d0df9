"""What every test may ask for: one server for the whole session, and a namespace of its own."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator

import budget
import pytest
from semantics import restricted

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

_numbers = itertools.count(1)

if restricted.IS_RESTRICTED:
    restricted.everywhere()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What has an end when the time is over asks for its share."""
    budget.begin(item)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_server() -> Iterator[EphemeralServer]:
    """A private server; `$DURABLE_SERVER_BIN` chooses the program."""
    with ephemeral_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_is_refused(request: pytest.FixtureRequest) -> Iterator[None]:
    """Under the rule of docs/security.md nothing that the rule forbids is asked for."""
    yield
    if restricted.IS_RESTRICTED and "shared_server" in request.fixturenames:
        server: EphemeralServer = request.getfixturevalue("shared_server")
        refused = restricted.all_refusals(server.url)
        assert not refused, f"the rule does not allow {refused}"


@pytest.fixture
def namespace() -> str:
    """Tests share the server and see nothing of each other."""
    return f"t{next(_numbers)}-{os.getpid()}-{secrets.token_hex(2)}"
