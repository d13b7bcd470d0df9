"""Renewal and generations: commit_run with want `renew`, what it meets of earlier lives, and a run's longest time."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.store.commands import Claimed
from durable_async.store.status import Answer

from .world import DAY_MS, T0, TERMINAL, Copy, World


def renew(copy: Copy, times: str = "0 0", lines: list[bytes] | None = None, **more: Any) -> Any:
    listed = [("R", b"Rlost"), *(("N", line) for line in lines or [])]
    gen = int(copy.world.field(copy.id, "gen") or 1)
    sets = ["gen", gen + 1, "attempt", gen + 1, *more.pop("sets_more", [])]
    return copy.commit("renew", listed=listed, payload=b"Sagain", due_ms=times, sets=sets, queue="q", **more)


def parent_mail(world: World) -> int:
    return int(world.field("p", "mail"))


class TestRenewal:
    async def test_a_fresh_journal_for_any_worker(self, world: World) -> None:
        await world.start("r", client="C1")
        copy = world.claim("A")
        copy.commit("go", [b"Rone"])
        world.now = T0 + 5
        reply = renew(copy, lines=[b"Rpast"])
        assert reply[:3] == [Answer.RENEWED, T0 + 5, []]
        assert world.journal() == [b"Sagain", b"Rpast"]
        assert (world.status(), world.field("r", "gen"), world.field("r", "started")) == ("ready", "2", "")
        assert world.field("r", "client") == "C1"
        assert world.read("B") == [("r", world.entry())]
        again = world.claim_reply("B", "r", nonce="n2")
        assert again[0] == Answer.OK
        claimed = Claimed.from_reply(again)
        assert (claimed.gen, claimed.started_ms) == (2, T0 + 5)

    async def test_the_reply_is_lost(self, world: World) -> None:
        copy = await world.bring("running")
        assert copy is not None
        first = renew(copy)
        before = world.snapshot()
        assert world.repeat() == first
        assert world.snapshot() == before

    async def test_its_old_owner_is_fenced_once_it_is_claimed(self, world: World) -> None:
        copy = await world.bring("running")
        assert copy is not None
        renew(copy)
        world.claim("B", "r", nonce="n2")
        assert copy.commit("go", [b"Rlate"])[0] == Answer.FENCED
        assert copy.commit("completed", seq=copy.seq, payload=b"x")[0] == Answer.FENCED

    async def test_not_while_a_message_waits(self, world: World) -> None:
        copy = await world.bring("running")
        assert copy is not None
        await world.store.send_event("r", "e1", b"go", 10)
        reply = renew(copy)
        assert reply[0] == Answer.OK and len(reply[2]) == 1
        assert world.status() == "running"
        copy.commit("go", take=1)
        assert renew(copy)[0] == Answer.RENEWED
        assert world.inbox() == []

    async def test_until_it_is_granted_it_has_the_life_that_it_had(self, world: World) -> None:
        """As another one it would not be told of the children that it has."""
        await world.start("p")
        parent, child = world.family()
        await world.store.send_event("p", "e1", b"go", 10)
        assert renew(parent, sets_more=["context", b"c"])[0] == Answer.OK
        assert [world.field("p", name) for name in ("gen", "attempt", "context")] == ["", "", "c"]
        child.commit("completed", payload=b"out")
        assert world.inbox("p")[-1] == b"M2 %d Ccp/c\nout" % T0

    async def test_not_while_a_cancel_waits(self, world: World) -> None:
        copy = await world.bring("running")
        assert copy is not None
        assert (await world.store.cancel_run("r", "why", "t", 1_000))[0]
        assert renew(copy)[0] == Answer.OK

    async def test_after_its_delay(self, world: World) -> None:
        copy = await world.bring("running")
        assert copy is not None
        assert renew(copy, "50 0")[0] == Answer.RENEWED
        assert (world.status(), world.entry(), world.timers()) == ("delayed", "", {"dr": T0 + 50})
        world.now = T0 + 50
        await world.store.fire_timers(["dr"])
        assert world.status() == "ready"
        assert world.timers() == {}

    async def test_cancelled_while_it_waits_it_ends_at_once_and_so_does_its_tree(self, world: World) -> None:
        await world.start("p")
        parent, _kid = world.family()
        renew(parent, "50 0")
        assert (await world.store.cancel_run("p", "why", "t", 1_000))[0]
        assert world.status("p") == "cancelled"
        assert world.timers() == {}
        assert world.walks() == {"ep": "0", "xp": "0"}

    async def test_the_deadline_begins_anew(self, world: World) -> None:
        await world.start("r", timeout_ms=100)
        copy = world.claim("A")
        assert world.timers() == {"rr": T0 + 100}
        world.now = T0 + 60
        renew(copy, "20 100")
        assert world.timers() == {"dr": T0 + 80, "rr": T0 + 180}
        assert world.field("r", "deadline") == str(T0 + 180)
        world.now = T0 + 80
        await world.store.fire_timers(["dr"])
        copy = world.claim("A", nonce="n2")
        renew(copy, "0 0")
        assert world.timers() == {}
        assert world.field("r", "deadline") == ""


class TestEarlierLives:
    async def renewed(self, world: World, *, kid: str = "running") -> tuple[Copy, Copy | None]:
        """A parent in its second life; its first one left a child in this state."""
        await world.start("p")
        parent = world.claim("A", "p")
        parent.commit("go", [b"Rchild"], children=[world.child()])
        copy = world.claim("A", "p/c") if kid != "ready" else None
        if kid in TERMINAL:
            assert copy is not None
            copy.commit(kid, payload=b"old")
            parent.commit("go")
            parent.commit("go", take=1)
        renew(parent)
        return world.claim("A", "p", nonce="n2"), copy

    async def test_its_message_does_not_reach_the_new_life(self, world: World) -> None:
        _parent, kid = await self.renewed(world)
        assert kid is not None
        assert kid.commit("completed", payload=b"old")[0] == Answer.ENDED
        assert world.inbox("p") == []

    async def test_one_that_has_ended_is_run_again(self, world: World) -> None:
        parent, _ = await self.renewed(world, kid="failed")
        world.server.hset(world.keys.walks, "cp/c", "of the life before")
        parent.commit("park", [b"R1"], children=[world.child(parent_gen=2)])
        assert (world.status("p/c"), world.field("p/c", "gen"), world.field("p/c", "pgen")) == ("ready", "2", "2")
        assert world.walks() == {}
        kid = world.claim("A", "p/c", nonce="n3")
        kid.commit("completed", payload=b"new")
        assert world.inbox("p") == [b"M2 %d Ccp/c\nnew" % T0]

    async def test_one_still_active_is_waited_for(self, world: World) -> None:
        parent, kid = await self.renewed(world)
        assert kid is not None
        reply = parent.commit("park", [b"R1"], children=[world.child(parent_gen=2, notify=False)])
        assert reply[:3] == [Answer.OK, T0, [b"M1 %d Op/c" % T0]]
        assert world.status("p/c") == "running"
        parent.commit("park", take=1)
        kid.commit("completed", payload=b"old")
        assert world.inbox("p") == [b"M2 %d Ccp/c\nold" % T0]
        parent.resume()
        parent.commit("park", [b"R2"], take=1, children=[world.child(parent_gen=2)])
        assert (world.status("p/c"), world.field("p/c", "gen")) == ("ready", "2")

    async def test_a_further_attempt_joins_it(self, world: World) -> None:
        parent, kid = await self.renewed(world)
        assert kid is not None
        reply = parent.commit("park", [b"R1"], children=[world.child(parent_gen=2, mode="k")])
        assert reply[0] == Answer.PARKED
        kid.commit("completed", payload=b"out")
        assert world.inbox("p") == [b"M1 %d Ccp/c\nout" % T0]

    async def test_unless_it_is_being_cancelled_or_another_call(self, world: World) -> None:
        for why in ("marked", "about to be", "another"):
            world.server.flushdb()
            world.__post_init__()
            parent, _ = await self.renewed(world)
            more = {"digest": b"other"} if why == "another" else {}
            if why == "marked":
                assert (await world.store.cancel_run("p/c", "why", "t", 1_000))[0]
            elif why == "about to be":
                world.server.hset(world.keys.walks, "cp/c", "why")
            reply = parent.commit("park", [b"R1"], children=[world.child(parent_gen=2, mode="k", **more)])
            assert reply[2] == [b"M1 %d Op/c" % T0]

    async def test_what_is_completed_is_kept_by_a_further_attempt_only(self, world: World) -> None:
        parent, _ = await self.renewed(world, kid="completed")
        reply = parent.commit("park", [b"R1"], children=[world.child(parent_gen=2, mode="k")])
        assert reply[2] == [b"M2 %d Ccp/c\nold" % T0]
        assert world.status("p/c") == "completed"
        parent.commit("go", [b"R2"], take=1, children=[world.child("p/d", parent_gen=2)])
        parent, _ = world.claim("A", "p", nonce="n4"), None
        parent.commit("go", [b"R3"], children=[world.child(parent_gen=2)])
        assert world.status("p/c") == "ready"

    @pytest.mark.parametrize("kid", ["completed", "running"])
    async def test_an_adopted_child_is_told_of_to_whom_awaits_it_later(self, world: World, kid: str) -> None:
        """The attempt before has awaited it; this one starts it, does something else, and awaits it then."""
        parent, old = await self.renewed(world, kid="completed" if kid == "completed" else "running")
        starts = [world.child(parent_gen=2, mode="k", notify=False)]
        assert parent.commit("go", [b"R1"], children=starts)[2] == []
        if kid == "running":
            assert old is not None
            old.commit("completed", payload=b"old")
            assert world.inbox("p") == []
        reply = parent.commit("park", [b"Rawait"], awaits=["p/c"])
        assert reply[:3] == [Answer.OK, T0, [b"M%d %d Ccp/c\nold" % (parent_mail(world), T0)]]

    async def test_the_queue_and_the_key_of_one_that_is_joined_stay_its_own(self, world: World) -> None:
        """Newer code may call it with others: its entry, and its place in a limited queue, are where they are."""
        parent, _ = await self.renewed(world, kid="ready")
        entry = world.entry("p/c")
        other = world.child(parent_gen=2, mode="k", queue="other", key="k2", attempt=2, retention_ms=1)
        parent.commit("park", [b"R1"], children=[other])
        found = [world.field("p/c", name) for name in ("queue", "key", "retention", "pgen", "attempt", "notify")]
        assert found == ["q", "", str(DAY_MS), "2", "2", "1"]
        assert await world.store.cancel_run("p/c", "why", "t", 5) == (True, "")
        assert ("r", "p/c") not in world.stream(world.keys.queue("q")) and entry

    async def test_one_of_a_later_life_than_this_tells_it(self, world: World) -> None:
        """The parent's record had expired and its id was used again: its first life waits for a child of its second."""
        await self.renewed(world, kid="ready")
        world.claim("A", "p", nonce="n3").commit("go", [b"R1"], children=[world.child(parent_gen=2, mode="k")])
        world.server.delete(world.keys.run("p"), world.keys.journal("p"))
        await world.start("p")
        parent, kid = world.claim("A", "p", nonce="n4"), world.claim("A", "p/c")
        assert parent.commit("park", [b"R1"], children=[world.child()])[2] == [b"M1 %d Op/c" % T0]
        assert parent.commit("park", take=1)[0] == Answer.PARKED
        kid.commit("completed", payload=b"out")
        assert (world.inbox("p"), world.status("p")) == ([b"M2 %d Ccp/c\nout" % T0], "ready")

    async def test_its_children_stay_listed_with_it(self, world: World) -> None:
        await world.start("p")
        parent, kid = world.family()
        kid.commit("go", [b"R"], children=[world.child("p/c/g", "p/c")])
        kid.commit("failed", payload=b"x")
        parent.commit("go")
        parent.commit("go", take=1)
        renew(parent)
        parent = world.claim("A", "p", nonce="n2")
        parent.commit("park", [b"R1"], children=[world.child(parent_gen=2)])
        assert world.field("p/c", "kids") == "1"


class TestTimeout:
    async def settle(self, world: World, id: str = "r", grace: int = 50) -> bool:
        return (await world.store.settle_run(id, "timeout", "failed", b"late", bound=grace))[0]

    async def test_counts_from_when_it_may_start(self, world: World) -> None:
        await world.start("r", delay_ms=10, timeout_ms=100)
        assert world.timers() == {"dr": T0 + 10, "rr": T0 + 110}

    async def test_one_that_nobody_started_ends_at_its_time(self, world: World) -> None:
        await world.start("r", timeout_ms=100)
        assert not await self.settle(world)
        assert world.timers() == {"rr": T0 + 100}
        world.now = T0 + 100
        assert await self.settle(world)
        assert (world.status(), world.timers()) == ("failed", {})
        assert world.journal()[-1] == b"Z%d failed\nlate" % world.now

    async def test_one_that_is_served_is_left_to_its_owner(self, world: World) -> None:
        await world.start("r", timeout_ms=100)
        copy = world.claim("A")
        world.now = T0 + 100
        assert not await self.settle(world)
        assert world.timers() == {"rr": T0 + 1_100}
        world.now = T0 + 200
        copy.commit("park", [b"R1"])
        assert not await self.settle(world)
        assert world.status() == "parked"

    async def test_one_that_was_started_and_is_served_no_more_gets_its_grace(self, world: World) -> None:
        await world.start("r", timeout_ms=100)
        copy = world.claim("A")
        await world.store.release_entry("r", world.keys.queue("q"), "q", copy.entry, epoch=copy.epoch)
        world.now = T0 + 149
        assert not await self.settle(world, grace=5_000)
        assert world.timers() == {"rr": T0 + 5_100}
        world.now = T0 + 5_100
        assert await self.settle(world, grace=5_000)

    async def test_a_timer_without_its_run_goes(self, world: World) -> None:
        await world.start("r", timeout_ms=100)
        world.claim("A").commit("completed", payload=b"out")
        assert world.timers() == {}
        world.server.zadd(world.keys.timers, {"rr": T0, "rgone": T0})
        assert not await self.settle(world)
        await world.store.fire_timers(["rgone"])
        assert world.timers() == {}

    async def test_of_a_child(self, world: World) -> None:
        await world.start("p")
        parent = world.claim("A", "p")
        parent.commit("park", [b"R1"], children=[world.child(timeout_ms=100)])
        assert world.timers() == {"rp/c": T0 + 100}
        world.now = T0 + 100
        assert await self.settle(world, "p/c")
        assert world.inbox("p") == [b"M1 %d Cfp/c\nlate" % world.now]


class TestEndBesideAnOccupiedId:
    async def test_it_does_not_end_before_it_knows(self, world: World) -> None:
        parent, kid = await TestEarlierLives().renewed(world)
        assert kid is not None
        child = world.child(parent_gen=2, notify=False)
        reply = parent.commit("completed", [b"R1"], children=[child], payload=b"out")
        assert reply[:3] == [Answer.OK, T0, [b"M1 %d Op/c" % T0]]
        assert world.status("p") == "running"
        parent.commit("park", take=1)
        kid.commit("completed", payload=b"old")
        parent.resume()
        assert parent.commit("completed", [b"R2"], take=1, children=[child], payload=b"out")[0] == Answer.ENDED
        assert world.status("p/c") == "ready"

    async def test_under_a_cancelled_parent_it_is_not_started(self, world: World) -> None:
        parent, _ = await TestEarlierLives().renewed(world)
        assert (await world.store.cancel_run("p", "why", "t", 1_000))[0]
        child = world.child(parent_gen=2, notify=False)
        parent.commit("go")
        assert parent.commit("cancelled", [b"R1"], take=1, children=[child], payload=b"why")[0] == Answer.ENDED
        assert world.status("p/c") == "running"
