"""D46 to D49: cuts at each call of timers and sweeps; storms of cancels and events; time-outs that are close calls."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from durable_async import Durable
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows, flows_storms
from .conftest import Report
from .fleet import PATIENCE_S, injecting
from .invariants import figures_of
from .rig import BY_THE_CLOCK, Plan
from .rows import Row, sizes
from .sweep import Case, work_off

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PAIRS = int(os.environ.get("DURABLE_FAULTS_PAIRS", "1000"))
UPKEEP_CALLS = 52
"""Of a worker's calls for others that are struck, one in each run of the scenario."""
UPKEEP_NAMES = ("poll_due", "take_sweep", "sift_runs", "repair_run")
"""Those of which the first and the second are struck besides: what comes when depends on the machine."""


class PlanOfUpkeep(Plan):
    """Strikes what a worker does by the clock: timers, sweeps, reaping, and whatever these lead to."""

    def counts(self, name: str, args: Any) -> bool:
        return name in BY_THE_CLOCK - {"PING", "CLIENT", "INFO", "CONFIG", "XREADGROUP"} or name in (
            "fire_timer", "release_entry", "close_worker", "drop_consumer"
        )  # fmt: skip


class DamagedCase(Case):
    """A tree whose first entry is gone, so that its worker has something to mend."""

    flows = flows


async def damaged(case: Any, durable: Durable, ledger: str) -> None:
    """No worker has read it when its entry vanishes."""
    handle = await durable.start(flows.parent, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.PARENT_RESULT)
    case.raw.xtrim(Keys(case.namespace).queue("default"), 0, approximate=False)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    assert await handle.result() == flows.PARENT_RESULT
    case.book.write("result", id="p", status="completed")


@pytest.mark.row("D46")
@pytest.mark.parametrize("strike", ["crash-before", "crash-after"])
async def test_d46_a_worker_dies_over_its_upkeep(
    strike: str, shared_server: EphemeralServer, raw: redis.Redis, namespace: str, tmp_path: Path, report: Report
) -> None:
    cases: list[Any] = []

    async def one(what: tuple[int, str]) -> None:
        from .book import Book

        at, name = what
        plan = PlanOfUpkeep(at, strike, name)
        case = DamagedCase(shared_server, raw, f"{namespace}-{at}{name}", Book(tmp_path / f"ledger{at}{name}"), plan)
        await case.run(damaged)
        cases.append(case)

    by_name = [(at, name) for name in UPKEEP_NAMES for at in (1, 2)]
    await work_off([*((at, "") for at in range(1, UPKEEP_CALLS + 1)), *by_name], one)
    hits = Counter(case.plan.what for case in cases if case.plan.struck.is_set())
    assert set(UPKEEP_NAMES) <= set(hits), hits
    figures = [figures_of(case.book) for case in cases]
    report(
        "D46", strike=strike, runs=len(cases), acknowledged=len(cases), finished=len(cases), faults=sum(hits.values()),
        calls=dict(hits), steps_again=sum(again for again, _ in figures),
        recoveries=[t for _, times in figures for t in times],
    )  # fmt: skip


@pytest.mark.row("D47")
@sizes(40, 1000)
async def test_d47_every_tree_is_cancelled_at_a_random_instant(
    trees: int, shared_server: EphemeralServer, row: Row
) -> None:
    """And workers are killed meanwhile."""
    fleet = row.fleet(shared_server.url)
    fleet.cancelled_share = 1.0
    async with fleet.serving(), injecting(fleet.kill_one, lambda: fleet.random.uniform(0.7, 2)):
        await fleet.load(trees, pace_s=0.1)
    await fleet.judge()
    cancels = [line["did"] for line in row.book.lines("cancel")]
    assert len(cancels) == trees
    row.tell(fleet, faults=fleet.faults + sum(cancels))


@pytest.mark.row("D48")
@pytest.mark.parametrize("runs", [12, pytest.param(300, marks=pytest.mark.long)])
async def test_d48_events_before_during_and_after_waits(runs: int, shared_server: EphemeralServer, row: Row) -> None:
    """Each sent twice, by two clients, in any order, while workers are killed: each is taken once."""
    fleet = row.fleet(shared_server.url)
    names = [f"e{n:02}" for n in range(flows_storms.EVENTS)]

    async def send(durable: Durable, id: str) -> None:
        mine = fleet.random.sample(names, len(names))
        for event in mine:
            await durable.send_event(id, "go", {"event": event}, event_id=event)
            row.book.write("event", id=id, name="go", event=event)
            await asyncio.sleep(fleet.random.uniform(0, 0.3))

    async def one(durable: Durable, id: str) -> None:
        handle = await durable.start(flows_storms.collects, {"ledger": row.book.path}, id=id)
        row.book.write("start", id=id)
        await asyncio.gather(send(durable, id), send(durable, id), asyncio.sleep(0.05))
        assert sorted(await handle.result(timeout=PATIENCE_S)) == sorted(names)
        row.book.write("result", id=id, status="completed")

    kill = injecting(fleet.kill_one, lambda: fleet.random.uniform(0.5, 1.5))
    fleet.flows = "faults.flows_storms"
    async with Durable(fleet.via, workflows=[flows_storms], namespace=row.namespace) as durable, fleet.serving(), kill:
        for first in range(0, runs, 12):
            await asyncio.gather(*(one(durable, f"w{n}") for n in range(first, min(runs, first + 12))))
    await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D49")
@pytest.mark.parametrize("pairs", [60, pytest.param(PAIRS, marks=pytest.mark.long)])
async def test_d49_a_timeout_as_long_as_what_it_bounds(pairs: int, shared_server: EphemeralServer, row: Row) -> None:
    """Within 5 ms, while workers are killed: one outcome, the same in every replay and on the child."""
    fleet = row.fleet(shared_server.url)
    fleet.flows = "faults.flows_storms"

    async def one(durable: Durable, n: int) -> str:
        late_s = fleet.random.uniform(-0.005, 0.005)
        given = {"ledger": row.book.path, "lasts_s": 0.2, "timeout_s": 0.2 + late_s}
        handle = await durable.start(flows_storms.bounded, given, id=f"w{n}")
        row.book.write("start", id=f"w{n}")
        saw = await handle.result(timeout=PATIENCE_S)
        row.book.write("expect", id=f"w{n}", value=saw)
        row.book.write("result", id=f"w{n}", status="completed")
        child = (await durable.get(f"w{n}/kid")).status
        assert child == "completed" if saw == "value" else child in ("cancelled", "completed", "waiting", "running")
        return saw

    kill = injecting(fleet.kill_one, lambda: fleet.random.uniform(0.3, 1))
    async with Durable(fleet.via, workflows=[flows_storms], namespace=row.namespace) as durable, fleet.serving(), kill:
        saw = []
        for first in range(0, pairs, 20):
            saw += await asyncio.gather(*(one(durable, n) for n in range(first, min(pairs, first + 20))))
        # Who judges does not know these workflows: children whose cancel is on its way end before the workers leave.
        async with asyncio.timeout(PATIENCE_S):
            for n in range(pairs):
                while (await durable.get(f"w{n}/kid")).status in ("pending", "waiting", "running"):
                    await asyncio.sleep(0.02)
    await fleet.judge()
    row.tell(fleet, saw=dict(Counter(saw)))
