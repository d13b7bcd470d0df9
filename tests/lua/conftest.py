"""A fresh namespace per test on the session's server; `$DURABLE_SERVER_BIN` chooses the program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from semantics.restricted import IS_RESTRICTED, restricted

from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from .world import World


@pytest.fixture(scope="session")
def connection(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_server.url, protocol=2) as server:
        yield server


@pytest.fixture
def world(connection: redis.Redis, shared_server: EphemeralServer, namespace: str) -> Iterator[World]:
    user = redis.Redis.from_url(restricted(shared_server.url, namespace), protocol=2) if IS_RESTRICTED else None
    made = World(connection, Keys(namespace), user)
    yield made
    if user is not None:
        user.close()
    keys = list(connection.scan_iter(match=made.keys.base + "*", count=1000))
    if keys:
        connection.delete(*keys)
