"""retry_run: a failed run is taken up again."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .life_cases import failed
from .world import STATES, T0, World


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("failed", "absent")])
async def test_only_what_has_failed(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    assert await world.store.retry_run("r", 0) == world.status("r")
    assert world.snapshot() == before


async def test_an_unknown_run(world: World) -> None:
    with pytest.raises(RunNotFound):
        await world.store.retry_run("r", 0)
    key = world.keys.run("r")
    k = world.keys
    keys = (key, k.journal("r"), k.children("r"), k.timers, k.walks, k.queue("q"), k.shared("r"), k.shared("r"))
    assert world.eval("retry_run", keys, (T0, "r", "t", 0, "q")) == [Answer.GONE]


async def test_it_is_ready_and_kept_again(world: World) -> None:
    await failed(world)
    assert world.walks() == {"ep": "0"} and world.server.pttl(world.keys.run("p")) > 0
    assert await world.store.retry_run("p", 500) == "failed"
    assert (world.status("p"), world.field("p", "gen"), world.field("p", "finished")) == ("ready", "2", "")
    assert world.server.pttl(world.keys.run("p")) == world.server.pttl(world.keys.journal("p")) == -1
    assert world.walks() == {"pp": "0"}
    assert world.timers() == {"rp": T0 + 500}
    assert world.journal("p")[-1] == b"V%d" % T0
    before = world.snapshot()
    assert world.repeat() == [Answer.OK, T0]
    assert world.snapshot() == before
    copy = world.claim("B", "p", nonce="n2")
    assert copy.commit("completed", payload=b"out")[0] == Answer.ENDED


async def test_its_parent_is_not_told_again(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    child.commit("failed", payload=b"x")
    parent.commit("go")
    parent.commit("go", take=1)
    assert await world.store.retry_run("p/c", 0) == "failed"
    world.claim("A", "p/c", nonce="n2").commit("completed", payload=b"out")
    assert world.inbox("p") == []


async def test_another_queue(world: World) -> None:
    await failed(world)
    k = world.keys
    keys = (
        k.run("p"),
        k.journal("p"),
        k.children("p"),
        k.timers,
        k.walks,
        k.queue("other"),
        k.shared("p"),
        k.shared("p"),
    )
    assert world.eval("retry_run", keys, (T0, "p", "t", 0, "other")) == [Answer.RETRY]


async def test_a_copy_of_what_has_failed_does_not_count(world: World) -> None:
    """It was ended by somebody else: its owner has it in memory still, under a fence that nobody has made anew."""
    copy = await world.bring("ready")
    assert copy
    assert (await world.store.settle_run("r", "terminate", "failed", b"out"))[0]
    assert await world.store.retry_run("r", 0) == "failed"
    before = world.snapshot()
    assert copy.resume() == [Answer.RELOAD]
    assert copy.commit("go", [b"Rlate"])[0] == Answer.FENCED
    assert world.snapshot() == before
    assert world.claim("A", "r", nonce="n2").epoch == 2
