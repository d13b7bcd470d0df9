"""D30 to D32: a server without room on its disk or in its memory, and one that would make room by itself."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import pytest
import redis

from durable_async import Durable, RunNotFound, StoreUnavailable
from durable_async.server.ephemeral import ephemeral_server

from . import flows
from .fleet import PATIENCE_S, injecting, until
from .rows import Row, sizes
from .servers import fill, refusal, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.faults]
TOO_LITTLE_BYTES = 500_000
DISK_BYTES = 64 * 1024 * 1024


def refuses(raw: redis.Redis, code: str) -> bool:
    """Whether the server refuses writes for that reason."""
    try:
        raw.set("probe", "x")
    except redis.RedisError as error:
        return code in f"{type(error).__name__} {error}"
    return False


@pytest.mark.row("D30")
@sizes(10)
async def test_d30_the_disk_is_full_with_fsync_everysec(trees: int, row: Row) -> None:
    """Every write is refused (MISCONF) until there is room; what steps have done meanwhile is kept in memory."""
    with (
        small_disk(row.folder, DISK_BYTES) as place,
        ephemeral_server(appendonly=True, extra_config={"dir": str(place)}) as server,
        redis.Redis.from_url(server.url) as raw,
    ):
        fleet = row.fleet(server.url, lease=30.0)

        async def fill_up() -> None:
            ballast = fill(place)
            await until(lambda: refuses(raw, "MISCONF"), "writes are refused")
            fleet.hit("disk full", cuts_steps=False)
            await asyncio.sleep(fleet.random.uniform(0.2, 1))
            ballast.unlink()
            await until(lambda: not refuses(raw, "MISCONF"), "writes are accepted")

        async with fleet.serving(), injecting(fill_up, lambda: fleet.random.uniform(0.3, 1), is_fair=True):
            await fleet.load(trees, pace_s=0.3)
        await fleet.judge()
    row.tell(fleet, variant="fsync everysec")


@pytest.mark.row("D30")
@sizes(10)
async def test_d30_the_disk_is_full_with_fsync_always(trees: int, row: Row) -> None:
    """The server ends itself; started again with room, it has everything."""
    with (
        small_disk(row.folder, DISK_BYTES) as place,
        ephemeral_server(appendonly=True, fsync="always", extra_config={"dir": str(place)}) as server,
        redis.Redis.from_url(server.url) as raw,
    ):
        fleet = row.fleet(server.url, lease=30.0)

        def has_ended() -> bool:
            with suppress(redis.RedisError):
                raw.set("probe", "x")
            try:
                return not server.pid
            except RuntimeError:
                return True

        async def fill_up() -> None:
            ballast = fill(place)
            fleet.hit("disk full", cuts_steps=False)
            await until(has_ended, "the server has given up")
            ballast.unlink()
            await asyncio.to_thread(server.restart)

        async with fleet.serving(), injecting(fill_up, lambda: fleet.random.uniform(0.3, 1), is_fair=True):
            await fleet.load(trees, pace_s=0.3)
        await fleet.judge()
    row.tell(fleet, variant="fsync always")


@pytest.mark.row("D31")
@sizes(10)
async def test_d31_the_memory_is_full(trees: int, row: Row) -> None:
    """Starts are refused with an error that says why; what runs goes on where it was, and nothing is done twice."""
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=30.0)
        said: list[str] = []

        async def fill_up() -> None:
            raw.config_set("maxmemory", TOO_LITTLE_BYTES)
            try:
                await until(lambda: refuses(raw, "OutOfMemory"), "writes are refused")
                fleet.hit("out of memory", cuts_steps=False)
                async with fleet.client() as durable:
                    durable._session.store.deadline_s = 0.3
                    with pytest.raises(StoreUnavailable) as refused:
                        await durable.start(flows.tree, {"ledger": os.devnull, "n": 0, "pause_s": 0}, id="refused")
                    said.append(str(refused.value))
                    raw.config_set("maxmemory", 0)
                    # "What was asked may still have happened."
                    with suppress(RunNotFound):
                        await durable.terminate("refused")
            finally:
                raw.config_set("maxmemory", 0)

        async with fleet.serving(), injecting(fill_up, lambda: fleet.random.uniform(0.3, 1), is_fair=True):
            await fleet.load(trees, pace_s=0.3)
        await fleet.judge()
    assert said
    assert all("maxmemory" in text for text in said), said
    row.tell(fleet)


@pytest.mark.row("D31")
async def test_d31_a_worker_that_starts_waits_for_memory(row: Row) -> None:
    """For some seconds; then whoever starts it is told that the store cannot be used, and why."""
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        raw.config_set("maxmemory", TOO_LITTLE_BYTES)
        async with Durable(server.url, workflows=[flows], namespace=row.namespace) as durable:
            with pytest.raises(StoreUnavailable, match=r"cannot start: .*OutOfMemory"):
                await durable.make_worker(durable.worker_settings()).start(wait_s=0)
            refused = refusals(raw)
            worker = durable.make_worker(durable.worker_settings())
            starting = asyncio.create_task(worker.start(wait_s=PATIENCE_S))
            await until(lambda: refusals(raw) > refused, "it is refused")
            raw.config_set("maxmemory", 0)
            await starting
            await worker.stop()
    row.tell(None, faults=1, variant="a worker starts")


def refusals(raw: redis.Redis) -> int:
    """How many commands were refused for want of memory."""
    found: Any = raw.info("errorstats")
    return int(found.get("errorstat_OOM", {}).get("count", 0))


@pytest.mark.row("D32")
async def test_d32_a_server_that_may_evict_is_refused(row: Row) -> None:
    with ephemeral_server(extra_config={"maxmemory-policy": "allkeys-lru"}) as server:
        said = await refusal(server.url, row.namespace)
    assert "set maxmemory-policy noeviction" in said
    row.tell(None)
