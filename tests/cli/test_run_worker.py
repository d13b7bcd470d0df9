"""`Durable.run_worker`: a worker as the business of somebody's own program."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from durable_async import ConfigurationError, Durable, StoreUnavailable, step, workflow
from durable_async.server.ephemeral import EphemeralServer

from ._support import PATIENCE, Project

begun = asyncio.Event()


@step
async def endless() -> None:
    begun.set()
    await asyncio.Event().wait()


@workflow
async def stuck() -> None:
    await endless()


@workflow
async def double(n: int) -> int:
    return 2 * n


@pytest.fixture
def durable(cli_server: EphemeralServer, project: Project) -> Durable:
    return Durable(cli_server.url, workflows=[stuck, double], namespace=project.env["DURABLE_NAMESPACE"])


async def test_burst(durable: Durable) -> None:
    async with durable:
        handle = await durable.start(double, 4)
        assert await durable.run_worker(burst=True) is True
        assert await handle.result() == 8


async def test_cancelling_it_drains(durable: Durable) -> None:
    async with durable:
        running = asyncio.create_task(durable.run_worker(concurrency=3))
        assert await (await durable.start(double, 4)).result() == 8
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_signal_drains_and_handlers_are_restored(durable: Durable) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    begun.clear()
    async with durable:
        running = asyncio.create_task(durable.run_worker(drain_timeout=0))
        await durable.start(stuck)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            signal.raise_signal(signal.SIGTERM)
            assert await running is False
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before


async def test_in_another_thread_signals_are_not_touched(durable: Durable) -> None:
    async with durable:
        handle = await durable.start(double, 5)
    is_clean = await asyncio.to_thread(lambda: asyncio.run(durable.run_worker(burst=True)))
    assert is_clean is True
    async with durable:
        assert await durable.run(handle.id, double).result() == 10


async def test_what_cannot_start_raises(cli_server: EphemeralServer) -> None:
    with pytest.raises(ConfigurationError, match="no workflow is registered"):
        await Durable(cli_server.url).run_worker()
    with pytest.raises(ConfigurationError, match="concurrency"):
        await Durable(cli_server.url, workflows=[double]).run_worker(concurrency=0)
    with pytest.raises(StoreUnavailable):
        await Durable("redis://127.0.0.1:1", workflows=[double]).run_worker()


def test_lifespan_is_entered_and_left(project: Project) -> None:
    program = """
import asyncio, contextlib, os
from durable_async import Durable, workflow

@contextlib.asynccontextmanager
async def span(durable):
    print("in")
    try:
        yield
    finally:
        print("out")

@workflow
async def nothing() -> None: ...

print(asyncio.run(Durable(workflows=[nothing], lifespan=span).run_worker(burst=True)))
"""
    done = subprocess.run([sys.executable, "-c", program], env=project.env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["in", "out", "True"], done.stderr
