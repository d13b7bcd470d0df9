"""D1, D2 (a sample), D3, D7, D14, D21: real worker processes and a real server, struck from outside.

`$DURABLE_FAULTS_TREES` sets the length of the ``long`` versions, in trees (by default 1,500).
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
import redis
from semantics.crowd import is_alive

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows
from .book import clock
from .fleet import PATIENCE_S, injecting, until
from .rows import Row, sizes

pytestmark = pytest.mark.slow


@pytest.mark.row("D1")
@sizes(25)
async def test_d01_workers_are_killed(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    fleet = row.fleet(shared_server.url)
    async with fleet.serving(), injecting(fleet.kill_one, lambda: fleet.random.uniform(0.5, 3)):
        await fleet.load(trees, pace_s=0.3)
    await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D2")
@pytest.mark.parametrize("after_reply", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 6, 9])
async def test_d02_a_process_ends_at_a_call(
    at: int, after_reply: bool, shared_server: EphemeralServer, row: Row
) -> None:
    book = row.book
    fleet = row.fleet(shared_server.url, size=0, lease=0.7)
    options = {"lease": 0.7, "drain_timeout": 5.0}
    lethal: dict[str, Any] = {"die_at": at, "die_after_reply": after_reply}
    pid = row.nursery.spawn(
        url=fleet.url, namespace=row.namespace, flows=["faults.flows"], options=options, limits={}, **lethal
    )
    async with fleet.client() as durable:
        handle = await durable.start(flows.parent, {"ledger": book.path}, id="p")
        book.write("start", id="p")
        book.write("expect", id="p", value=flows.PARENT_RESULT)
        await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
        await until(lambda: not is_alive(pid), "the first worker has died")
        book.write("fault", what="exit", t=0.0, until=clock())
        fleet.faults += 1
        fleet.spawn()
        async with fleet.serving():
            assert await handle.result(timeout=PATIENCE_S) == flows.PARENT_RESULT
            book.write("result", id="p", status="completed")
    await fleet.judge()
    # When it died is not known to the ms: no times.
    row.tell(fleet, recoveries=[], pauses=[])


@pytest.mark.row("D3")
async def test_d03_a_zombie_is_fenced(shared_server: EphemeralServer, row: Row) -> None:
    book = row.book
    fleet = row.fleet(shared_server.url, size=0)
    async with fleet.client() as durable, fleet.serving():
        zombie = fleet.spawn()
        handle = await durable.start(flows.long_step, {"ledger": book.path}, id="p")
        book.write("start", id="p")
        book.write("expect", id="p", value="last")
        await until(lambda: book.lines("begin"), "the step runs")
        fleet.spawn()
        with book.fault("SIGSTOP"):
            os.kill(zombie, signal.SIGSTOP)
            await until(lambda: len(book.lines("begin")) > 1, "another worker has taken the run over")
            # Three leases in all, so that whatever the zombie thinks it holds is gone.
            await asyncio.sleep(2 * fleet.lease)
            os.kill(zombie, signal.SIGCONT)
        fleet.hit("SIGCONT")
        book.write("release")
        assert await handle.result(timeout=PATIENCE_S) == "last"
        await fleet.load(3)
    await fleet.judge()
    first, second = [line for line in book.lines("begin") if line["step"] == "slow"]
    assert first["pid"] == zombie != second["pid"]
    assert [line["nonce"] for line in book.lines("got") if line["run"] == "p"] == [second["nonce"]]
    row.tell(fleet)


@pytest.mark.row("D7")
@sizes(12)
async def test_d07_the_server_is_killed(trees: int, row: Row) -> None:
    with ephemeral_server(appendonly=True, fsync="always") as server:
        fleet = row.fleet(server.url, lease=15.0)

        async def kill() -> None:
            fleet.hit("server", cuts_steps=False)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)

        async with fleet.serving(), injecting(kill, lambda: fleet.random.uniform(0.3, 1), is_fair=True):
            await fleet.load(trees)
        await fleet.judge()
    row.tell(fleet)


@sizes(10)
@pytest.mark.parametrize(
    ("command", "every_s"),
    [
        pytest.param("SCRIPT FLUSH", 0.05, marks=pytest.mark.row("D14"), id="d14_scripts_are_forgotten"),
        pytest.param("CLIENT KILL TYPE normal", 0.2, marks=pytest.mark.row("D21"), id="d21_connections_are_killed"),
    ],
)
async def test_again_and_again(command: str, every_s: float, trees: int, row: Row) -> None:
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=4.0)

        def inject() -> None:
            raw.execute_command(*command.split())
            fleet.hit(command, cuts_steps=False)

        async with fleet.serving(), injecting(inject, lambda: every_s):
            await fleet.load(trees)
        await fleet.judge()
    row.tell(fleet)
