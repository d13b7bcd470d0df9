"""An input that runs of several levels have: stored once, with the highest of them that was active at that time."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from durable_async.store.commands import Commit
from durable_async.store.keys import above
from durable_async.store.shared import holders_of, shared_line
from durable_async.store.status import Answer

from .world import DAY_MS, Copy, World

FP = b"fp"
INPUT = b"input"


def share(copy: Copy, *ids: str, value: bytes = INPUT, **more: Any) -> Any:
    """A run starts children that have one input."""
    line, world = shared_line(copy.id, FP), copy.world
    children = [world.child(id, copy.id, start=line, notify=False) for id in ids]
    return copy.commit("go", [b"R1"], children=children, shared={FP: value}, **more)


def held(world: World, id: str) -> bytes | None:
    return world.server.hget(world.keys.shared(id), FP)  # type: ignore[arg-type,return-value]


def pttl(world: World, id: str, kind: str = "shared") -> int:
    return world.server.pttl(getattr(world.keys, kind)(id))  # type: ignore[return-value]


async def expire(world: World, id: str, *ids: str, cursor: int = 0, ttl_ms: int = DAY_MS) -> bool:
    """The last chunk of a walk."""
    return await world.store.expire_children("e" + id, str(cursor), "", ids, ttl_ms)


async def tree(world: World) -> tuple[Copy, Copy, Copy]:
    """Three levels that are active, each of which shares one input with the one below, and `p/c/d/e` below them."""
    await world.start("p")
    root = world.claim("A", "p")
    share(root, "p/c")
    child = world.claim("A", "p/c", nonce="n2")
    share(child, "p/c/d")
    grandchild = world.claim("A", "p/c/d", nonce="n3")
    share(grandchild, "p/c/d/e")
    return root, child, grandchild


async def whole(world: World, id: str) -> bytes | None:
    return (await world.store.whole_starts([id], [world.journal(id)[0]]))[0]


def test_the_runs_above_are_told_by_an_id() -> None:
    assert above("p") == [] and above("p/c/d") == ["p/c", "p"]
    assert above("p/~0123") == [] and above("p/~0123/c") == ["p/~0123"]
    assert holders_of("p/c") == ["p/c", "p"]


async def test_it_is_stored_once_with_the_root(world: World) -> None:
    await tree(world)
    assert [held(world, id) for id in ("p", "p/c", "p/c/d")] == [INPUT, b"", b""]
    assert [await whole(world, id) for id in ("p/c", "p/c/d", "p/c/d/e")] == [b"S" + INPUT] * 3


async def test_a_run_of_which_the_id_does_not_tell_what_is_above_holds_it_itself(world: World) -> None:
    await world.start("p")
    share(world.claim("A", "p"), "p/~0")
    share(world.claim("A", "p/~0", nonce="n2"), "p/~0/x")
    assert (held(world, "p"), held(world, "p/~0")) == (INPUT, INPUT)


@pytest.mark.parametrize("damage", ["ended", "gone", "unlisted", "no record", "no list", "no hash", "new life"])
async def test_it_goes_no_further_up_than_it_is_safe(world: World, damage: str) -> None:
    """The parent does not go for its children, or not with them: then it cannot hold what theirs need."""
    await world.start("p")
    root = world.claim("A", "p")
    root.commit("go", [b"R1"], children=[world.child("p/c", notify=False)])
    child, k = world.claim("A", "p/c", nonce="n2"), world.keys
    if damage == "ended":
        root.commit("completed")
    elif damage == "unlisted":
        world.server.zrem(k.children("p"), "p/c")
    elif damage == "new life":
        # Started again after it had expired: what is listed are the children of its first life.
        world.server.delete(k.run("p"), k.journal("p"))
        await world.start("p")
    else:
        key = {"gone": k.run, "no record": k.run, "no list": k.children, "no hash": k.shared}[damage]("p")
        world.server.delete(key)
        if damage != "gone":
            world.server.set(key, "damaged")
    assert share(child, "p/c/d")[0] == Answer.OK
    assert held(world, "p/c") == INPUT
    if damage != "no hash":
        assert not world.server.exists(k.shared("p"))


def start_of_one(copy: Copy, stored: frozenset[bytes]) -> Any:
    """The next commit of a run, of one child, without what is stored."""
    made = copy.world.child(f"{copy.id}/d", copy.id, start=shared_line(copy.id, FP), notify=False)
    commit = Commit(
        copy.id, copy.epoch, copy.nonce, copy.seq + 1, copy.entry, "go", [("R", b"R1")], children=[made],
        shared={FP: INPUT}, stored=stored, parent=copy.parent,
    )  # fmt: skip
    return copy.world.run(copy.world.store.commit_run, commit)


async def test_what_is_known_to_be_stored_need_not_be_sent(world: World) -> None:
    await world.start("p")
    share(world.claim("A", "p"), "p/c")
    assert start_of_one(world.claim("A", "p/c", nonce="n2"), frozenset([FP]))[0] == Answer.OK
    assert INPUT not in world.caller.sent[-1]
    assert (held(world, "p"), held(world, "p/c")) == (INPUT, b"")


async def test_what_is_not_there_is_asked_for_and_nothing_is_written(world: World) -> None:
    await world.start("p")
    root = world.claim("A", "p")
    share(root, "p/c")
    child = world.claim("A", "p/c", nonce="n2")
    root.commit("completed")
    before = world.snapshot()
    assert start_of_one(child, frozenset([FP]))[0] == Answer.RETRY
    assert world.snapshot() == before
    assert start_of_one(child, frozenset())[0] == Answer.OK
    assert held(world, "p/c") == INPUT


async def test_what_is_sent_again_is_not_written_again(world: World) -> None:
    await world.start("p")
    share(world.claim("A", "p"), "p/c")
    share(world.claim("A", "p/c", nonce="n2"), "p/c/d", value=b"the same in other bytes")
    assert held(world, "p") == INPUT


async def test_an_active_child_of_an_ended_run_is_the_holder_for_those_below_it(world: World) -> None:
    root, _, _ = await tree(world)
    root.commit("completed")
    assert await expire(world, "p", "p/c")
    assert (held(world, "p/c"), held(world, "p/c/d"), world.journal("p/c")[0]) == (INPUT, b"", b"S" + INPUT)
    assert pttl(world, "p") > 0 and pttl(world, "p/c") == -1
    world.server.delete(world.keys.shared("p"))
    assert await whole(world, "p/c/d/e") == b"S" + INPUT


async def test_the_holder_waits_for_the_walks_below_it(world: World) -> None:
    root, child, _ = await tree(world)
    child.commit("completed")
    root.commit("completed")
    assert not await expire(world, "p", "p/c")
    assert world.walks() == {"ep": "1", "ep/c": "0"} and pttl(world, "p") == pttl(world, "p", "children") == -1
    before = world.snapshot()
    assert not await expire(world, "p", cursor=1)
    assert world.snapshot() == before
    # Another tree's walk is none of its business; and one that has only a mark does not wait.
    world.server.hset(world.keys.walks, mapping={"epp/c": "0", "ep/c/x/y": "0"})
    assert await expire(world, "p/c", "p/c/d")
    assert held(world, "p/c/d") == INPUT and pttl(world, "p/c") > 0
    assert not await expire(world, "p", cursor=1)
    world.server.hdel(world.keys.walks, "ep/c/x/y")
    assert await expire(world, "p", cursor=1)
    assert world.walks() == {"epp/c": "0"} and pttl(world, "p") > 0
    world.server.delete(world.keys.shared("p"), world.keys.shared("p/c"))
    assert await whole(world, "p/c/d/e") == b"S" + INPUT


async def test_a_tree_that_is_kept_for_ever_waits_for_nothing(world: World) -> None:
    root, child, _ = await tree(world)
    child.commit("completed")
    root.commit("completed")
    world.server.hset(world.keys.walks, "ep", "0")
    assert await expire(world, "p", "p/c", ttl_ms=-1)
    assert "ep" not in world.walks() and pttl(world, "p") == -1


async def test_a_run_that_is_taken_up_again_is_the_holder_for_those_below_it(world: World) -> None:
    root, child, _ = await tree(world)
    child.commit("failed", payload=b"x")
    root.commit("completed")
    await expire(world, "p", "p/c")
    await world.store.retry_run("p/c", 0)
    assert world.walks() == {"ep": "1", "pp/c": "0"}
    assert await expire(world, "p", cursor=1)
    world.server.delete(world.keys.shared("p"))
    assert [await whole(world, id) for id in ("p/c", "p/c/d", "p/c/d/e")] == [b"S" + INPUT] * 3


async def test_a_run_whose_hash_is_damaged_is_not_taken_up_again(world: World) -> None:
    """It could not share anything with those below it, and that is said before anything is written."""
    root, _, _ = await tree(world)
    root.commit("failed", payload=b"x")
    world.server.delete(world.keys.shared("p"))
    world.server.set(world.keys.shared("p"), "damaged")
    before = world.snapshot()
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await world.store.retry_run("p", 0)
    assert world.snapshot() == before


async def test_copies_of_many_large_inputs_are_another_chunks(world: World) -> None:
    large = b"x" * 3_000_000
    await world.start("p")
    root = world.claim("A", "p")
    share(root, "p/a", "p/b", "p/c", value=large)
    root.commit("completed")
    assert await expire(world, "p", "p/a", "p/b", "p/c")
    assert world.walks() == {"ep": "2"} and pttl(world, "p") == -1
    assert [world.journal(f"p/{name}")[0][:1] for name in "abc"] == [b"S", b"S", b"@"]
    assert await expire(world, "p", "p/c", cursor=2)
    assert world.walks() == {} and pttl(world, "p") > 0
    assert world.journal("p/c")[0] == b"S" + large


async def test_the_last_large_copy_ends_its_walk(world: World) -> None:
    await world.start("p")
    root = world.claim("A", "p")
    share(root, "p/a", value=b"x" * 5_000_000)
    root.commit("completed")
    assert await expire(world, "p", "p/a")
    assert world.walks() == {}


async def test_a_damaged_hash_of_a_child_does_not_hold_up_the_walk(world: World) -> None:
    root, _, _ = await tree(world)
    root.commit("completed")
    world.server.delete(world.keys.shared("p/c"))
    world.server.set(world.keys.shared("p/c"), "damaged")
    assert await expire(world, "p", "p/c")
    assert world.journal("p/c")[0] == b"S" + INPUT


async def test_what_a_child_holds_itself_stays_what_it_is(world: World) -> None:
    root, _, _ = await tree(world)
    root.commit("completed")
    world.server.hset(world.keys.shared("p"), "other", "of the parent")
    world.server.hset(world.keys.shared("p/c"), "other", "its own")
    assert await expire(world, "p", "p/c")
    assert world.server.hgetall(world.keys.shared("p/c")) == {FP: INPUT, b"other": b"its own"}
