"""`world`: see `harness`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from durable_async.server.ephemeral import EphemeralServer

from .crowd import Nursery
from .harness import MODE, World


def pytest_report_header() -> str:
    """Which of the modes this is."""
    return f"durable mode: {MODE}"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Callable[[], Nursery]]:
    """Makes worker processes; started at the first need."""
    made: list[Nursery] = []

    def get() -> Nursery:
        if not made:
            made.append(Nursery())
        return made[0]

    yield get
    for one in made:
        one.close()


@pytest.fixture
async def world(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    shared_server: EphemeralServer,
    namespace: str,
    nursery: Callable[[], Nursery],
    tmp_path: Path,
) -> AsyncIterator[World]:
    """A namespace with a client, workers as the mode wants them, and a check at the end that nothing is left."""
    world = World(shared_server.url, namespace, request.module.FLOWS, nursery, tmp_path)
    failed_before = request.session.testsfailed
    async with world.durable:
        yield world
        # After a failure the leftovers say nothing.
        await world.close(check=request.session.testsfailed == failed_before)
