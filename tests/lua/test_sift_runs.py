"""sift_runs: which runs need a closer look."""

from __future__ import annotations

import pytest

from durable_async.store.structure import Links

from .world import STATES, TERMINAL, World


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    copy = await world.bring(state)
    before = world.snapshot()
    (found,) = await world.store.sift_runs(["r"])
    internal = "ready" if state == "pending" else state
    if state == "absent" or state in TERMINAL:
        assert found is None
    else:
        assert found == Links("r", internal, "A" if copy else "", "q", "", "")
    (found,) = await world.store.sift_runs(["r"], looks_at_all=True)
    assert found is not None and found.status == ("" if state == "absent" else internal)
    assert world.snapshot() == before


async def test_what_is_no_record(world: World) -> None:
    world.server.set(world.keys.run("r"), "planted")
    assert await world.store.sift_runs(["r"]) == [Links("r", "unreadable", "", "", "", "")]


async def test_a_child_and_what_it_waits_for(world: World) -> None:
    await world.start("p")
    _, child = world.family()
    child.commit("park", sets=["waiting", "event go"])
    assert await world.store.sift_runs(["p/c"]) == [Links("p/c", "parked", "A", "q", "p", "event go")]


async def test_of_ended_runs_only_the_strange_ones_get_a_closer_look(world: World) -> None:
    for state in ("parked", "completed"):
        await world.bring(state, state)
    for id in ("entry", "kept"):
        await world.bring("completed", id)
    world.server.hset(world.keys.run("entry"), "entry", "Q1-1")
    world.server.persist(world.keys.run("kept"))
    found = await world.store.sift_runs(["parked", "completed", "entry", "kept", "gone"])
    assert [each.id if each else None for each in found] == ["parked", None, "entry", "kept", None]
    doubtful = await world.store.doubtful(["parked", "completed", "gone"], ["parked"])
    assert [each.id for each in doubtful] == ["completed", "gone", "parked"]
