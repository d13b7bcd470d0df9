"""A fresh namespace per test on the session's server; `$DURABLE_SERVER_BIN` chooses the program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from .world import World


@pytest.fixture(scope="session")
def connection(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_server.url, protocol=2) as server:
        yield server


@pytest.fixture
def world(connection: redis.Redis, namespace: str) -> Iterator[World]:
    made = World(connection, Keys(namespace))
    yield made
    keys = list(connection.scan_iter(match=made.keys.base + "*", count=1000))
    if keys:
        connection.delete(*keys)
