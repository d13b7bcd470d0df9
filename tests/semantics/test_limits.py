"""Limits of queues: runs at once, starts per time, runs at once of a key; over all workers, whoever dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from durable_async import Durable, Handle, Queue, RunCancelled, Status, Workflow

from . import flows_limits as flows
from .harness import IS_CROWD, World

FLOWS = [flows]
ALL = ("default", "few", "one", "keyed", "paced")


def given(world: World, line: str, **more: Any) -> dict[str, Any]:
    return {"ledger": world.ledger.path, "line": line, **more}


async def start_all(world: World, workflow: Workflow[Any, Any], lines: Iterable[str], **more: Any) -> list[Handle[Any]]:
    return [await world.durable.start(workflow, given(world, line), id=line, **more) for line in lines]


async def results(world: World, handles: list[Handle[Any]]) -> list[Any]:
    return [await world.result(handle) for handle in handles]


def most_at_once(lines: list[str], of: Callable[[str], str] = lambda name: "") -> int:
    """How many runs were in their steps together, of those for which `of` gives the same."""
    active: dict[str, set[str]] = {}
    most = 0
    for line in lines:
        name = line[2:].split(" ")[0]
        group = active.setdefault(of(name), set())
        if line[:2] == "> ":
            group.add(name)
        elif line[:2] == "< ":
            group.discard(name)
        most = max(most, len(group))
    return most


def nothing_is_left(world: World) -> None:
    kinds = {name.partition(":")[0] for name in world.look().keys}
    assert not kinds & {"room", "behind", "slots", "tally"}, world.look().keys


async def test_concurrency_is_never_exceeded_by_many_workers(world: World) -> None:
    lines = [f"r{n}" for n in range(60)]
    async with world.workers(ALL):
        for _ in range(2):
            world.process(ALL)
        handles = await start_all(world, flows.works_few, lines)
        assert await results(world, handles) == [f"{line} b" for line in lines]
    nothing_is_left(world)
    if not IS_CROWD:  # who is killed in a step never says that it ends
        assert most_at_once(world.ledger.lines()) <= 3


async def test_places_are_used(world: World) -> None:
    """A limit of three is three at once, once there is enough to do."""
    async with world.worker(ALL, concurrency=50):
        await results(world, await start_all(world, flows.works_few, [f"r{n}" for n in range(30)]))
    assert most_at_once(world.ledger.lines()) == 3


async def test_one_after_the_other_in_order(world: World) -> None:
    lines = [f"r{n}" for n in range(10)]
    handles = await start_all(world, flows.works_one, lines)
    async with world.workers(ALL):
        await results(world, handles)
    if not IS_CROWD:
        assert world.ledger.lines() == [f"{way} {line} {part}" for line in lines for part in "ab" for way in "><"]


async def test_higher_priorities_come_first(world: World) -> None:
    async with world.worker(ALL, concurrency=20):
        held = await world.durable.start(flows.holds, given(world, "held"))
        await world.until(lambda: "> held" in world.ledger.lines(), "the only place is taken")
        handles = await start_all(world, flows.works_one, ["a", "b"])
        handles += await start_all(world, flows.works_one, ["c", "d"], priority=3)
        handles += await start_all(world, flows.works_one, ["e"], priority=-3)
        await world.until(lambda: not any(sum(n) for name, n in world.look().streams.items() if "one:" in name), "read")
        await world.until(lambda: world.raw.zcard(world.keys.room("one")[2]) == 5, "all wait")
        assert (await handles[0].info()).waiting_for is None
        world.ledger.note("release")
        await results(world, [held, *handles])
    begun = [line[2] for line in world.ledger.lines() if line[0] == ">" and line.endswith(" a")]
    assert begun == ["c", "d", "a", "b", "e"]


async def test_a_limit_is_the_queues_whoever_starts_its_runs(world: World) -> None:
    """By a workflow that says nothing of it, and by a client that knows no code."""
    async with world.workers(ALL):
        handles = await start_all(world, flows.free, [f"r{n}" for n in range(10)], queue="one")
        assert len(await results(world, handles)) == 10
    if not IS_CROWD:
        assert most_at_once(world.ledger.lines()) == 1


async def test_o17_parents_and_children_in_a_queue_of_one_place(world: World) -> None:
    async with world.workers(ALL):
        deep = [await world.durable.start(flows.descends, 6, id=f"deep{n}") for n in range(4)]
        wide = await start_all(world, flows.fans_out, ["w", "x"])
        assert await results(world, deep) == [6] * 4
        assert [len(kids) for kids in await results(world, wide)] == [5, 5]
    nothing_is_left(world)
    if not IS_CROWD:
        assert most_at_once(world.ledger.lines()) == 1


async def test_of_a_key_one_after_the_other_and_of_others_meanwhile(world: World) -> None:
    async with world.workers(ALL, concurrency=20):
        handles = []
        for n in range(30):
            line = f"{'abc'[n % 3]}{n}"
            handles.append(await world.durable.start(flows.works_keyed, given(world, line, key=line[0]), id=line))
        await results(world, handles)
    nothing_is_left(world)
    if IS_CROWD:
        return
    lines = world.ledger.lines()
    assert most_at_once(lines, lambda name: name[0]) == 1
    for key in "abc":
        begun = [int(line[3:-2]) for line in lines if line.startswith(f"> {key}") and line.endswith(" a")]
        assert begun == sorted(begun)


async def test_a_key_with_a_long_queue_does_not_starve_the_others(world: World) -> None:
    async with world.worker(ALL, concurrency=20):
        crowd = [
            await world.durable.start(flows.works_keyed, given(world, f"a{n}", key="a"), id=f"a{n}") for n in range(40)
        ]
        late = await world.durable.start(flows.works_keyed, given(world, "late", key="b"), id="late")
        await world.result(late)
        assert sum([(await handle.info()).status is Status.COMPLETED for handle in crowd]) < 40
        await results(world, crowd)


async def test_runs_of_nobody_and_children_with_keys(world: World) -> None:
    async with world.workers(ALL):
        nobody = [
            await world.durable.start(flows.works_keyed, given(world, f"n{n}", key=None), id=f"n{n}") for n in range(8)
        ]
        parent = await world.durable.start(flows.fans_out_keyed, given(world, "p", key="k0"), id="p")
        await results(world, [*nobody, parent])
        for n in range(6):
            await world.result(world.durable.run(f"p/c{n}"))
    nothing_is_left(world)
    if not IS_CROWD:
        lines = [line for line in world.ledger.lines() if line[2] == "c"]
        assert most_at_once(lines, lambda name: str(int(name[1:]) % 2)) == 1


async def test_never_more_starts_than_the_rate_in_any_period(world: World) -> None:
    async with world.workers(ALL):
        handles = await start_all(world, flows.works_paced, [f"r{n}" for n in range(17)])
        await results(world, handles)
        started = sorted([(await handle.info()).started_at for handle in handles])  # type: ignore[type-var]
    windows = [later - first for first, later in zip(started, started[5:], strict=False)]  # type: ignore[operator]
    # A run is claimed a little after it was let in: the first of a window later than the last of it by chance.
    assert min(windows) > flows.PERIOD * 0.8
    assert max(world.look().keys.get("starts:paced", -2), -2) != -1, "it has a time to live"


async def test_waits_give_the_place_back(world: World) -> None:
    """Events, sleeps and cancels: whoever goes on takes a place again, before those that never started."""
    async with world.worker(ALL, concurrency=20):
        first = await start_all(world, flows.waits, ["w0", "w1", "w2"])
        nap = await start_all(world, flows.naps, ["nap"])
        for handle in first:
            await world.until_status(handle.id, Status.WAITING)
        await results(world, nap)
        held = await world.durable.start(flows.holds, given(world, "held"))
        await world.until(lambda: "> held" in world.ledger.lines(), "the place is taken")
        fresh = await start_all(world, flows.works_one, ["fresh"], priority=10)
        for handle in first:
            await world.durable.send_event(handle.id, "go", "on")
        await world.until(lambda: world.raw.zcard(world.keys.room("one")[2]) == 4, "all of them wait for it")
        assert {(await handle.info()).waiting_for for handle in first} == {"a place in queue one"}
        world.ledger.note("release")
        await results(world, [held, *first, *fresh])
    begun = [line[2:] for line in world.ledger.lines() if line[:2] == "> "]
    assert begun == ["nap", "held", "w0 on", "w1 on", "w2 on", "fresh a", "fresh b"]
    nothing_is_left(world)


async def test_whoever_waits_for_a_place_can_be_cancelled_and_terminated(world: World) -> None:
    async with world.worker(ALL, concurrency=20):
        tidy = await start_all(world, flows.tidies, ["tidy"])
        await world.until_status("tidy", Status.WAITING)
        held = await world.durable.start(flows.holds, given(world, "held"), id="held")
        await world.until(lambda: "> held" in world.ledger.lines(), "the place is taken")
        fresh = await start_all(world, flows.works_one, ["a", "b", "c"])
        await world.until(lambda: world.raw.zcard(world.keys.room("one")[2]) == 3, "they wait")
        assert await world.durable.cancel("a") and await world.durable.terminate("b")
        for handle in fresh[:2]:
            assert (await world.outcome(handle)).status is Status.CANCELLED
        assert await world.durable.cancel("tidy", "enough")
        assert (await world.durable.get("tidy")).status is Status.WAITING
        assert await world.durable.terminate("held", "now")
        with pytest.raises(RunCancelled):
            await world.result(tidy[0])
        await world.result(fresh[2])
        assert (await held.info()).status is Status.CANCELLED
    nothing_is_left(world)


async def test_a_key_whose_run_is_terminated_goes_on(world: World) -> None:
    async with world.worker(["keyed"], concurrency=20):
        await world.durable.pause_queue("keyed")
        await world.durable.resume_queue("keyed")
        crowd = [
            await world.durable.start(flows.works_keyed, given(world, f"a{n}", key="a"), id=f"a{n}") for n in range(20)
        ]
        for handle in crowd[::3]:
            await world.durable.terminate(handle.id)
        for handle in crowd:
            assert (await world.outcome(handle)).status.is_terminal
    nothing_is_left(world)


async def test_v06_a_limited_queue_is_paused(world: World) -> None:
    async with world.workers(ALL):
        handles = await start_all(world, flows.works_few, [f"r{n}" for n in range(20)])
        await world.until(lambda: "< r0 b" in world.ledger.lines(), "they go")
        await world.durable.pause_queue("few")
        await world.until(lambda: not any(r[0] == "running" for r in world.look().runs.values()), "none is running")
        begun = {id for id, run in world.look().runs.items() if run[8]}
        await results(world, await start_all(world, flows.free, [f"f{n}" for n in range(10)]))
        assert {id for id, run in world.look().runs.items() if run[8] and id[0] == "r"} == begun
        (queue,) = [q for q in await world.durable.queues() if q.name == "few"]
        assert (queue.ready, queue.paused) == (
            20 - sum(w[0] == "completed" for i, w in world.look().runs.items() if i[0] == "r"),
            True,
        )
        await world.durable.resume_queue("few")
        await results(world, handles)
    nothing_is_left(world)


async def test_limits_change_and_go_with_the_code(world: World) -> None:
    async def serve(limits: Queue, *handles: Handle[Any]) -> None:
        old, flows.works_one.limits = flows.works_one.limits, limits
        flows.works_one.__dict__.pop("spec", None)
        try:
            durable = Durable(world.url, workflows=[flows.works_one], namespace=world.namespace)
            async with durable, durable.worker(["one"], lease=0.5):
                await results(world, list(handles))
        finally:
            flows.works_one.limits = old
            flows.works_one.__dict__.pop("spec", None)

    many = await start_all(world, flows.works_one, [f"r{n}" for n in range(20)])
    await serve(Queue("one", concurrency=1), *many[:3])
    assert most_at_once(world.ledger.lines()) == 1
    await serve(Queue("one", concurrency=4), *many[:12])
    assert most_at_once(world.ledger.lines()) == 4
    await serve(Queue("one"), *many)
    nothing_is_left(world)
    assert await world.durable.queues() == []
    assert world.raw.hgetall(world.keys.gates) == {}
