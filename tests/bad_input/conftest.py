"""`bench`: a namespace with an open client; whatever a test plants in it goes with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from durable_async.server.ephemeral import EphemeralServer

from .bench import Bench


@pytest.fixture
async def bench(
    anyio_backend: str, shared_server: EphemeralServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bench]:
    caplog.set_level(logging.DEBUG)
    made = Bench(shared_server.url, namespace, caplog)
    async with made.durable:
        yield made
    made.clear()
