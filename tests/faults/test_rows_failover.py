"""D15 to D18: a replica takes over, having everything, or not, or while the old primary still believes it is one.

Workers and clients connect to an address that is moved (a proxy's), as a virtual IP is, or ask Sentinels.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack

import pytest
import redis

from durable_async.server.ephemeral import EphemeralServer

from .fleet import injecting, until
from .losses import Insistent, judge_what_is_there, most_losses
from .proxy import Proxy
from .rows import Row, sizes
from .servers import caught_up, follow, pair, promote, sentinels

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.mark.row("D15")
@sizes(12)
async def test_d15_a_replica_is_promoted_that_has_everything(trees: int, row: Row) -> None:
    """A planned failover, back and forth: nothing is lost, and scripts that the new primary lacks are sent to it."""
    with pair() as (one, two), Proxy(one.url) as proxy, ExitStack() as stack:
        raws = {server: stack.enter_context(redis.Redis.from_url(server.url)) for server in (one, two)}
        fleet = row.fleet(one.url, via=proxy.url, lease=8.0)
        roles: list[EphemeralServer] = [one, two]

        def turn() -> None:
            primary, replica = roles
            fleet.hit("failover", cuts_steps=False)
            caught_up(raws[primary])
            promote(replica)
            proxy.target = fleet.url = replica.url
            proxy.cut()
            raws[primary].execute_command("CLIENT", "UNPAUSE")
            follow(primary, replica.url)
            roles.reverse()

        async with (
            fleet.serving(),
            injecting(lambda: asyncio.to_thread(turn), lambda: fleet.random.uniform(0.8, 2)),
        ):
            await fleet.load(trees, pace_s=0.3)
        await fleet.judge()
    assert fleet.faults
    row.tell(fleet)


@pytest.mark.row("D16")
@sizes(12)
async def test_d16_a_replica_is_promoted_that_was_behind(trees: int, row: Row) -> None:
    """The link between the two is dead for a while, then the primary dies: what it had acknowledged is gone."""
    with pair() as (one, two), Proxy(one.url) as proxy, Proxy(one.url, is_raw=True) as link:
        fleet = row.fleet(one.url, via=proxy.url, lease=4.0)
        roles: list[EphemeralServer] = [one, two]
        follow(two, link.url)

        def turn() -> None:
            primary, replica = roles
            primary.kill()
            promote(replica)
            proxy.target = fleet.url = link.target = replica.url
            proxy.cut()
            link.cut()
            link.release()
            primary.restart()
            follow(primary, link.url)
            roles.reverse()

        async def fail_over() -> None:
            link.hold()
            await asyncio.sleep(fleet.random.uniform(0.1, 0.8))
            fleet.hit("lossy failover")
            await asyncio.to_thread(turn)

        for _ in range(3):
            fleet.spawn()
        client = Insistent(fleet)
        async with injecting(fail_over, lambda: fleet.random.uniform(0.3, 1), is_fair=True, most=most_losses(trees)):
            await client.load(trees, 0.3)
        await client.ask_again(trees)
        await fleet.leave()
        client.mended = await judge_what_is_there(fleet, trees)
    assert fleet.faults
    row.tell(fleet, started_again=client.again, mended=client.mended)


@pytest.mark.row("D17")
@sizes(12)
async def test_d17_two_primaries_at_once(trees: int, row: Row) -> None:
    """Half of the workers, and the clients, are on either side; then one side's writes are no more."""
    with pair() as (one, two), Proxy(one.url) as here, Proxy(one.url) as there:
        fleet = row.fleet(one.url, via=here.url, lease=2.0)
        roles: list[EphemeralServer] = [one, two]

        async def split() -> None:
            old, new = roles
            fleet.hit("split brain")
            promote(new)
            here.target = fleet.url = new.url
            here.cut()
            # Both are written to; those over there hear nothing of it.
            await asyncio.sleep(fleet.random.uniform(0.5, 1.5))
            await asyncio.to_thread(follow, old, new.url)
            # Nobody cuts their connections: that their server has become a replica is all they hear.
            there.target = new.url
            roles.reverse()

        for via in (here.url, here.url, there.url, there.url):
            fleet.spawn(via=via)
        client = Insistent(fleet)
        async with injecting(split, lambda: fleet.random.uniform(0.5, 1.5), most=most_losses(trees)):
            await client.load(trees, 0.3)
        await client.ask_again(trees)
        await fleet.leave()
        client.mended = await judge_what_is_there(fleet, trees)
    assert fleet.faults
    row.tell(fleet, started_again=client.again, mended=client.mended)


@pytest.mark.row("D18")
async def test_d18_sentinels_fail_over_from_a_frozen_primary(row: Row) -> None:
    """The primary hangs, two of three Sentinels agree, and everybody finds the new one; the old one comes back."""
    with pair() as (one, two), sentinels(one, row.folder) as url:
        fleet = row.fleet(one.url, via=url, lease=8.0)
        for _ in range(3):
            fleet.spawn()
        client = Insistent(fleet)

        async def fail_over() -> None:
            await until(lambda: len(row.book.lines("begin")) > 20, "trees are under way")
            fleet.hit("SIGSTOP of the primary")
            one.pause()
            with redis.Redis.from_url(two.url) as raw:
                await until(lambda: raw.info("replication")["role"] == "master", "it is promoted")  # type: ignore[index]
            fleet.url = two.url
            await until(lambda: len(row.book.lines("result")) >= 1, "the first tree has ended on the new primary")
            os.kill(one.pid, signal.SIGCONT)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail_over())
            await client.load(10, 0.2)
        await client.ask_again(10)
        await fleet.leave()
        client.mended = await judge_what_is_there(fleet, 10)
    row.tell(fleet, started_again=client.again, mended=client.mended)
