"""V3, V12, V13: workers that leave, die, are slow, or whose replies are lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from durable_async import Handle, Status
from durable_async.store.errors import ConnectionLost
from durable_async.store.scripts import SCRIPTS
from durable_async.worker.worker import Worker

from . import flows_v as flows
from .harness import Process, World

FLOWS = [flows]
NEVER_S = 60.0
"""A lease that no test waits for."""


def given(world: World, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, **more}


async def until_noted(world: World, line: str) -> None:
    await world.until(lambda: line in world.ledger.lines(), f"{line!r} is noted")


async def until_dead(world: World, process: Process) -> None:
    await world.until(lambda: not process.is_alive, "the worker has left")


# ---------------------------------------------------------------------- V3


async def test_v03_running_step_gets_the_grace_while_others_take_the_rest(world: World) -> None:
    first = world.process(concurrency=1, lease=NEVER_S, drain_timeout=NEVER_S)
    held = await world.durable.start(flows.holds, given(world, line="held"))
    await until_noted(world, "held")
    rest = [await world.durable.start(flows.echo, n) for n in range(5)]
    first.terminate()
    async with world.worker(lease=NEVER_S):
        assert [await world.result(handle) for handle in rest] == [0, 1, 2, 3, 4]
        assert first.is_alive, "it waits for its step"
        world.ledger.note("release")
        assert await world.result(held) == "held"
        await until_dead(world, first)
    assert world.ledger.counts()["held"] == 1


async def test_v03_step_that_outlasts_the_grace_is_taken_over_without_a_lease(world: World) -> None:
    first = world.process(lease=NEVER_S, drain_timeout=0.1)
    handle = await world.durable.start(flows.stuck_once, given(world, line="stuck"))
    await until_noted(world, "stuck")
    world.ledger.note("stuck may end")
    first.terminate()
    await until_dead(world, first)
    async with world.worker(lease=NEVER_S):
        assert await world.result(handle) == "stuck"
    assert world.ledger.counts()["stuck"] == 2


async def test_v03_rolling_restart_under_load_uses_up_no_attempt(world: World) -> None:
    """With the limit at one, the first crash, or what is taken for one, would be the end of a run."""
    world.limits = {"crash_loop": 1}
    handles: list[Handle[Any]] = []
    numbers = itertools.count()
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            n = next(numbers)
            handles.append(await world.durable.start(flows.busy, given(world, n=n), id=f"b{n}"))
            if n >= 20:
                # Neither idle nor ever further behind.
                await world.result(handles[n - 20])

    pool = [world.process(lease=NEVER_S) for _ in range(4)]
    loading = asyncio.create_task(load())
    try:
        for at, old in enumerate(list(pool)):
            done = len(handles)
            await world.until(lambda done=done: len(handles) > done + 10 or loading.done(), "there is load")
            pool[at] = world.process(lease=NEVER_S)
            old.terminate()
            await until_dead(world, old)
    finally:
        is_over.set()
    await loading
    for n, handle in enumerate(handles):
        assert await world.result(handle) == [f"{n} first", f"{n} second", f"{n} child"]
    counts = world.ledger.counts()
    assert set(counts.values()) == {1}, "no step was cut, so none ran twice"
    assert len(counts) == 3 * len(handles)
    for process in pool:
        process.terminate()
    for process in pool:
        await until_dead(world, process)


async def test_v03_worker_with_a_long_lease_is_not_dead_for_one_with_a_short_one(world: World) -> None:
    """As in a deploy that shortens the lease."""
    async with world.worker(concurrency=1, lease=15.0) as slow:
        held = await world.durable.start(flows.holds, given(world, line="held"))
        await until_noted(world, "held")
        # The quick ones notice a death among them, so they have looked at the slow one for as long.
        victim, _ = world.process(concurrency=1, lease=0.3), await until_stuck(world)
        world.ledger.note("stuck may end")
        heir = world.process(concurrency=1, lease=0.3)
        victim.kill()
        assert await world.result(world.durable.run("stuck")) == "stuck"
        assert world.raw.exists(world.keys.worker(slow.id))
        world.ledger.note("release")
        assert await world.result(held) == "held"
        heir.terminate()
        await until_dead(world, heir)
    assert world.ledger.counts()["held"] == 1


async def until_stuck(world: World) -> None:
    await world.durable.start(flows.stuck_once, given(world, line="stuck"), id="stuck")
    await until_noted(world, "stuck")


# ---------------------------------------------------------------------- V12


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_v12_parents_parked_in_a_worker_that_is_gone_are_taken_by_others(world: World, how: str) -> None:
    first = world.process(lease=0.5)
    parents = [await world.durable.start(flows.calls_waits, "go", id=f"p{n}") for n in range(20)]
    for parent in parents:
        await world.until_status(parent.id, Status.WAITING)
    getattr(first, how)()
    await until_dead(world, first)
    async with world.workers(["kids"]):
        for parent in parents:
            kid = f"{parent.id}/kid"
            await world.until_status(kid, Status.WAITING)
            await world.durable.send_event(kid, "go", kid)
            await world.until_status(kid, Status.COMPLETED)
    async with world.workers(lease=0.5):
        assert [await world.result(parent) for parent in parents] == [f"p{n}/kid" for n in range(20)]


# ---------------------------------------------------------------------- V13

LOSABLE = {SCRIPTS[name].sha for name in ("claim_runs", "resume_runs", "commit_run")}


class Losing:
    """Every transition of a worker's runs is answered by a broken connection the first time.

    Args:
        worker: a started one.
        how: ``reply``: it ran. ``request``: it did not. ``late``: it runs after its own repetition.
    """

    def __init__(self, worker: Worker, how: str) -> None:
        self._submit: Callable[[Any, Any], None] = worker.caller._submit
        self._how = how
        self._met: set[Any] = set()
        self.lost = 0
        worker.caller._submit = self.submit

    def submit(self, args: Any, on_reply: Any) -> None:
        if args[0] != "EVALSHA" or args[1] not in LOSABLE:
            self._submit(args, on_reply)
        elif args not in self._met:
            self._met.add(args)
            self.lost += 1
            broken = ConnectionLost(sent=self._how != "request")
            if self._how == "reply":
                self._submit(args, lambda reply: on_reply(broken))
            else:
                asyncio.get_running_loop().call_soon(on_reply, broken)
        elif self._how == "late":

            def answered(reply: Any) -> None:
                self._submit(args, lambda late: None)
                on_reply(reply)

            self._submit(args, answered)
        else:
            self._submit(args, on_reply)


@pytest.mark.parametrize("how", ["reply", "request", "late"])
async def test_v13_lost_replies_of_claim_resume_and_commit_change_nothing(world: World, how: str) -> None:
    world.limits = {"crash_loop": 1}
    async with world.worker() as worker:
        losing = Losing(worker, how)
        handles = [await world.durable.start(flows.busy, given(world, n=n), id=f"b{n}") for n in range(10)]
        for n, handle in enumerate(handles):
            assert await world.result(handle) == [f"{n} first", f"{n} second", f"{n} child"]
        await world.settled()
    assert losing.lost > 60
    counts = world.ledger.counts()
    assert len(counts) == 30 and set(counts.values()) == {1}
    for id in world.look().runs:
        kinds = [event.kind for event in await world.durable.history(id)]
        assert kinds.count("completed") == 1 and kinds[-1] == "completed", (id, kinds)
        assert kinds.count("step") == (1 if id.endswith("/kid") else 2)
        assert kinds.count("child_completed") == (0 if id.endswith("/kid") else 1)


@pytest.mark.parametrize("how", ["reply", "late"])
async def test_v13_lost_reply_to_an_end_ends_once(world: World, how: str) -> None:
    """The parent is told once, and the failure is the run's own."""
    async with world.worker(["default", "side"]) as worker:
        losing = Losing(worker, how)
        handle = await world.durable.start(flows.fails, "boom", id="r")
        info = await world.outcome(handle)
        await world.settled()
    assert losing.lost >= 2
    assert info.status is Status.FAILED and info.error is not None and info.error.message == "boom"
    assert [event.kind for event in await world.durable.history("r")] == ["started", "failed"]
