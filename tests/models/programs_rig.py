"""Programs on a real server, under workers that are struck one after the other; what must be true at the end.

A *schedule* says what strikes the first worker, what the one after it, and so on (see `faults.rig`); the last one
lives. Programs of one case run at the same time, in one namespace, and meet the strikes together.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from faults.book import Book
from faults.invariants import Check, check_invariants
from faults.rig import LEASE_S, STRIKES, Plan, StruckWorker, stalls
from faults.snapshot import Snapshot, take
from semantics.leaks import LOOK, parse_look

from durable_async import Durable, Handle, Limits, RunCancelled, RunFailed, RunNotFound, RunNotWaiting
from durable_async.store.keys import Keys

from .programs import Program
from .programs_names import names
from .programs_plain import Expected, run_plain
from .programs_replay import replayed

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Schedule:
    """What strikes the workers of a case."""

    strikes: tuple[tuple[str, int], ...] = ()
    """Kind of the strike, and the number of the call of that worker."""
    is_resident: bool = True
    """Whether parked runs stay in memory; if not, every await is a replay."""
    companions: int = 0
    """Workers that live all the time."""
    cancels: int = 0
    """If not 0, every root is cancelled, each in the moment that this number chooses."""

    def __str__(self) -> str:
        struck = ", ".join(f"{strike} {at}" for strike, at in self.strikes) or "no strike"
        beside = f", {self.companions} beside" if self.companions else ""
        cancels = f", cancelled {self.cancels}" if self.cancels else ""
        return struck + ("" if self.is_resident else ", replayed") + beside + cancels


def draw(seed: int, calls: int) -> Schedule:
    """One of the schedules for so many calls."""
    chosen = random.Random(f"schedule {seed}")
    first = chosen.choice(STRIKES), chosen.randint(1, calls)
    strikes = [first]
    while chosen.random() < 0.4 and len(strikes) < 3:
        strikes.append((chosen.choice(STRIKES[:2]), chosen.randint(1, max(1, calls // 2))))
    cancels = seed + 1 if chosen.random() < 0.25 else 0
    return Schedule(tuple(strikes), chosen.random() < 0.6, chosen.choice([0, 0, 0, 1]), cancels)


@dataclass(frozen=True)
class Loaded:
    """A program as workflows of this process."""

    program: Program
    expected: Expected
    scope: dict[str, Any]

    @property
    def workflows(self) -> list[Any]:
        return [self.scope[name] for name in self.program.definitions]


def load(program: Program) -> Loaded:
    """Makes workflows of a program's text."""
    scope = names()
    exec(compile(program.source, f"<program {program.seed}>", "exec"), scope)
    return Loaded(program, run_plain(program), scope)


class ProgramStruck(StruckWorker):
    """One that may forget its parked runs."""

    def __init__(self, durable: Durable, plan: Plan, options: dict[str, Any]) -> None:
        super().__init__(durable, plan)
        self.worker = durable.make_worker(durable.worker_settings(**options))


@dataclass
class ProgramCase:
    """Some programs under one schedule, in a namespace of their own."""

    url: str
    raw: redis.Redis
    namespace: str
    book: Book
    loaded: Sequence[Loaded]
    schedule: Schedule
    plans: list[Plan] = field(default_factory=list)
    living: set[str] = field(default_factory=set)
    outcomes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    """The roots whose cancel was promised."""
    again: int = 0
    """Executions of steps beyond those that their own failures explain."""

    @property
    def calls(self) -> int:
        """Of the first worker."""
        return len(self.plans[0].names)

    @property
    def struck(self) -> list[str]:
        """Which calls were struck."""
        return [plan.what for plan in self.plans if plan.struck.is_set()]

    # ------------------------------------------------------------------ going

    async def run(self) -> None:
        """Runs the programs to their end.

        Raises:
            AssertionError: if something is not as it must be; it has the programs' text.
        """
        self.book.write("namespace", namespace=self.namespace)
        workflows = [workflow for one in self.loaded for workflow in one.workflows]
        durable = Durable(self.url, workflows=workflows, namespace=self.namespace, limits=Limits(crash_loop=20))
        try:
            async with durable, stalls(self.book, LEASE_S / 3), AsyncExitStack() as beside:
                for _ in range(self.schedule.companions):
                    worker = await beside.enter_async_context(durable.worker(**self._options()))
                    self.living.add(worker.id)
                doing = asyncio.create_task(self._clients(durable))
                await self._workers(durable, doing)
                await doing
        except (TimeoutError, ExceptionGroup) as error:
            raise AssertionError(f"{self._what()}\n{error!r}\n{self._state()}") from error
        problems = self._problems()
        assert not problems, f"{self._what()}\n" + "\n".join(problems)

    def _options(self) -> dict[str, Any]:
        resident = None if self.schedule.is_resident else 0
        return {"lease": LEASE_S, "drain_timeout": 5.0, "max_resident": resident}

    async def _workers(self, durable: Durable, doing: asyncio.Task[None]) -> None:
        for strike, at in (*self.schedule.strikes, ("", 0)):
            plan = Plan(at, strike)
            self.plans.append(plan)
            struck = ProgramStruck(durable, plan, self._options())
            self.living.add(struck.worker.id)
            await struck.start()
            await struck.until_dead(asyncio.wait({doing}))
            if not plan.is_dead:
                await struck.until_dead(struck.worker.stop())
            if not plan.is_dead:
                return
            self.living.discard(struck.worker.id)
            self.book.write("fault", what=f"{strike} {plan.what}")
            await struck.cut()

    async def _clients(self, durable: Durable) -> None:
        async with asyncio.timeout(PATIENCE_S):
            async with asyncio.TaskGroup() as group:
                for one in self.loaded:
                    group.create_task(self._client(durable, one))
            while self._left():
                await asyncio.sleep(0.02)

    async def _client(self, durable: Durable, one: Loaded) -> None:
        program, id = one.program, f"p{one.program.seed}"
        handle: Handle[Any] = await durable.start(one.scope[program.root], {"ledger": self.book.path}, id=id)
        self.book.write("start", id=id)
        async with asyncio.TaskGroup() as group:
            for path, name in program.events:
                group.create_task(self._send(durable, id, path, name))
            if self.schedule.cancels:
                group.create_task(self._cancel(handle, one))
            try:
                self.outcomes[id] = "completed", await handle.result()
                status = "completed"
            except RunCancelled:
                self.outcomes[id] = (status := "cancelled",)
            except RunFailed as error:
                self.outcomes[id] = "failed", error.error.type
                status = str(await handle.status())
        self.book.write("result", id=id, status=status)

    async def _cancel(self, handle: Handle[Any], one: Loaded) -> None:
        """Once a certain step has begun."""
        sure = sorted(name for name in one.program.sure if name in one.expected.ended)
        if sure:
            awaited = random.Random(f"{self.schedule.cancels} {one.program.seed}").choice(sure)
            while handle.id not in self.outcomes and not self._has_begun(handle.id, awaited):
                await asyncio.sleep(0.02)
        did = await handle.cancel("enough")
        self.book.write("cancel", id=handle.id, did=did)
        if did:
            self.cancelled.add(handle.id)

    def _has_begun(self, id: str, name: str) -> bool:
        # Asked every few milliseconds: the lines are not parsed.
        text = Path(self.book.path).read_text()
        return re.search(rf'"kind": "begin".*"run": "{id}[/"].*"step": "{name}"', text) is not None

    async def _send(self, durable: Durable, root: str, path: str, name: str) -> None:
        # Its parent may not have come so far, and will not if it was cancelled before.
        while root not in self.outcomes:
            try:
                await durable.send_event(root + path, name, name, event_id=name)
            except RunNotFound:
                await asyncio.sleep(0.02)
            except RunNotWaiting:
                return
            else:
                return

    # ------------------------------------------------------------------ looking

    def _left(self) -> list[str]:
        look = parse_look(self.raw.eval(LOOK, 0, Keys(self.namespace).base))  # type: ignore[arg-type]  # a union
        own = {f"key worker:{id} stays for ever" for id in self.living}
        return [line for line in look.left(Keys(self.namespace)) if line not in own]

    def _state(self) -> str:
        return "\n".join(self._left())

    def _what(self) -> str:
        texts = "\n\n".join(one.program.source for one in self.loaded)
        seeds = " ".join(str(one.program.seed) for one in self.loaded)
        return f"{texts}\n\nprograms {seeds} under {self.schedule}; struck: {', '.join(self.struck) or 'nothing'}"

    def _problems(self) -> list[str]:
        snap = take(self.raw, self.namespace)
        found = [line for line in check_invariants(snap, self.book) if not self._may_be(snap, line)]
        for one in self.loaded:
            id = f"p{one.program.seed}"
            expected = ("cancelled",) if id in self.cancelled else one.expected.outcome
            if (outcome := self.outcomes.get(id)) != expected:
                found.append(f"run {id}: {outcome}\nplain asyncio: {expected}")
            found += self._effects(id, one)
        mended = {k: n for k, n in self.raw.hgetall(Keys(self.namespace).meta).items() if k.startswith(b"fixed:")}
        found += [f"the sweeper has mended {mended}"] if mended else []
        found += self._executions(snap)
        specs = {w.spec.name: w.spec for one in self.loaded for w in one.workflows}
        found += replayed(snap, specs, every_line=not self.schedule.strikes)
        return found

    def _may_be(self, snap: Snapshot, line: str) -> bool:
        """Of earlier lives of a run, the journal does not tell how often a step has failed."""
        return line.startswith("I04") and any(has_lives(snap, word) for word in line.split())

    def _effects(self, id: str, one: Loaded) -> list[str]:
        """Sure steps, and compensations: by how many runs each was done."""
        ran = {(line["run"], line["step"]) for line in self.book.lines("end") if line["run"].partition("/")[0] == id}
        ran |= {(id, line["step"]) for line in self.book.lines("undone")}
        done = Counter(name for _, name in ran if name in one.program.sure)
        if done == one.expected.ended:
            return []
        if id in self.cancelled and all(name[0] == "u" for name in done - one.expected.ended):
            return []
        return [f"run {id}: sure steps {done - one.expected.ended} too often, {one.expected.ended - done} never"]

    def _executions(self, snap: Snapshot) -> list[str]:
        """A step runs again only if a strike came between its execution and its record, and never after that."""
        recorded = {nonce for nonces in Check(snap, self.book).steps.values() for nonce in nonces}
        begun, raised, over, found = Counter[tuple[str, str]](), Counter[tuple[str, str]](), set(), []
        for line in self.book.lines("begin", "raise", "end"):
            key = line["run"], line["step"]
            if line["kind"] == "raise":
                raised[key] += 1
            elif line["kind"] == "begin":
                begun[key] += 1
                if key in over:
                    found.append(f"step {key[1]} of {key[0]} was begun after the execution that is recorded")
            elif line["nonce"] in recorded:
                over.add(key)
        faults = len(self.book.lines("fault"))
        for (run, name), times in begun.items():
            extra = max(0, times - raised[run, name] - 1)
            self.again += extra
            if extra > faults and not has_lives(snap, run):
                found.append(f"step {name} of {run} was begun {times} times with {faults} faults")
        return found


def has_lives(snap: Snapshot, id: str) -> bool:
    """Whether a run, or one above it, has lived more than once."""
    parts = id.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(one in snap.runs and snap.runs[one].number("gen") > 1 for one in above)


async def in_turn(todo: list[Callable[[], Awaitable[Any]]], at_once: int) -> None:
    """Works through a list, so many at the same time."""

    async def work() -> None:
        while todo:
            await todo.pop(0)()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
