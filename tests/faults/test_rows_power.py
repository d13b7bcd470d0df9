"""D8 to D13: a server that comes back with all it had acknowledged, or without the end of it, or with nothing.

Where the promise is that nothing is lost, workload W and all invariants judge. Where it is not, clients ask again, and
what must hold is that the store never contradicts itself, and that everything ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import redis
from semantics.leaks import LOOK, parse_look
from semantics.restricted import IS_RESTRICTED

from durable_async import Durable
from durable_async.client.doctor import examine
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server
from durable_async.store.keys import Keys

from . import flows
from .fleet import Fleet, injecting, until
from .losses import Insistent, judge_what_is_there, most_losses
from .rows import Row, sizes
from .servers import Power, mend_file

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PACE_S = 0.2
CUTS = int(os.environ.get("DURABLE_FAULTS_CUTS", "40"))
LINES_PER_LOSS = 25
"""What one worker may log about one loss of everything."""


async def strict(fleet: Fleet, inject: Callable[[], Any], pause_s: Callable[[], float], trees: int) -> None:
    """Workload W under a fault that loses nothing."""
    async with fleet.serving(), injecting(inject, pause_s, is_fair=True):
        await fleet.load(trees, pace_s=PACE_S)
    await fleet.judge()


async def lossy(fleet: Fleet, inject: Callable[[], Any], pause_s: Callable[[], float], trees: int) -> Insistent:
    """Trees under a fault that loses what was acknowledged."""
    for _ in range(3):
        fleet.spawn()
    client = Insistent(fleet)
    async with injecting(inject, pause_s, is_fair=True, most=most_losses(trees)):
        await client.load(trees, PACE_S)
    await client.ask_again(trees)
    await fleet.leave()
    client.mended = await judge_what_is_there(fleet, trees)
    return client


@pytest.mark.row("D8")
@sizes(10)
async def test_d08_the_server_is_killed_between_two_fsyncs(trees: int, row: Row) -> None:
    """What a server has handed to the kernel outlives it; while an fsync takes long it keeps back up to two seconds."""
    with ephemeral_server(appendonly=True, fsync="everysec") as server:
        fleet = row.fleet(server.url, lease=15.0)

        async def kill() -> None:
            fleet.hit("server", cuts_steps=False)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)

        client = await lossy(fleet, kill, lambda: fleet.random.uniform(0.3, 1), trees)
    row.tell(fleet, started_again=client.again, mended=client.mended)


@pytest.mark.row("D9")
@sizes(10)
async def test_d09_the_power_fails_with_fsync_always(trees: int, row: Row) -> None:
    power = Power(row.folder, "always", row.seed)
    with power.server as server:
        fleet = row.fleet(server.url, lease=15.0)

        async def cut() -> None:
            fleet.hit("power", cuts_steps=False)
            await asyncio.to_thread(power.cut)
            await asyncio.to_thread(server.restart)

        await strict(fleet, cut, lambda: fleet.random.uniform(0.3, 1), trees)
    row.tell(fleet, bytes_lost=power.lost)


@pytest.mark.row("D9")
@sizes(10)
async def test_d09_the_power_fails_with_fsync_everysec(trees: int, row: Row) -> None:
    power = Power(row.folder, "everysec", row.seed)
    with power.server as server:
        fleet = row.fleet(server.url, lease=4.0)

        async def cut() -> None:
            fleet.hit("power")
            await asyncio.to_thread(power.cut)
            await asyncio.to_thread(server.restart)

        client = await lossy(fleet, cut, lambda: fleet.random.uniform(0.5, 2), trees)
    row.tell(fleet, bytes_lost=power.lost, started_again=client.again, mended=client.mended)


@pytest.mark.row("D9")
@sizes(10)
async def test_d09_much_of_the_file_is_lost(trees: int, row: Row) -> None:
    """More than any power cut loses: up to half of the file, at a random byte, with living workers."""
    with ephemeral_server(appendonly=True, fsync="everysec") as server:
        fleet = row.fleet(server.url, lease=4.0)
        lost = 0

        async def cut() -> None:
            nonlocal lost
            fleet.hit("the tail is lost")
            await asyncio.to_thread(server.kill)
            path = max((server.directory / "appendonlydir").glob("*.incr.aof"), key=lambda p: p.stat().st_mtime)
            size = path.stat().st_size
            kept = int(size * (1 - fleet.random.uniform(0.02, 0.5)))
            os.truncate(path, kept)
            lost += size - kept
            await asyncio.to_thread(mend_file, server)
            await asyncio.to_thread(server.restart)

        client = await lossy(fleet, cut, lambda: fleet.random.uniform(0.5, 2), trees)
    assert lost
    row.tell(fleet, bytes_lost=lost, started_again=client.again, mended=client.mended)


@pytest.mark.row("D10")
async def test_d10_wherever_the_file_is_torn_each_transition_is_there_or_not(row: Row) -> None:
    """The file of a server that died under load, cut at random bytes: every prefix is a store without damage."""
    with ephemeral_server(appendonly=True) as server:
        fleet = row.fleet(server.url, size=2)
        async with fleet.client() as durable:
            for _ in range(2):
                fleet.spawn()
            for n in range(4):
                await durable.start(flows.tree, {"ledger": row.book.path, "n": n, "pause_s": 0.02}, id=f"w{n}")
                row.book.write("start", id=f"w{n}")
            await until(lambda: len(row.book.lines("begin")) > 30, "trees are under way")
            await asyncio.to_thread(server.kill)
            for pid in list(fleet.pids):
                fleet.end(pid)
        source = server.directory / "appendonlydir"
        runs_seen = 0
        for _ in range(CUTS):
            runs_seen += await _torn(source, fleet)
            fleet.hit("torn")
    assert runs_seen
    row.tell(fleet, recoveries=[], pauses=[])


async def _torn(source: Any, fleet: Fleet) -> int:
    server: EphemeralServer = ephemeral_server(appendonly=True)
    try:
        copy = server.directory / "appendonlydir"
        shutil.copytree(source, copy)
        path = max(copy.glob("*.incr.aof"), key=lambda p: p.stat().st_size)
        os.truncate(path, fleet.random.randrange(path.stat().st_size))
        await asyncio.to_thread(server.start)
        with redis.Redis.from_url(server.url) as raw:
            look = parse_look(raw.eval(LOOK, 0, Keys(fleet.namespace).base))  # type: ignore[arg-type]  # a union
        assert not look.broken(), look.broken()
        async with Durable(server.url, namespace=fleet.namespace) as durable:
            report = await examine(durable._session.store, may_fix=False)
        assert not report.damage, report.damage
        return len(look.runs)
    finally:
        server.stop()


PIECES = "for i = 1, 5 do redis.call('RPUSH', 'list', i .. string.rep('x', 50)) end redis.call('INCR', 'times')"


@pytest.mark.row("D10")
async def test_d10_a_torn_file_is_mended_before_its_server_starts(row: Row) -> None:
    """Else Redis 7 and 8 keep half of a script, and do it with the first one of the next start but one."""
    halves = torn = 0
    for is_mended in (True, False):
        with ephemeral_server(appendonly=True, fsync="always") as server, redis.Redis.from_url(server.url) as raw:
            path = next((server.directory / "appendonlydir").glob("*.incr.aof"))
            raw.eval(PIECES, 0)
            first = path.stat().st_size
            raw.eval(PIECES, 0)
            whole = path.read_bytes()
            for kept in range(first + 9, len(whole), 47):
                server.kill()
                path.write_bytes(whole[:kept])
                if is_mended:
                    mend_file(server)
                server.restart()
                assert (raw.llen("list"), raw.get("times")) == (5, b"1")
                raw.eval(PIECES, 0)
                server.kill()
                server.restart()
                torn += 1
                found = (raw.llen("list"), raw.get("times"))
                halves += found != (10, b"2")
                assert not is_mended or found == (10, b"2")
    row.tell(None, faults=torn, halves=halves, variant="a torn file is mended before each start")


@pytest.mark.row("D11")
@sizes(10)
async def test_d11_only_snapshots_are_kept(trees: int, row: Row) -> None:
    """A restart goes back to the last snapshot, and whoever asks is told so beforehand."""
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        raw.config_set("save", "3600 1")
        fleet = row.fleet(server.url, lease=4.0)
        async with fleet.client() as durable:
            said = (await examine(durable._session.store, may_fix=False)).disk
        # The user of docs/security.md may not ask for the times of snapshots.
        kept = (
            "There is no append-only file" if IS_RESTRICTED else "Only snapshots are kept: a restart loses everything"
        )
        assert said.startswith(kept)

        async def back() -> None:
            await asyncio.to_thread(raw.save)
            await asyncio.sleep(fleet.random.uniform(0.1, 0.8))
            fleet.hit("back to the snapshot")
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)

        client = await lossy(fleet, back, lambda: fleet.random.uniform(0.2, 1), trees)
    row.tell(fleet, started_again=client.again, mended=client.mended)


@pytest.mark.row("D12")
@sizes(10)
async def test_d12_everything_is_flushed(trees: int, row: Row) -> None:
    """No crash and no hot loop: workers make their streams anew, hold what they did as void, and go on."""
    log = row.nursery.log
    assert log is not None
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=4.0)
        before = log.stat().st_size

        def flush() -> None:
            # A client that waits looks for itself every 3 s: flushed more often than that for ever, nothing ends.
            if fleet.faults < 3 + trees // 100:
                fleet.hit("FLUSHALL")
                raw.flushall()

        # The first comes while the trees are under way, however fast the machine is.
        client = await lossy(fleet, flush, lambda: fleet.random.uniform(0.2, 0.8), trees)
        said = log.read_bytes()[before:].decode(errors="replace").splitlines()
    assert "had vanished and was made anew" in "\n".join(said)
    assert len(said) <= LINES_PER_LOSS * 3 * (fleet.faults + 1), "\n".join(said[:200])
    row.tell(fleet, started_again=client.again, mended=client.mended)


@pytest.mark.row("D13")
@sizes(10)
async def test_d13_an_old_snapshot_is_put_back(trees: int, row: Row) -> None:
    """Time travel: owners of a later epoch meet an earlier record, and are fenced."""
    with ephemeral_server() as server, redis.Redis.from_url(server.url) as raw:
        fleet = row.fleet(server.url, lease=4.0)
        old = row.folder / "old.rdb"
        raw.save()
        shutil.copy(server.directory / "dump.rdb", old)

        async def travel() -> None:
            # The snapshot that is put back is older than the one that would have been loaded.
            fleet.hit("time travel")
            await asyncio.to_thread(server.kill)
            shutil.copy(old, server.directory / "dump.rdb")
            await asyncio.to_thread(server.restart)
            await asyncio.sleep(fleet.random.uniform(0.1, 1))
            await asyncio.to_thread(raw.save)
            shutil.copy(server.directory / "dump.rdb", old)

        client = await lossy(fleet, travel, lambda: fleet.random.uniform(0.3, 1), trees)
    row.tell(fleet, started_again=client.again, mended=client.mended)
