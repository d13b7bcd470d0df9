"""`kept_server`: what examples and pages are about, a server that keeps what it was told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server


@pytest.fixture(scope="session")
def kept_server() -> Iterator[EphemeralServer]:
    """A private server with an append-only file: workers have nothing to warn of."""
    with ephemeral_server(appendonly=True) as server:
        yield server
