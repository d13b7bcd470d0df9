"""D1, D2 (a sample), D3, D7, D14, D21: real worker processes and a real server, struck from outside.

`$DURABLE_FAULTS_TREES` sets the length of the ``long`` versions, in trees (by default 1,500).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from time import time
from typing import Any

import pytest
import redis
from semantics.crowd import Nursery

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows
from .book import Book
from .conftest import Report
from .fleet import Fleet, injecting, until
from .invariants import figures_of

LONG = pytest.param(int(os.environ.get("DURABLE_FAULTS_TREES", "1500")), marks=pytest.mark.long)
pytestmark = pytest.mark.slow


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "ledger")


def tell(report: Report, row: str, fleet: Fleet, seed: int, trees: int) -> None:
    again, times = figures_of(fleet.book)
    runs = len({(line["run"]) for line in fleet.book.lines("begin")})
    report(row, seed=seed, trees=trees, runs=runs, faults=fleet.faults, steps_again=again, recoveries=times)


@pytest.mark.parametrize("trees", [25, LONG])
async def test_d01_workers_are_killed(
    trees: int, shared_server: EphemeralServer, namespace: str, nursery: Nursery, book: Book, seed: int, report: Report
) -> None:
    fleet = Fleet(shared_server.url, namespace, nursery, book, seed)
    async with fleet.serving(), injecting(fleet.kill_one, lambda: fleet.random.uniform(0.5, 3)):
        await fleet.load(trees, pace_s=0.3)
    await fleet.judge()
    tell(report, "D1", fleet, seed, trees)


@pytest.mark.parametrize("after_reply", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 6, 9])
async def test_d02_a_process_ends_at_a_call(
    at: int, after_reply: bool, shared_server: EphemeralServer, namespace: str, nursery: Nursery, book: Book
) -> None:
    fleet = Fleet(shared_server.url, namespace, nursery, book, 0, size=0, lease=0.7)
    options = {"lease": 0.7, "drain_timeout": 5.0}
    lethal: dict[str, Any] = {"die_at": at, "die_after_reply": after_reply}
    pid = nursery.spawn(
        url=fleet.url, namespace=namespace, flows=["faults.flows"], options=options, limits={}, **lethal
    )
    async with fleet.client() as durable:
        handle = await durable.start(flows.parent, {"ledger": book.path}, id="p")
        book.write("start", id="p")
        book.write("expect", id="p", value=flows.PARENT_RESULT)
        await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
        await until(lambda: not _is_alive(pid), "the first worker has died")
        book.write("fault", what="exit", t=0.0, until=time())
        fleet.spawn()
        async with fleet.serving():
            assert await handle.result(timeout=60) == flows.PARENT_RESULT
    await fleet.judge()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_d03_a_zombie_is_fenced(
    shared_server: EphemeralServer, namespace: str, nursery: Nursery, book: Book, seed: int, report: Report
) -> None:
    fleet = Fleet(shared_server.url, namespace, nursery, book, seed, size=0)
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
        assert await handle.result(timeout=60) == "last"
        await fleet.load(3)
    await fleet.judge()
    first, second = [line for line in book.lines("begin") if line["step"] == "slow"]
    assert first["pid"] == zombie != second["pid"]
    assert [line["nonce"] for line in book.lines("got") if line["run"] == "p"] == [second["nonce"]]
    tell(report, "D3", fleet, seed, 4)


@pytest.mark.parametrize("trees", [12, LONG])
async def test_d07_the_server_is_killed(
    trees: int, namespace: str, nursery: Nursery, book: Book, seed: int, report: Report
) -> None:
    with ephemeral_server(appendonly=True, fsync="always") as server:
        fleet = Fleet(server.url, namespace, nursery, book, seed, lease=4.0)

        async def kill() -> None:
            await asyncio.to_thread(server.kill)
            fleet.hit("server", cuts_steps=False)
            await asyncio.to_thread(server.restart)

        async with fleet.serving(), injecting(kill, lambda: fleet.random.uniform(0.3, 1)):
            await fleet.load(trees)
        await fleet.judge()
    tell(report, "D7", fleet, seed, trees)


@pytest.mark.parametrize("trees", [10, LONG])
@pytest.mark.parametrize(
    ("row", "command", "every_s"),
    [("D14", "SCRIPT FLUSH", 0.05), ("D21", "CLIENT KILL TYPE normal", 0.2)],
    ids=["d14_scripts_are_forgotten", "d21_connections_are_killed"],
)
async def test_again_and_again(
    row: str, command: str, every_s: float, trees: int, namespace: str, nursery: Nursery, book: Book, seed: int,
    report: Report,
) -> None:  # fmt: skip
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = Fleet(server.url, namespace, nursery, book, seed, lease=4.0)

        def inject() -> None:
            raw.execute_command(*command.split())
            fleet.hit(command, cuts_steps=False)

        async with fleet.serving(), injecting(inject, lambda: every_s):
            await fleet.load(trees)
        await fleet.judge()
    tell(report, row, fleet, seed, trees)
