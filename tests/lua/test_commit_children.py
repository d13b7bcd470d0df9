"""commit_run: the children it creates and awaits, and those that an earlier life left behind."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import T0, TERMINAL, Copy, World

CANCELLED = "parent p was cancelled"


async def parent(world: World) -> Copy:
    await world.start("p")
    return world.claim("A", "p")


async def test_a_child_is_created_with_its_line_in_the_parents_journal(world: World) -> None:
    copy = await parent(world)
    reply = copy.commit("park", [b"Rchild"], children=[world.child(), world.child("p/d", delay_ms=50)])
    assert reply[0] == Answer.PARKED
    assert world.server.zrange(world.keys.children("p"), 0, -1, withscores=True) == [(b"p/c", 1.0), (b"p/d", 2.0)]
    assert (world.status("p/c"), world.status("p/d")) == ("ready", "delayed")
    assert world.timers() == {"dp/d": T0 + 50}
    assert world.read("B") == [("p/c", world.entry("p/c"))]
    assert world.journal("p/c") == [b"Sinput"]
    assert world.field("p", "kids") == "2"
    before = world.snapshot()
    assert world.repeat() == reply
    assert world.snapshot() == before


async def test_further_children_are_numbered_on(world: World) -> None:
    copy = await parent(world)
    copy.commit("go", [b"R1"], children=[world.child()])
    copy.commit("go", [b"R2"], children=[world.child("p/d")])
    assert world.server.zscore(world.keys.children("p"), "p/d") == 2


async def test_no_child_of_a_fenced_commit(world: World) -> None:
    copy = await parent(world)
    before = world.snapshot()
    copy.nonce = "n0"
    assert copy.commit("go", [b"R1"], children=[world.child()]) == [Answer.FENCED, T0]
    assert world.snapshot() == before


class TestBornCancelled:
    async def cancelled(self, world: World) -> Copy:
        copy = await parent(world)
        assert (await world.store.cancel_run("p", "why", "t1", 1_000))[0]
        return copy

    async def test_under_a_cancelled_parent_and_told_at_once(self, world: World) -> None:
        copy = await self.cancelled(world)
        reply = copy.commit("park", [b"R1"], children=[world.child()])
        told = b"M2 %d Cxp/c\n%s" % (T0, CANCELLED.encode())
        assert reply[:3] == [Answer.OK, T0, [b"M1 %d Xwhy" % T0, told]]
        assert world.inbox("p") == reply[2]
        assert world.status("p/c") == "cancelled"
        assert world.journal("p/c") == [b"Sinput", b"Z%d cancelled\n%s" % (T0, CANCELLED.encode())]
        assert all(id != "p/c" for id, _ in world.read("B"))
        before = world.snapshot()
        assert world.repeat() == reply
        assert world.snapshot() == before

    async def test_one_that_is_only_started_says_nothing(self, world: World) -> None:
        copy = await self.cancelled(world)
        reply = copy.commit("go", [b"R1"], children=[world.child(notify=False)])
        assert reply[2] == [b"M1 %d Xwhy" % T0]
        assert world.status("p/c") == "cancelled"

    async def test_started_and_awaited_in_one_commit(self, world: World) -> None:
        copy = await self.cancelled(world)
        reply = copy.commit("go", [b"R1"], children=[world.child(notify=False)], awaits=["p/c"])
        assert reply[2][1:] == [b"M2 %d Cxp/c\n%s" % (T0, CANCELLED.encode())]

    async def test_cleanup_may_still_start_children(self, world: World) -> None:
        copy = await self.cancelled(world)
        copy.inbox = world.inbox("p")
        copy.commit("park", [b"R1"], take=1, children=[world.child(mode="c")])
        assert (world.status("p/c"), world.status("p")) == ("ready", "parked")

    async def test_a_repeat_of_an_older_commit_does_not_bury_its_child(self, world: World) -> None:
        copy = await parent(world)
        copy.commit("go", [b"R1"], children=[world.child()])
        sent = world.caller.sent[-1]
        assert (await world.store.cancel_run("p", "why", "t1", 1_000))[0]
        world.caller.execute(sent)
        assert world.status("p/c") == "ready"


class TestAwait:
    async def started(self, world: World) -> Copy:
        copy = await parent(world)
        copy.commit("go", [b"R1"], children=[world.child(notify=False)])
        return copy

    async def test_an_active_child_tells_its_end_from_now_on(self, world: World) -> None:
        copy = await self.started(world)
        assert copy.commit("park", [b"Rawait"], awaits=["p/c"])[0] == Answer.PARKED
        world.claim("B", "p/c").commit("completed", payload=b"out")
        assert world.status("p") == "ready"
        assert world.inbox("p") == [b"M1 %d Ccp/c\nout" % T0]

    @pytest.mark.parametrize("status", TERMINAL)
    async def test_an_ended_child_answers_at_once(self, world: World, status: str) -> None:
        copy = await self.started(world)
        world.claim("B", "p/c").commit(status, [b"R1"], payload=b"the\nout")
        assert world.inbox("p") == []
        letter = {"failed": b"f", "cancelled": b"x", "compensated": b"u", "compensation_failed": b"v"}.get(status, b"c")
        reply = copy.commit("park", [b"Rawait"], awaits=["p/c"])
        assert reply[:3] == [Answer.OK, T0, [b"M1 %d C%sp/c\nthe\nout" % (T0, letter)]]
        assert world.status("p") == "running"
        assert copy.commit("park", take=1)[0] == Answer.PARKED

    async def test_an_await_is_told_once(self, world: World) -> None:
        copy = await self.started(world)
        world.claim("B", "p/c").commit("completed", payload=b"out")
        copy.commit("go", [b"Rawait"], awaits=["p/c"])
        before = world.snapshot()
        world.repeat()
        assert world.snapshot() == before
        assert len(copy.commit("go", awaits=["p/c"])[2]) == 1

    async def test_a_child_that_is_gone_does_not_hang_its_parent(self, world: World) -> None:
        copy = await self.started(world)
        world.server.delete(world.keys.run("p/c"), world.keys.journal("p/c"))
        reply = copy.commit("park", [b"Rawait"], awaits=["p/c"])
        assert reply[2] == [b"M1 %d Cxp/c\nthe record of run p/c is gone" % T0]

    async def test_the_end_is_told_where_the_parent_lives_now(self, world: World) -> None:
        """The child's hint was the parent's first worker; it is awaited from the second one."""
        copy = await self.started(world)
        await world.store.release_entry("p", world.keys.queue("q"), "q", copy.entry, epoch=1)
        again = world.claim("B", "p", nonce="n2")
        again.commit("park", [b"Rawait"], awaits=["p/c"])
        world.claim("A", "p/c").commit("completed", payload=b"out")
        assert world.entry("p").startswith("W")
        assert world.read("B") == [("p", world.entry("p"))]


class TestLeftovers:
    """The id of the parent was used before; its retention is over, but not its children's."""

    async def earlier(self, world: World, status: str = "") -> Copy:
        copy = await parent(world)
        copy.commit("go", [b"R1"], children=[world.child(), world.child("p/old")])
        child = world.claim("B", "p/c")
        if status:
            child.commit(status, payload=b"old")
        copy.inbox = world.inbox("p")
        copy.commit("completed", take=len(copy.inbox))
        world.server.delete(world.keys.run("p"), world.keys.journal("p"))
        await world.start("p")
        return world.claim("A", "p", nonce="second")

    @pytest.mark.parametrize("status", TERMINAL)
    async def test_an_ended_child_is_replaced(self, world: World, status: str) -> None:
        copy = await self.earlier(world, status)
        world.server.pexpire(world.keys.run("p/c"), 60_000)
        assert copy.commit("park", [b"R1"], children=[world.child()])[0] == Answer.PARKED
        assert (world.status("p/c"), world.journal("p/c")) == ("ready", [b"Sinput"])
        assert world.server.pttl(world.keys.run("p/c")) == -1
        assert world.server.zrange(world.keys.children("p"), 0, -1) == [b"p/c"]
        world.claim("B", "p/c").commit("completed", payload=b"new")
        assert world.inbox("p") == [b"M1 %d Ccp/c\nnew" % T0]

    async def test_an_active_one_of_the_same_call_is_joined(self, world: World) -> None:
        copy = await self.earlier(world)
        assert copy.commit("park", [b"R1"], children=[world.child()])[0] == Answer.PARKED
        assert world.status("p/c") == "running"
        again = world.claim("B", "p/c", nonce="n2")
        again.commit("completed", payload=b"joined")
        assert world.inbox("p") == [b"M1 %d Ccp/c\njoined" % T0]

    @pytest.mark.parametrize("other", [{"digest": b"x"}, {"workflow": "v"}])
    async def test_an_active_one_of_another_call_is_left_alone(self, world: World, other: dict[str, object]) -> None:
        copy = await self.earlier(world)
        record = world.server.hgetall(world.keys.run("p/c"))
        reply = copy.commit("park", [b"R1"], children=[world.child(**other)])
        assert reply[2] == [b"M1 %d Cxp/c\nits id belongs to another active run" % T0]
        assert world.server.hgetall(world.keys.run("p/c")) == record
        assert world.field("p", "kids") == ""


class TestFurtherAttempts:
    async def ended(self, world: World, status: str) -> Copy:
        """A parent whose child has ended and been told."""
        copy = await parent(world)
        copy.commit("park", [b"R1"], children=[world.child()])
        child = world.claim("B", "p/c")
        child.commit("go", [b"R1"], children=[world.child("p/c/g", "p/c")])
        world.claim("B", "p/c/g").commit("completed", payload=b"grand")
        child.inbox = world.inbox("p/c")
        child.commit(status, take=1, payload=b"old")
        world.read("A")
        copy.entry = world.entry("p")
        copy.resume()
        copy.inbox = world.inbox("p")
        copy.commit("go", take=1)
        return copy

    async def test_a_child_is_run_again_and_keeps_its_list_of_children(self, world: World) -> None:
        copy = await self.ended(world, "failed")
        assert copy.commit("park", [b"R2"], children=[world.child(mode="a", attempt=2)])[0] == Answer.PARKED
        assert (world.status("p/c"), world.journal("p/c")) == ("ready", [b"Sinput"])
        assert (world.field("p/c", "attempt"), world.field("p/c", "kids")) == ("2", "1")
        assert world.server.zrange(world.keys.children("p/c"), 0, -1) == [b"p/c/g"]

    @pytest.mark.parametrize("status", TERMINAL)
    async def test_what_has_completed_is_kept(self, world: World, status: str) -> None:
        copy = await self.ended(world, status)
        reply = copy.commit("go", [b"R2"], children=[world.child(mode="k")])
        kept = [b"M2 %d Ccp/c\nold" % T0] if status == "completed" else []
        assert (reply[2], world.status("p/c")) == (kept, "completed" if kept else "ready")

    @pytest.mark.parametrize(
        ("stored", "asked", "is_same"),
        [
            (b"a" * 16, b"b" * 16 + b"a" * 16, True),
            (b"b" * 16 + b"a" * 16, b"a" * 16 + b"c" * 16, True),
            (b"b" * 16 + b"a" * 16, b"c" * 16 + b"d" * 16, False),
            (b"a" * 16 + b"a", b"b" * 16 + b"a", False),
            (b"xa" * 16, b"ax" * 16, False),
            (b"", b"b" * 32, False),
        ],
    )
    async def test_digests_under_several_keys_are_the_same_if_they_share_a_piece(
        self, world: World, stored: bytes, asked: bytes, is_same: bool
    ) -> None:
        copy = await self.ended(world, "completed")
        world.server.hset(world.keys.run("p/c"), "digest", stored)
        copy.commit("go", [b"R2"], children=[world.child(mode="k", digest=asked)])
        assert world.status("p/c") == ("completed" if is_same else "ready")

    async def test_of_another_call_nothing_is_kept(self, world: World) -> None:
        copy = await self.ended(world, "completed")
        copy.commit("park", [b"R2"], children=[world.child(mode="k", digest=b"x")])
        assert world.status("p/c") == "ready"


async def test_v07_children_with_a_priority_are_noted(world: World) -> None:
    await world.start("p")
    parent = world.claim("A", "p")
    children = [
        world.child("p/a"),
        world.child("p/b", queue="q:5", mode="v"),
        world.child("p/c", queue="other:-1", mode="v", delay_ms=5),
        world.child("p/d"),
    ]
    assert parent.commit("go", [b"R1"], children=children)[0] == Answer.OK
    assert await world.store.gates() == {"vq:5": "1", "vother:-1": "1"}
    assert world.stream(world.keys.queue("q")) == [("r", "p"), ("r", "p/a"), ("r", "p/d")]
    assert world.stream(world.keys.queue("q:5")) == [("r", "p/b")]
    assert {id: world.status(id) for id in ("p/a", "p/b", "p/c", "p/d")} == {
        "p/a": "ready", "p/b": "ready", "p/c": "delayed", "p/d": "ready",
    }  # fmt: skip
