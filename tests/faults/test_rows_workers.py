"""D4 to D6, D34, D42 to D46: workers that freeze, block, starve, are told to leave, or have other code."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import pytest
import redis
from semantics.crowd import Nursery, is_alive

from durable_async import Durable, RunFailed
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows, flows_deploy_changed, flows_deploy_old, flows_workers
from .book import clock
from .fleet import PATIENCE_S, Fleet, injecting, until
from .rows import Row, sizes
from .servers import Clock

pytestmark = [pytest.mark.slow, pytest.mark.faults]
FLOWS = "faults.flows_workers"
WAITING = int(os.environ.get("DURABLE_FAULTS_WAITING", "10000"))


def client(fleet: Fleet) -> Durable:
    return Durable(fleet.via, workflows=[flows, flows_workers], namespace=fleet.namespace)


def begun(row: Row, step: str = "hurts") -> list[dict[str, Any]]:
    return [line for line in row.book.lines("begin") if line["step"] == step]


async def hurt(row: Row, durable: Durable, how: str, seconds: float = 0.0) -> Any:
    given = {"ledger": row.book.path, "how": how, "seconds": seconds}
    handle = await durable.start(flows_workers.hurting, given, id="p")
    row.book.write("start", id="p")
    row.book.write("expect", id="p", value="last")
    return handle


@pytest.mark.row("D4")
async def test_d04_a_worker_is_frozen_between_effect_and_record(shared_server: EphemeralServer, row: Row) -> None:
    """Its step has done all it does; taken over meanwhile, what it reports when it goes on is refused."""
    fleet = row.fleet(shared_server.url, size=0)
    async with client(fleet) as durable, fleet.serving():
        frozen = fleet.spawn(flows=FLOWS)
        handle = await hurt(row, durable, "stop")
        with row.book.fault("SIGSTOP"):
            await until(lambda: begun(row), "the step has begun")
            fleet.spawn(flows=FLOWS)
            await until(lambda: len(begun(row)) > 1, "it is taken over")
        assert await handle.result(timeout=PATIENCE_S) == "last"
        row.book.write("result", id="p", status="completed")
        os.kill(frozen, signal.SIGCONT)
        await until(lambda: len(row.book.lines("end")) > 2, "the frozen one goes on")
        fleet.faults = 1
    await fleet.judge()
    first, second = begun(row)
    assert first["pid"] == frozen != second["pid"]
    assert [line["nonce"] for line in row.book.lines("got")] == [second["nonce"]]
    row.tell(fleet)


@pytest.mark.row("D5")
async def test_d05_the_loop_is_blocked(shared_server: EphemeralServer, row: Row) -> None:
    """For two leases, by a step that sleeps: the heartbeat has a thread of its own, and nobody takes the run."""
    fleet = row.fleet(shared_server.url, size=0)
    async with client(fleet) as durable, fleet.serving():
        for _ in range(2):
            fleet.spawn(flows=FLOWS)
        handle = await hurt(row, durable, "loop", 2 * fleet.lease)
        fleet.hit("blocked loop", cuts_steps=False)
        assert await handle.result(timeout=PATIENCE_S) == "last"
        row.book.write("result", id="p", status="completed")
    await fleet.judge()
    assert len(begun(row)) == 1
    row.tell(fleet, variant="time.sleep")


@pytest.mark.row("D5")
async def test_d05_the_interpreter_is_held(shared_server: EphemeralServer, row: Row) -> None:
    """No thread of the worker runs for three leases: it is as dead to the others, and what it records is refused."""
    fleet = row.fleet(shared_server.url, size=0)
    async with client(fleet) as durable, fleet.serving():
        held = fleet.spawn(flows=FLOWS)
        with row.book.fault("GIL"):
            handle = await hurt(row, durable, "gil", 5 * fleet.lease)
            await until(lambda: begun(row), "the step has begun")
            fleet.spawn(flows=FLOWS)
            await until(lambda: len(begun(row)) > 1, "it is taken over")
        assert await handle.result(timeout=PATIENCE_S) == "last"
        row.book.write("result", id="p", status="completed")
        fleet.faults = 1
        await until(lambda: any(line["pid"] == held for line in row.book.lines("begin")), "it goes on")
    await fleet.judge()
    row.tell(fleet, variant="GIL")


@pytest.mark.row("D6")
async def test_d06_there_is_no_memory_for_a_step(shared_server: EphemeralServer, row: Row) -> None:
    """A MemoryError is an attempt that failed, like any other."""
    fleet = row.fleet(shared_server.url, size=0)
    async with client(fleet) as durable, fleet.serving():
        fleet.spawn(flows=FLOWS)
        handle = await durable.start(flows_workers.eats, {"ledger": row.book.path}, id="p")
        row.book.write("start", id="p")
        row.book.write("expect", id="p", value="hungry")
        assert await handle.result(timeout=PATIENCE_S) == "hungry"
        row.book.write("result", id="p", status="completed")
        fleet.hit("no memory", cuts_steps=False)
    await fleet.judge()
    assert len(row.book.lines("raise")) == 1
    row.tell(fleet, variant="MemoryError")


@pytest.mark.row("D6")
async def test_d06_a_step_kills_each_worker(shared_server: EphemeralServer, row: Row) -> None:
    """As the kernel does that has no memory left. After five workers its run fails, and the others' go on."""
    fleet = row.fleet(shared_server.url, size=1)
    async with client(fleet) as durable, fleet.serving():
        fleet.spawn(flows=FLOWS)

        def replace() -> None:
            for pid in [pid for pid in fleet.pids if not is_alive(pid)]:
                fleet.pids.remove(pid)
                fleet.hit("killed by a step")
                fleet.spawn(flows=FLOWS)

        given = {"ledger": row.book.path, "how": "poison"}
        handle = await durable.start(flows_workers.hurting, given, id="p")
        row.book.write("start", id="p")
        async with injecting(replace, lambda: 0.02), asyncio.TaskGroup() as tasks:
            tasks.create_task(fleet.load(3))
            with pytest.raises(RunFailed) as failed:
                await handle.result(timeout=PATIENCE_S)
            replace()
        assert failed.value.error.type.endswith("CrashLoop")
        row.book.write("result", id="p", status="failed")
    await fleet.judge()
    # A worker that does not know it may have had it in between; that is no crash, and takes none off. What the first
    # claim wrote before its worker died makes that one not count.
    assert len(begun(row)) in (5, 6)
    row.tell(fleet, variant="SIGKILL by the step")


@pytest.mark.row("D34")
@sizes(10)
async def test_d34_workers_disagree_about_the_day(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """No decision uses a worker's clock: one that is a day ahead and one that is a day behind change nothing."""
    fleet = row.fleet(shared_server.url, size=1)
    nurseries = []
    for name, offset_s in (("ahead", 86_400), ("behind", -86_400)):
        clock = Clock(row.folder, name)
        clock.set_to(offset_s)
        nurseries.append(Nursery(clock.env, log=row.folder / f"{name}.log"))
    try:
        async with fleet.serving():
            for nursery in nurseries:
                fleet.spawn(nursery=nursery)
                fleet.hit("another day", cuts_steps=False)
            await fleet.load(trees)
        await fleet.judge()
    finally:
        for nursery in nurseries:
            nursery.close()
    assert len({line["pid"] for line in row.book.lines("begin")}) > 1
    row.tell(fleet)


@pytest.mark.row("D42")
async def test_d42_a_deploy_that_does_not_fit(shared_server: EphemeralServer, row: Row) -> None:
    """Runs of the old code wait under the new one, lose nothing, and go on after a roll-back or a patch."""
    fleet = row.fleet(shared_server.url, size=0, lease=2.0)
    old, changed, gone = "faults.flows_deploy_old", "faults.flows_deploy_changed", "faults.flows"
    async with Durable(fleet.via, workflows=[flows_deploy_old], namespace=row.namespace) as durable:
        pid = fleet.spawn(flows=old)
        handles = {}
        for id in ("a", "b", "c"):
            handles[id] = await durable.start(flows_deploy_old.shop, {"ledger": row.book.path}, id=id)
            row.book.write("start", id=id)
            row.book.write("expect", id=id, value=["pack", "send"])
        await until(lambda: len(row.book.lines("begin")) == 3, "all are packed")
        await replace(fleet, pid, signal.SIGTERM)

        pid = fleet.spawn(flows=gone)
        fleet.hit("deploy without it", cuts_steps=False)
        await durable.send_event("a", "go")
        with redis.Redis.from_url(fleet.url) as raw:
            key = Keys(row.namespace).run("a")
            await until(lambda: raw.hget(key, "status") == b"delayed", "it is handed back by who does not know it")
        await replace(fleet, pid, signal.SIGTERM)

        pid = fleet.spawn(flows=changed)
        fleet.hit("deploy that does not fit", cuts_steps=False)
        await durable.send_event("b", "go")
        with redis.Redis.from_url(fleet.url) as raw:
            blocked = Keys(row.namespace).blocked
            await until(lambda: raw.hlen(blocked) == 2, "both are blocked")
        await replace(fleet, pid, signal.SIGKILL)

        fleet.hit("roll-back", cuts_steps=False)
        pid = fleet.spawn(flows=old)
        for id in ("a", "b"):
            assert await handles[id].result(timeout=PATIENCE_S) == ["pack", "send"]
            row.book.write("result", id=id, status="completed")
        await replace(fleet, pid, signal.SIGTERM)

        fleet.hit("deploy with patched()", cuts_steps=False)
        fleet.spawn(flows="faults.flows_deploy_patched")
        await durable.send_event("c", "go")
        assert await handles["c"].result(timeout=PATIENCE_S) == ["pack", "send"]
        row.book.write("result", id="c", status="completed")
        handle = await durable.start(flows_deploy_changed.shop, {"ledger": row.book.path}, id="d")
        await durable.send_event("d", "go")
        assert await handle.result(timeout=PATIENCE_S) == ["label", "pack", "send"]
    await fleet.leave()
    await fleet.judge()
    row.tell(fleet)


async def replace(fleet: Fleet, pid: int, number: signal.Signals) -> None:
    """A worker's process ends."""
    fleet.end(pid, (number,))
    await until(lambda: not is_alive(pid), "it has left")


@pytest.mark.row("D43")
@sizes(20)
async def test_d43_a_rolling_restart(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """One worker after the other leaves in peace: no step runs twice, and nobody waits for a lease."""
    fleet = row.fleet(shared_server.url, size=4, lease=60.0)

    async def roll() -> None:
        fleet.hit("SIGTERM", cuts_steps=False)
        fleet.spawn()
        await replace(fleet, fleet.pids[0], signal.SIGTERM)

    async with fleet.serving(), injecting(roll, lambda: fleet.random.uniform(0.1, 0.4)):
        await fleet.load(trees, pace_s=0.25)
    await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D44")
@sizes(20)
async def test_d44_sigterm_and_soon_sigkill(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    fleet = row.fleet(shared_server.url)

    async def strike() -> None:
        pid = fleet.random.choice(fleet.pids)
        fleet.spawn()
        fleet.end(pid, (signal.SIGTERM,))
        await asyncio.sleep(fleet.random.uniform(0, 0.2))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        fleet.hit("SIGKILL after SIGTERM")

    async with fleet.serving(), injecting(strike, lambda: fleet.random.uniform(0.3, 1.5)):
        await fleet.load(trees, pace_s=0.25)
    await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D45")
@pytest.mark.parametrize("runs", [400, pytest.param(WAITING, marks=pytest.mark.long)])
async def test_d45_all_workers_restart_while_many_runs_wait(
    runs: int, shared_server: EphemeralServer, row: Row
) -> None:
    fleet = row.fleet(shared_server.url, size=0)
    with redis.Redis.from_url(fleet.url) as raw:
        keys = Keys(row.namespace)

        def parked() -> int:
            names = [keys.run(f"w{n}") for n in range(runs)]
            pipe = raw.pipeline(transaction=False)
            for name in names:
                pipe.hget(name, "status")
            return sum(status == b"parked" for status in pipe.execute())

        async with client(fleet) as durable:
            for _ in range(3):
                fleet.spawn(flows=FLOWS)
            for n in range(runs):
                await durable.start(flows_workers.waits, {"ledger": row.book.path}, id=f"w{n}")
                row.book.write("start", id=f"w{n}")
                row.book.write("expect", id=f"w{n}", value=n)
            await until(lambda: parked() == runs, "all wait")
            for pid in list(fleet.pids):
                fleet.end(pid)
                fleet.hit("SIGKILL")
            killed = clock()
            for _ in range(3):
                fleet.spawn(flows=FLOWS)
            for n in range(runs):
                await durable.send_event(f"w{n}", "go", n)
            for n in range(runs):
                assert await durable.run(f"w{n}").result(timeout=PATIENCE_S) == n
                row.book.write("result", id=f"w{n}", status="completed")
            recovery = clock() - killed
        await fleet.leave()
        await fleet.judge()
    # From the kill to the last result, of all of them.
    row.tell(fleet, runs=runs, recoveries=[recovery], pauses=[])
