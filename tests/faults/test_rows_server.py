"""D19, D20, D22, D33, D35 to D38, D50: a server that is slow, busy, paused, wrong about the time, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from durable_async import ConfigurationError, Durable
from durable_async.server.ephemeral import ephemeral_server

from . import flows
from .fleet import PATIENCE_S, Fleet, injecting, until
from .rows import Row, sizes
from .servers import Clock, refusal, wrapped

pytestmark = [pytest.mark.slow, pytest.mark.faults]


async def under_load(
    fleet: Fleet, inject: Callable[[], Any], pause_s: tuple[float, float], trees: int, *, is_fair: bool = False
) -> None:
    """Workload W while something happens again and again that loses nothing and outlasts no lease."""
    async with fleet.serving(), injecting(inject, lambda: fleet.random.uniform(*pause_s), is_fair=is_fair):
        await fleet.load(trees, pace_s=0.3)
    await fleet.judge()
    assert fleet.faults


@pytest.mark.row("D19")
@pytest.mark.parametrize("seconds", [1, 6, pytest.param(20, marks=pytest.mark.long)])
async def test_d19_the_server_sleeps(seconds: int, row: Row) -> None:
    """Longer than the time-outs that clients usually have: what was sent is not sent again as something new."""
    with (
        ephemeral_server(extra_config={"enable-debug-command": "yes"}) as server,
        redis.Redis.from_url(server.url, socket_timeout=60) as raw,
    ):
        fleet = row.fleet(server.url, lease=60.0)

        async def sleep() -> None:
            if fleet.faults < 2:
                fleet.hit("DEBUG SLEEP", cuts_steps=False)
                await asyncio.to_thread(raw.execute_command, "DEBUG", "SLEEP", seconds)

        await under_load(fleet, sleep, (0.2, 0.8), 6)
    row.tell(fleet, variant=f"{seconds} s")


@pytest.mark.row("D20")
@sizes(8)
async def test_d20_a_script_does_not_end(trees: int, row: Row) -> None:
    """Everything is answered BUSY until somebody kills it."""
    with (
        ephemeral_server(extra_config={"busy-reply-threshold": 100}) as server,
        redis.Redis.from_url(server.url, socket_timeout=60) as raw,
        redis.Redis.from_url(server.url, socket_timeout=60) as killer,
    ):
        fleet = row.fleet(server.url, lease=15.0)

        def loop() -> None:
            with suppress(redis.ResponseError):
                raw.eval("while true do end", 0)

        async def block() -> None:
            fleet.hit("BUSY", cuts_steps=False)
            looping = asyncio.create_task(asyncio.to_thread(loop))
            await asyncio.sleep(fleet.random.uniform(0.3, 1.5))
            while not looping.done():
                with suppress(redis.ResponseError):
                    await asyncio.to_thread(killer.script_kill)
                await asyncio.sleep(0.02)

        await under_load(fleet, block, (0.2, 0.8), trees, is_fair=True)
    row.tell(fleet)


@pytest.mark.row("D22")
@pytest.mark.parametrize("what", ["WRITE", "ALL"])
@sizes(8)
async def test_d22_clients_are_paused(trees: int, what: str, row: Row) -> None:
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=15.0)

        async def pause() -> None:
            ms = fleet.random.choice((300, 1000, 3000))
            fleet.hit("CLIENT PAUSE", cuts_steps=False)
            raw.execute_command("CLIENT", "PAUSE", ms, what)
            await asyncio.sleep(ms / 1000)

        await under_load(fleet, pause, (0.3, 0.8), trees)
    row.tell(fleet, variant=what)


@pytest.mark.row("D33")
async def test_d33_the_clock_of_the_server_is_set(row: Row) -> None:
    """An hour back: dead workers are found all the same, and what waits for a time waits until that has come. An hour
    on: whatever waits is due, once."""
    clock = Clock(row.folder)
    with ephemeral_server(wrapped(row.folder, clock.env)) as server:
        fleet, book = row.fleet(server.url, lease=1.0, size=2), row.book

        def set_to(offset_s: int) -> None:
            clock.set_to(offset_s)
            book.write("clock", offset_s=offset_s)
            fleet.hit(f"clock {offset_s}", cuts_steps=False)

        async with fleet.client() as durable, fleet.serving():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fleet.load(5))
                await until(lambda: len(book.lines("begin")) > 10, "trees are under way")
                set_to(-3600)
                handle = await durable.start(flows.long_step, {"ledger": book.path}, id="p")
                book.write("start", id="p")
                book.write("expect", id="p", value="last")
                begun = lambda: [line["pid"] for line in book.lines("begin") if line["step"] == "slow"]  # noqa: E731
                await until(begun, "the step runs")
                fleet.end(begun()[0])
                fleet.hit("kill")
                fleet.spawn()
                await until(lambda: len(begun()) > 1, "a dead worker is found while the clock is behind")
                book.write("release")
                assert await handle.result(timeout=PATIENCE_S) == "last"
                book.write("result", id="p", status="completed")
                set_to(0)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fleet.load(5))
                await until(lambda: len(book.lines("start")) > 8, "more trees are under way")
                set_to(3600)
        await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D35")
@sizes(10)
async def test_d35_there_are_no_more_connections(trees: int, row: Row) -> None:
    """Fewer than there were, all of which are cut: some are refused, come back later, and nobody gives up."""
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=15.0)

        async def few() -> None:
            fleet.hit("maxclients", cuts_steps=False)
            raw.config_set("maxclients", max(2, raw.info("clients")["connected_clients"] - 5))  # type: ignore[index]
            raw.execute_command("CLIENT", "KILL", "TYPE", "normal")
            await asyncio.sleep(fleet.random.uniform(0.3, 1))
            raw.config_set("maxclients", 1000)

        await under_load(fleet, few, (0.8, 1.5), trees)
    row.tell(fleet)


@pytest.mark.row("D36")
@pytest.mark.parametrize("how", ["password", "rights"])
@sizes(10)
async def test_d36_a_worker_is_locked_out(trees: int, how: str, row: Row) -> None:
    """For a while: workers go on asking, lose nothing they hold, and a client is told what is wrong."""
    with ephemeral_server(tcp=True) as server, redis.Redis.from_url(server.url) as raw:
        raw.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all")
        fleet = row.fleet(server.url, lease=15.0, size=0)
        theirs = server.url.replace("redis://", "redis://worker:secret@")
        said: list[str] = []

        async def lock_out() -> None:
            fleet.hit(how, cuts_steps=False)
            if how == "password":
                raw.execute_command("ACL", "SETUSER", "worker", "resetpass", ">another")
                raw.execute_command("CLIENT", "KILL", "USER", "worker")
            else:
                raw.execute_command("ACL", "SETUSER", "worker", "-evalsha", "-eval", "-xreadgroup")
            with pytest.raises(ConfigurationError) as refused:
                async with Durable(theirs, workflows=[flows], namespace=row.namespace) as durable:
                    await durable.start(flows.tree, {}, id="refused")
            said.append(str(refused.value))
            await asyncio.sleep(fleet.random.uniform(0.2, 1))
            raw.execute_command("ACL", "SETUSER", "worker", "resetpass", ">secret", "+@all")

        for _ in range(3):
            fleet.spawn(via=theirs)
        await under_load(fleet, lock_out, (0.5, 1), trees)
        assert all(("password" in text or "NOPERM" in text) and "secret" not in text for text in said), said
    row.tell(fleet, variant=how)


@pytest.mark.row("D37, D38")
async def test_d37_d38_a_cluster_is_refused(row: Row) -> None:
    """No slot moves and no node dies under us: neither its URL nor one of its nodes is accepted, and why is said."""
    with ephemeral_server(tcp=True, extra_config={"cluster-enabled": "yes"}) as server:
        with redis.Redis.from_url(server.url) as raw:
            raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: b"cluster_state:ok" in raw.execute_command("CLUSTER", "INFO"), "it is up")
        assert "node of a cluster" in await refusal(server.url, row.namespace)
        with pytest.raises(ConfigurationError, match="cluster support is not available"):
            Durable(server.url.replace("redis://", "redis+cluster://"))
    row.tell(None)


@pytest.mark.row("D50")
@sizes(12)
async def test_d50_the_file_is_rewritten_under_load(trees: int, row: Row) -> None:
    """And the server is killed in the middle of it, at the end of all of it as well."""
    with ephemeral_server(appendonly=True, fsync="always") as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=15.0)

        async def rewrite() -> None:
            fleet.hit("BGREWRITEAOF", cuts_steps=False)
            with suppress(redis.RedisError):
                raw.execute_command(fleet.random.choice(("BGREWRITEAOF", "BGSAVE")))
            if fleet.random.random() < 0.2:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)

        async with fleet.serving():
            async with injecting(rewrite, lambda: fleet.random.uniform(0.1, 0.3), is_fair=True):
                await fleet.load(trees, pace_s=0.2)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
        await fleet.judge()
    row.tell(fleet)
