"""C3: cancels at random instants, against everything that a tree may be doing."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

from durable_async import Handle, RunCancelled, RunInfo, RunNotFound, RunNotWaiting, Status

from . import flows_c as flows
from .harness import World
from .leaks import TERMINAL

FLOWS = [flows]
TREES = int(os.environ.get("DURABLE_TEST_TREES", "100"))
AT_ONCE = 20


async def at_random(world: World, most_s: float) -> None:
    """Not a wait for something: the instant itself is what is random."""
    await asyncio.sleep(world.random.uniform(0, most_s))


async def disturb(world: World, id: str) -> None:
    """Events for the tree's runs and cancels of its inner nodes."""
    for _ in range(4):
        await at_random(world, 0.03)
        inner = id + world.random.choice(["", "/leaf", "/racer", "/racer-2", "/racer/leaf", "/racer-2/leaf"])
        with suppress(RunNotFound, RunNotWaiting):
            if world.random.random() < 0.7:
                await world.durable.send_event(inner, "go")
            elif inner != id:
                await world.durable.cancel(inner, "inner")


async def race(world: World, id: str) -> tuple[Handle[Any], bool]:
    """One tree, and whether a cancel of its root was accepted."""
    handle = await world.durable.start(flows.racer, {"level": 2, "ledger": world.ledger.path}, id=id)
    disturbing = asyncio.create_task(disturb(world, id))
    await at_random(world, 0.15)
    did = await handle.cancel("race")
    await disturbing
    return handle, did


async def test_c03_cancel_against_everything(world: World) -> None:
    outcomes: dict[str, tuple[bool, RunInfo, bool]] = {}

    async def one(id: str) -> None:
        handle, did = await race(world, id)
        try:
            await world.result(handle)
            was_cancelled = False
        except RunCancelled:
            was_cancelled = True
        except Exception:  # a child of it was cancelled, and it did not care
            was_cancelled = False
        outcomes[id] = (did, await handle.info(), was_cancelled)

    async with world.workers():
        for at in range(0, TREES, AT_ONCE):
            await asyncio.gather(*(one(f"t{n}") for n in range(at, min(at + AT_ONCE, TREES))))
        await world.settled("default")

        def all_ended() -> bool:
            return not world.look().active()

        await world.until(all_ended, "nothing is active under a root that has ended")
    look = world.look()
    for id, (did, info, was_cancelled) in outcomes.items():
        # True means cancelled; and what was pushed to the client is what is stored, then and now.
        assert (info.status is Status.CANCELLED) == did == was_cancelled, (id, did, info)
        assert look.runs[id][0] == info.status
    for id in look.runs:
        ends = [e.kind for e in await world.durable.history(id) if e.kind in TERMINAL]
        assert ends == [look.runs[id][0]], id
    assert {did for did, _, _ in outcomes.values()} == {True, False} or TREES < AT_ONCE


async def test_c03_cancel_against_finish(world: World) -> None:
    """Runs that are about to end when the cancel comes."""

    async def one(n: int) -> None:
        handle = await world.durable.start(flows.plain, n, id=f"r{n}")
        await at_random(world, 0.01)
        did = await handle.cancel("race")
        info = await world.outcome(handle)
        assert info.status is (Status.CANCELLED if did else Status.COMPLETED)

    async with world.workers():
        for at in range(0, 10 * TREES, 50):
            await asyncio.gather(*(one(n) for n in range(at, at + 50)))
