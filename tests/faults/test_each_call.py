"""D2, D23, D24, O7: a worker is struck at each of its calls in turn; every run ends the same way, whatever the call."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis
from semantics.leaks import LOOK, Look, parse_look

from durable_async import Durable, RunCancelled, RunFailed
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .conftest import Report
from .invariants import check_invariants, figures_of
from .rig import FEW_STRIKES, LEASE_S, STRIKES, Plan, StruckWorker, stalls, wired

AT_ONCE = 16
PATIENCE_S = 25.0

Scenario = Callable[["Case", Durable, str], Awaitable[None]]


@dataclass
class Case:
    """One strike in a namespace of its own."""

    server: EphemeralServer
    raw: redis.Redis
    namespace: str
    book: Book
    plan: Plan
    living: str = ""
    """The worker that need not have left."""

    def look(self) -> Look:
        look = parse_look(self.raw.eval(LOOK, 0, Keys(self.namespace).base))  # type: ignore[arg-type]  # a union
        assert not look.broken(), look.broken()
        return look

    async def until(self, predicate: Callable[[], Any], what: str) -> None:
        give_up_at = monotonic() + PATIENCE_S
        while not predicate():
            if monotonic() > give_up_at:
                left = "\n".join(self._left())
                raise AssertionError(f"{self.plan.strike} at {self.plan.at} ({self.plan.what}), never {what}:\n{left}")
            await asyncio.sleep(0.02)

    def durable(self) -> Durable:
        return Durable(self.server.url, workflows=[flows], namespace=self.namespace)

    async def run(self, scenario: Scenario) -> None:
        """The scenario under a struck worker, which leaves at the end; once it is dead another one does the rest."""
        self.book.write("namespace", namespace=self.namespace)
        async with self.durable() as durable, stalls(self.book, LEASE_S / 3):
            struck = StruckWorker(durable, self.plan)
            self.living = struck.worker.id
            task = asyncio.create_task(self._all(scenario, durable))
            await struck.start()
            await struck.until_dead(asyncio.wait({task}))
            if not self.plan.is_dead:
                await task
                await struck.until_dead(struck.worker.stop())
            if self.plan.is_dead:
                self.book.write("fault", what=f"{self.plan.strike} {self.plan.what}")
                async with durable.worker(lease=LEASE_S, drain_timeout=5.0) as second:
                    self.living = second.id
                    await task
                    await self.nothing_left()
                await struck.cut()
        found = check_invariants(self.raw, self.book)
        assert not found, f"{self.plan.strike} at {self.plan.at} ({self.plan.what}):\n" + "\n".join(found)

    async def _all(self, scenario: Scenario, durable: Durable) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scenario(self, durable, self.book.path)
        await self.nothing_left()

    async def nothing_left(self) -> None:
        """Waits until walks are done and the dead are cleared away."""
        await self.until(lambda: not self._left(), "cleared away")

    def _left(self) -> list[str]:
        return self.look().left(Keys(self.namespace), self.living)


async def two_levels(case: Case, durable: Durable, ledger: str) -> None:
    """A child, an event, a timer, a step that is retried."""
    handle = await durable.start(flows.parent, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.PARENT_RESULT)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    assert await handle.result() == flows.PARENT_RESULT
    case.book.write("result", id="p", status="completed")


async def several_lives(case: Case, durable: Durable, ledger: str) -> None:
    """A run that fails and is run again, a child that is, and new inputs under the same id; an event goes over."""
    handle = await durable.start(flows.lives, {"ledger": ledger, "life": 1}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.LIVES_RESULT)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    assert await handle.result() == flows.LIVES_RESULT
    case.book.write("result", id="p", status="completed")


async def taken_up_again(case: Case, durable: Durable, ledger: str) -> None:
    """A run that has failed beside a waiting child, and is taken up again by a person."""
    handle = await durable.start(flows.needs_help, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=flows.HELPED_RESULT)
    with pytest.raises(RunFailed):
        await handle.result()
    case.book.write("mended")
    again = await durable.retry("p")
    case.book.write("fault", what="taken up again")  # what has failed runs again
    waits = Keys(case.namespace).run("p/waits")
    await case.until(lambda: case.raw.hmget(waits, "gen", "status") == [b"2", b"parked"], "the child waits again")
    await durable.send_event("p/waits", "go", "went")
    assert await again.result() == flows.HELPED_RESULT
    case.book.write("result", id="p", status="completed")


async def cancelled_tree(case: Case, durable: Durable, ledger: str) -> None:
    """Three levels, awaited, started and delayed; cancelled once all wait."""
    handle = await durable.start(flows.doomed, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    waiting = {"p": "parked", "p/mid": "parked", "p/mid/one": "parked", "p/mid/two": "parked", "p/started": "delayed"}

    def all_wait() -> bool:
        runs = case.look().runs
        return all(id in runs and runs[id][0] == status for id, status in waiting.items())

    await case.until(all_wait, "all wait")
    did = await durable.cancel("p", "enough")
    case.book.write("cancel", id="p", did=did)
    with pytest.raises(RunCancelled):
        await handle.result()
    case.book.write("result", id="p", status="cancelled")
    await case.until(lambda: not case.look().active(), "the whole tree has ended")


CASES: list[Any] = [(strike, scenario) for strike in STRIKES for scenario in (two_levels, cancelled_tree)]
for scenario in (several_lives, taken_up_again):
    CASES += [pytest.param(strike.values[0], scenario, marks=strike.marks) for strike in FEW_STRIKES[1:]]
    CASES.append((FEW_STRIKES[0], scenario))


@pytest.fixture
def raw(shared_server: EphemeralServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_server.url) as connection, wired():
        yield connection


@pytest.mark.slow
@pytest.mark.parametrize(("strike", "scenario"), CASES, ids=lambda part: getattr(part, "__name__", part))
async def test_d02_d23_every_call(
    strike: str,
    scenario: Scenario,
    shared_server: EphemeralServer,
    raw: redis.Redis,
    namespace: str,
    tmp_path: Path,
    report: Report,
) -> None:
    cases: list[Case] = []

    async def one(at: int) -> Case:
        book = Book(tmp_path / f"ledger{at}")
        case = Case(shared_server, raw, f"{namespace}-{at}", book, Plan(at, strike if at else ""))
        await case.run(scenario)
        cases.append(case)
        return case

    # What is not struck says how many calls there are; a few more, since batches differ.
    total = len((await one(0)).plan.names)
    todo = list(range(1, total + 4))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(_work_off(todo, one))
    hits = Counter(case.plan.what for case in cases if case.plan.struck.is_set())
    for name in ("claim_runs", "commit_run", "ack_entries"):
        assert hits[name], f"{name} was never struck: {hits}"
    figures = [figures_of(case.book) for case in cases]
    report(
        "D2" if strike.startswith("crash") else "D23",
        strike=strike,
        scenario=scenario.__name__,
        runs=len(cases),
        faults=sum(hits.values()),
        calls=dict(hits),
        steps_again=sum(again for again, _ in figures),
        recoveries=[t for _, times in figures for t in times],
    )


async def _work_off(todo: list[int], one: Callable[[int], Awaitable[Any]]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            await one(todo.pop(0))
