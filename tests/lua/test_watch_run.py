"""watch_run, unwatch_run: what a run has recorded since a place, what it is now, and who is told of more."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.store.status import Answer
from durable_async.store.watching import PAGE

from .world import STATES, T0, TERMINAL, World


async def watch(world: World, gen: str = "1", position: int = 0, client: str = "c1") -> list[Any]:
    return await world.store.watch_run("r", client, gen, position)


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    reply = await watch(world)
    if state == "absent":
        assert reply == [Answer.GONE]
        assert world.snapshot() == before
        return
    answer, now, fields, lines, has_more, first = reply
    assert (answer, now, has_more, first) == (Answer.OK, T0, 0, 0)
    assert fields[0].decode() == world.status()
    assert fields[3] == b"%d" % T0
    assert lines == world.journal()
    assert world.field("r", "client") == ("" if state in TERMINAL else "~c1")
    after = world.snapshot()
    assert world.repeat() == reply
    assert world.snapshot() == after


async def test_only_what_is_new(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R%d" % n for n in range(5)])
    assert (await watch(world, position=4))[3:] == [[b"R3", b"R4"], 0, 4]
    assert (await watch(world, position=6))[3:] == [[], 0, 6]


async def test_a_long_journal_comes_in_pages(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R%d" % n for n in range(2 * PAGE + 5)])
    found: list[bytes] = []
    has_more = True
    while has_more:
        _, _, _, lines, has_more, first = await watch(world, position=len(found))
        assert first == len(found) and len(lines) <= PAGE
        found += lines
    assert found == world.journal()


async def test_pages_are_bounded_in_bytes(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R" + b"x" * 400_000 for _ in range(4)])
    _, _, _, lines, has_more, _ = await watch(world, position=1)
    assert (len(lines), has_more) == (1, 1)


async def test_another_life_is_told_from_its_beginning(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1", b"R2"], sets=["gen", "2"])
    assert (await watch(world, "1", 3))[3:] == [world.journal(), 0, 0]
    assert (await watch(world, "2", 2))[3:] == [[b"R2"], 0, 2]


async def test_a_journal_that_has_lost_its_end_goes_on_from_there(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"])
    assert (await watch(world, position=9))[3:] == [[], 0, 2]


async def test_a_commit_answers_with_who_watches(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await world.store.subscribe_client("r", "c0")
    await watch(world)
    await watch(world, client="c2")
    assert copy.commit("go", [b"R1"])[3] == b"c0 ~c1 ~c2"
    world.store.unwatch_run("r", "c1")
    assert copy.commit("go", [b"R2"])[3] == b"c0 ~c2"
    after = world.snapshot()
    world.store.unwatch_run("r", "c1")
    world.store.unwatch_run("r", "c0")
    assert world.snapshot() == after
    world.store.unwatch_run("r", "c2")
    assert copy.commit("park", [b"R3"])[3] == b"c0"


async def test_who_watches_and_waits_is_told_of_the_end_both_ways(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await watch(world)
    await world.store.subscribe_client("r", "c1")
    world.store.push_results("~c1", ("r", b"x"))
    assert copy.commit("completed", payload=b"out")[3] == b"~c1 c1"
    world.store.unwatch_run("r", "c1")
    assert world.field("r", "client") == "c1"


async def test_the_list_of_watchers_is_bounded(world: World) -> None:
    """Those that died are never taken off."""
    await world.bring("running")
    for n in range(120):
        await watch(world, client=f"c{n}")
    assert world.field("r", "client").split() == [f"~c{n}" for n in range(100)]


async def test_a_run_that_is_gone_has_nobody_to_take_off(world: World) -> None:
    before = world.snapshot()
    world.store.unwatch_run("r", "c1")
    assert world.eval("unwatch_run", [world.keys.run("r")], ["~c1"]) == [Answer.GONE]
    assert world.snapshot() == before
