"""`world`: see `harness`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from durable_async.server.ephemeral import EphemeralServer

from . import codecs
from .crowd import Nursery
from .harness import MODE, MakeWorld, World


def pytest_report_header() -> str:
    """Which of the modes this is."""
    return f"durable mode: {MODE}, codec: {codecs.CODEC}"


codecs.install("old", "new")


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
async def make_world(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    namespace: str,
    nursery: Callable[[], Nursery],
    tmp_path: Path,
) -> AsyncIterator[MakeWorld]:
    """`await make_world(url)`: a world on another server than the shared one."""
    worlds: list[World] = []

    async def make(url: str) -> World:
        world = World(url, namespace, request.module.FLOWS, nursery, tmp_path)
        await world.durable.__aenter__()
        worlds.append(world)
        return world

    failed_before = request.session.testsfailed
    yield make
    for world in worlds:
        try:
            # After a failure the leftovers say nothing.
            await world.close(check=request.session.testsfailed == failed_before)
        finally:
            await world.durable.__aexit__(None, None, None)


@pytest.fixture
async def world(make_world: MakeWorld, shared_server: EphemeralServer) -> World:
    """A namespace with a client, workers as the mode wants them, and a check at the end that nothing is left."""
    return await make_world(shared_server.url)
