"""An input that several children of a run have: stored once, and never gone before the last of them that needs it."""

from __future__ import annotations

import pytest

from durable_async.store.shared import shared_line
from durable_async.store.status import Answer

from .test_repair_run import look
from .world import DAY_MS, World

LINE = shared_line("p", b"fp")


async def family(world: World, *, leave: bool = False) -> None:
    """A parent with three children of one input: one has ended, one has failed, one is active."""
    await world.start("p")
    parent = world.claim("A", "p")
    children = [world.child(f"p/{name}", start=LINE, notify=False, leaves=leave) for name in "cde"]
    parent.commit("go", [b"R1"], children=children, shared={b"fp": b"input"})
    world.claim("A", "p/c", nonce="n2").commit("completed")
    world.claim("A", "p/d", nonce="n3").commit("failed", payload=b"x")
    parent.commit("completed")


def first(world: World, id: str) -> bytes:
    return world.journal(id)[0]


def pttl(world: World, key: str) -> int:
    return world.server.pttl(key)  # type: ignore[return-value]


async def test_it_is_stored_once_and_found(world: World) -> None:
    await family(world)
    assert world.server.hgetall(world.keys.shared("p")) == {b"fp": b"input"}
    assert [first(world, id) for id in ("p/c", "p/d", "p/e")] == [LINE] * 3
    whole = await world.store.whole_starts(["p/c", "x", "p/e"], [LINE, b"Sother", LINE])
    assert whole == [b"Sinput", b"Sother", b"Sinput"]


async def test_it_is_not_written_again(world: World) -> None:
    await world.start("p")
    parent = world.claim("A", "p")
    for id in ("p/c", "p/d"):
        parent.commit("go", [b"R"], children=[world.child(id, start=LINE)], shared={b"fp": b"input " + id.encode()})
    assert world.server.hgetall(world.keys.shared("p")) == {b"fp": b"input p/c"}


async def test_another_record_of_the_id_does_not_share_what_is_about_to_expire(world: World) -> None:
    await family(world)
    await world.store.expire_children("ep", "0", "", ["p/c", "p/d", "p/e"], DAY_MS)
    world.server.delete(world.keys.run("p"), world.keys.journal("p"))
    assert pttl(world, world.keys.shared("p")) > 0
    await world.start("p")
    parent = world.claim("A", "p", nonce="n4")
    parent.commit("go", [b"R1"], children=[world.child("p/c", start=LINE)], shared={b"fp": b"input"})
    assert (world.status("p/c"), pttl(world, world.keys.shared("p"))) == ("ready", -1)


async def test_what_is_nowhere_stays_a_pointer(world: World) -> None:
    await family(world)
    world.server.delete(world.keys.shared("p"))
    assert await world.store.whole_starts(["p/c", "gone"], [LINE, None]) == [LINE, None]


async def test_who_looks_late_finds_the_copy(world: World) -> None:
    await family(world)
    world.server.delete(world.keys.shared("p"))
    world.server.lset(world.keys.journal("p/e"), 0, b"Scopy")  # type: ignore[arg-type]
    assert await world.store.whole_starts(["p/e"], [LINE]) == [b"Scopy"]


async def test_it_goes_with_the_tree_and_the_active_child_gets_a_copy(world: World) -> None:
    await family(world)
    await world.store.expire_children("ep", "0", "2", ["p/c", "p/d"], DAY_MS)
    assert pttl(world, world.keys.shared("p")) == -1
    await world.store.expire_children("ep", "2", "", ["p/e"], DAY_MS)
    assert pttl(world, world.keys.shared("p")) > 0 and pttl(world, world.keys.children("p")) > 0
    assert [first(world, id) for id in ("p/c", "p/e")] == [LINE, b"Sinput"]
    before = world.snapshot()
    assert world.repeat() == [Answer.STALE]
    assert world.snapshot() == before


async def test_a_damaged_journal_or_a_lost_input_does_not_hold_up_the_walk(world: World) -> None:
    await family(world)
    world.server.hset(world.keys.shared("p"), "other", "x")
    world.server.hdel(world.keys.shared("p"), b"fp")  # type: ignore[arg-type]
    await world.store.expire_children("ep", "0", "1", ["p/e"], DAY_MS)
    assert first(world, "p/e") == LINE
    world.server.delete(world.keys.journal("p/e"))
    world.server.set(world.keys.journal("p/e"), "damaged")
    await world.store.expire_children("ep", "1", "", ["p/e", "p/c"], DAY_MS)
    assert pttl(world, world.keys.run("p/c")) > 0


async def test_a_child_that_is_taken_up_again_gets_a_copy(world: World) -> None:
    await family(world)
    await world.store.expire_children("ep", "0", "", ["p/c", "p/d", "p/e"], DAY_MS)
    assert await world.store.retry_run("p/d", 0) == "failed"
    assert first(world, "p/d") == b"Sinput"
    assert pttl(world, world.keys.journal("p/d")) == -1


async def test_a_tree_that_is_taken_up_again_keeps_it(world: World) -> None:
    await world.start("p")
    parent = world.claim("A", "p")
    child = world.child("p/c", start=LINE, notify=False)
    parent.commit("go", [b"R1"], children=[child], shared={b"fp": b"input"})
    copy = world.claim("A", "p/c", nonce="n2")
    below = world.child("p/c/x", "p/c", start=shared_line("p/c", b"fp"), notify=False)
    copy.commit("go", [b"R1"], children=[below], shared={b"fp": b"below"})
    copy.commit("completed")
    parent.commit("failed", payload=b"x")
    await world.store.expire_children("ep", "0", "", ["p/c"], DAY_MS)
    world.server.pexpire(world.keys.shared("p/c"), DAY_MS)
    await world.store.retry_run("p", 0)
    await world.store.persist_children("pp", "0", "", ["p/c"])
    assert pttl(world, world.keys.shared("p")) == pttl(world, world.keys.shared("p/c")) == -1
    assert first(world, "p/c") == LINE


async def test_it_is_removed_with_its_run(world: World) -> None:
    await family(world)
    world.claim("A", "p/e", nonce="n4").commit("completed")
    for id in ("p/c", "p/d", "p/e"):
        await world.store.remove_run(id, "p")
    assert world.server.exists(world.keys.shared("p"))
    await world.store.remove_run("p", "")
    assert not world.server.exists(world.keys.shared("p"))


@pytest.mark.parametrize("is_walked", [False, True])
async def test_what_is_left_of_it_is_kept_for_a_day_and_gone(world: World, is_walked: bool) -> None:
    await family(world)
    world.server.delete(*(getattr(world.keys, kind)("p") for kind in ("run", "journal", "children")))
    if not is_walked:
        world.server.delete(world.keys.walks)
    assert await look(world, "p", fix=True) == (set() if is_walked else {"p orphan"})
    assert (pttl(world, world.keys.shared("p")) == -1) is is_walked


async def test_what_would_be_kept_for_ever_is_found(world: World) -> None:
    await family(world)
    world.claim("A", "p/e", nonce="n4").commit("completed")
    await world.store.expire_children("ep", "0", "", ["p/c", "p/d", "p/e"], DAY_MS)
    assert await look(world, "p") == set()
    world.server.persist(world.keys.shared("p"))
    assert await look(world, "p", fix=True) == {"p ttl_gone"}
    assert world.walks() == {"ep": "0"}
