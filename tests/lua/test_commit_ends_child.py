"""commit_run: a child ends; its parent is told and woken in the same script, and times to live follow the tree."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import T0, TERMINAL, Copy, World

TOLD = b"M1 %d Ccp/c\nout" % T0


async def family(world: World, state: str = "running", **more: bool) -> tuple[Copy, Copy]:
    await world.start("p")
    parent, child = world.family(**more)
    if state != "running":
        parent.commit("block" if state == "blocked" else state.replace("parked", "park"), [b"R1"])
    return parent, child


async def test_a_parked_parent_is_woken_on_its_owners_stream(world: World) -> None:
    _, child = await family(world, "parked")
    reply = child.commit("completed", [b"R1"], payload=b"out")
    assert reply == [Answer.ENDED, T0, [], b"", b""]
    assert (world.status("p"), world.inbox("p")) == ("ready", [TOLD])
    assert world.entry("p").startswith("W")
    assert world.read("A") == [("p", world.entry("p"))]
    before = world.snapshot()
    assert world.repeat() == reply
    assert world.snapshot() == before


async def test_on_the_queue_if_that_stream_is_gone(world: World) -> None:
    """A wake-up must never create the stream of a dead worker."""
    _, child = await family(world, "parked")
    world.server.delete(world.keys.worker("A"))
    child.commit("completed", payload=b"out")
    assert not world.server.exists(world.keys.worker("A"))
    assert ("p", world.entry("p")) in world.read("B")
    assert world.entry("p").startswith("Q")


async def test_on_the_queue_if_that_stream_is_damaged(world: World) -> None:
    _, child = await family(world, "parked")
    world.server.set(world.keys.worker("A"), "damaged")
    child.commit("completed", payload=b"out")
    assert ("p", world.entry("p")) in world.read("B")


async def test_a_running_parent_is_nudged_once(world: World) -> None:
    parent, child = await family(world)
    parent.commit("go", [b"R2"], children=[world.child("p/d")])
    other = world.claim("B", "p/d")
    world.read("A")
    child.commit("completed", payload=b"out")
    other.commit("completed", payload=b"out")
    assert world.read("A") == [("n", "p")]
    assert (world.status("p"), world.entry("p")) == ("running", parent.entry)
    assert len(parent.commit("go")[2]) == 2
    assert world.field("p", "nudged") == ""


async def test_a_parent_that_moved_is_not_nudged_where_it_was(world: World) -> None:
    """The child's hint is its parent's first worker; the answer names the one who has it now."""
    parent, child = await family(world)
    await world.store.release_entry("p", world.keys.queue("q"), "q", parent.entry, epoch=1)
    world.claim("B", "p", nonce="n2")
    world.read("A")
    assert child.commit("completed", payload=b"out") == [Answer.ENDED, T0, [], b"", b"B"]
    assert world.read("A") == world.read("B") == []
    assert world.inbox("p") == [TOLD]


async def test_a_parent_that_moved_and_parked_is_woken_on_the_queue(world: World) -> None:
    parent, child = await family(world)
    await world.store.release_entry("p", world.keys.queue("q"), "q", parent.entry, epoch=1)
    world.claim("B", "p", nonce="n2").commit("park")
    assert child.commit("completed", payload=b"out")[4] == b""
    assert world.entry("p").startswith("Q")


@pytest.mark.parametrize("state", ["ready", "blocked", "pending"])
async def test_any_other_parent_finds_it_in_its_inbox(world: World, state: str) -> None:
    parent, child = await family(
        world, "blocked" if state == "blocked" else "parked" if state == "ready" else "running"
    )
    if state == "ready":
        await world.store.send_event("p", "e", b"x", 10)
    if state == "pending":
        await world.store.release_entry("p", world.keys.queue("q"), "q", parent.entry, epoch=1)
    entry = world.entry("p")
    child.commit("completed", payload=b"out")
    assert world.inbox("p")[-1].endswith(b"Ccp/c\nout")
    assert world.entry("p") == entry


@pytest.mark.parametrize("status", TERMINAL)
async def test_every_way_to_end_is_told(world: World, status: str) -> None:
    _, child = await family(world, "parked")
    child.commit(status, payload=b"out")
    assert (world.status("p/c"), world.status("p")) == (status, "ready")


async def test_a_started_child_that_nobody_awaits_says_nothing(world: World) -> None:
    _, child = await family(world, "parked", notify=False)
    child.commit("completed", payload=b"out")
    assert (world.status("p"), world.inbox("p")) == ("parked", [])


async def test_a_parent_that_is_gone_holds_up_nothing(world: World) -> None:
    _, child = await family(world)
    world.server.delete(world.keys.run("p"))
    assert child.commit("completed", payload=b"out")[0] == Answer.ENDED
    assert not world.server.exists(world.keys.run("p"), world.keys.inbox("p"))
    assert world.server.pttl(world.keys.run("p/c")) > 0


class TestTimeToLive:
    async def test_a_child_has_none_while_its_parent_is_active(self, world: World) -> None:
        _, child = await family(world)
        child.commit("completed")
        assert world.server.pttl(world.keys.run("p/c")) == -1
        assert world.walks() == {}

    async def test_the_roots_end_starts_the_walk(self, world: World) -> None:
        parent, child = await family(world)
        child.commit("completed")
        parent.inbox = world.inbox("p")
        parent.commit("completed", take=1)
        assert world.server.pttl(world.keys.run("p")) > 0
        assert world.server.pttl(world.keys.run("p/c")) == -1
        assert world.walks() == {"ep": "0"}

    async def test_a_child_that_outlives_its_root_expires_by_itself(self, world: World) -> None:
        parent, child = await family(world)
        child.commit("go", [b"R1"], children=[world.child("p/c/d", "p/c")])
        parent.commit("completed")
        child.commit("completed")
        assert world.server.pttl(world.keys.run("p/c")) > 0
        assert world.walks() == {"ep": "0", "ep/c": "0"}
        assert world.inbox("p") == []

    async def test_an_ended_middle_waits_for_the_root(self, world: World) -> None:
        """A grandchild ends under an ended child of an active root: nobody's time has begun."""
        _, child = await family(world)
        child.commit("go", [b"R1"], children=[world.child("p/c/d", "p/c")])
        leaf = world.claim("B", "p/c/d")
        child.commit("completed")
        leaf.commit("completed")
        assert world.server.pttl(world.keys.run("p/c/d")) == world.server.pttl(world.keys.run("p/c")) == -1
        assert world.walks() == {}
