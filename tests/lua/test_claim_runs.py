"""claim_runs: a run is taken through the one entry its record names, under a new fence."""

from __future__ import annotations

import pytest

from durable_async.store.commands import Claimed
from durable_async.store.status import Answer
from durable_async.store.store import PAGE

from .world import STATES, T0, World

CLAIMABLE = ("pending", "ready", "running")


@pytest.mark.parametrize("state", STATES)
async def test_only_a_ready_or_running_run_is_claimed(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    epoch = int(world.field("r", "epoch") or 0)
    reply = world.claim_reply("B", "r", world.entry() or "Q1-1", nonce="other")
    if state in CLAIMABLE:
        assert reply[:2] == [Answer.OK, epoch + 1]
        assert (world.status(), world.field("r", "owner"), world.field("r", "seq") or "0") == ("running", "B", "0")
        after = world.snapshot()
        assert world.repeat()[1][:2] == [Answer.OK, epoch + 1]
        assert world.snapshot() == after
    else:
        assert reply == [Answer.GONE if state == "absent" else Answer.STALE]
        assert world.snapshot() == before


@pytest.mark.parametrize("state", STATES)
async def test_any_other_entry_is_garbage(world: World, state: str) -> None:
    """Read late, put back, or settled since."""
    await world.bring(state)
    before = world.snapshot()
    reply = world.claim_reply("B", "r", "Q1-1", nonce="other")
    assert reply == [Answer.GONE if state == "absent" else Answer.STALE]
    assert world.snapshot() == before


async def test_no_entry_is_no_claim(world: World) -> None:
    """A parked run names no entry; a reader that names none either has no business with it."""
    await world.bring("parked")
    assert world.claim_reply("B", "r", "") == [Answer.STALE]


async def test_a_repeat_counts_nothing_and_answers_the_same(world: World) -> None:
    await world.start()
    world.read("A")
    first = world.claim_reply("A", "r")
    before = world.snapshot()
    assert world.repeat()[1] == first
    assert world.snapshot() == before
    assert world.field("r", "claims") == "1"


async def test_an_owner_that_forgot_its_claim_takes_the_run_again(world: World) -> None:
    """The reply reached nobody; its own pending entry names a run that it does not work on."""
    await world.start()
    copy = world.claim("A", nonce="n1")
    again = world.claim_reply("A", "r", copy.entry, nonce="n2")
    assert again[:2] == [Answer.OK, 2]
    assert world.field("r", "claims") == "1"
    assert copy.commit()[0] == Answer.FENCED


async def test_the_answer_is_everything_a_worker_needs(world: World) -> None:
    await world.start(version="v7", client="c1")
    world.now = T0 + 50
    world.read("A")
    claimed = Claimed.from_reply(world.claim_reply("A", "r"))
    assert (claimed.epoch, claimed.workflow, claimed.queue, claimed.version) == (1, "w", "q", "v7")
    assert (claimed.created_ms, claimed.started_ms) == (T0, T0 + 50)
    assert (claimed.journal, claimed.journal_length, claimed.inbox) == ([b"Sinput"], 1, [])


async def test_started_is_the_first_claim(world: World) -> None:
    await world.bring("ready")
    world.now = T0 + 99
    assert Claimed.from_reply(world.claim_reply("B", "r", nonce="n2")).started_ms == T0


async def test_a_long_journal_is_answered_by_its_first_page_and_its_length(world: World) -> None:
    await world.start()
    copy = world.claim()
    copy.commit("park", [b"R%d" % i for i in range(1_200)])
    await world.store.send_event("r", "e", b"x", 10)
    claimed = Claimed.from_reply(world.claim_reply("B", "r", nonce="n2"))
    assert len(claimed.journal) == PAGE
    assert claimed.journal_length == 1_201
    assert claimed.inbox == [b"M1 %d Ex" % T0]


async def test_a_batch_answers_each_run(world: World) -> None:
    await world.start("a")
    await world.start("b")
    await world.bring("completed", "c")
    entries = [("a", world.entry("a")), ("gone", "Q1-1"), ("c", "Q1-1"), ("b", world.entry("b"))]
    now, *replies = world.run(world.store.claim_runs, "A", "n1", 5, entries)
    assert now == T0
    assert [reply[0] for reply in replies] == [Answer.OK, Answer.GONE, Answer.STALE, Answer.OK]


@pytest.mark.parametrize("damaged", ["run", "journal", "inbox"])
async def test_a_damaged_run_spares_its_batch(world: World, damaged: str) -> None:
    await world.bring("ready", "a")
    await world.bring("ready", "b")
    entries = [(id, world.entry(id)) for id in "ab"]
    key = getattr(world.keys, damaged)("a")
    world.server.delete(key)
    world.server.set(key, "damaged")
    _, first, second = world.run(world.store.claim_runs, "B", "n9", 5, entries)
    assert first[0] == Answer.CORRUPT and b"WRONGTYPE" in first[1]
    assert second[0] == Answer.OK
    assert damaged == "run" or world.status("a") == "ready"


class TestPoison:
    async def crash(self, world: World, worker: str) -> None:
        """`worker` claims the run and dies; the reaper puts the entry back."""
        world.claim(worker, nonce=worker)
        source = world.store.source_key(world.entry(), worker, "q")
        assert await world.store.release_entry("r", source, "q", world.entry(), is_crash=True)

    async def test_too_many_dead_owners_without_a_record(self, world: World) -> None:
        await world.start()
        for i in range(3):
            await self.crash(world, f"dead{i}")
        world.read("B")
        before = world.snapshot()
        reply = world.claim_reply("B", "r", nonce="b", limit=3)
        assert reply[0] == Answer.POISON
        assert Claimed.from_reply(reply).journal == [b"Sinput"]
        assert world.snapshot() == before
        assert await world.store.settle_run("r", "poison", "failed", b"boom", bound=3) == (True, "")
        assert world.status() == "failed"
        assert world.stream(world.keys.queue("q")) == []
        assert world.claim_reply("B", "r", "Q1-1") == [Answer.STALE]

    async def test_a_record_starts_the_count_again(self, world: World) -> None:
        await world.start()
        await self.crash(world, "dead0")
        await self.crash(world, "dead1")
        copy = world.claim("dead2", nonce="n")
        assert world.field("r", "claims") == "3"
        copy.commit("go", [b"Rprogress"])
        assert world.field("r", "claims") == "0"

    async def test_a_commit_without_a_record_is_no_progress(self, world: World) -> None:
        await world.start()
        world.claim().commit("go")
        assert world.field("r", "claims") == "1"

    async def test_a_park_is_progress_and_so_is_a_dropped_message(self, world: World) -> None:
        """Worker after worker is told something that the run does not want any more: none of them died of it."""
        await world.start()
        for i in range(8):
            copy = world.claim(f"w{i}", nonce=f"n{i}")
            copy.commit("park", drop=len(copy.inbox))
            world.ack(copy)
            assert world.field("r", "claims") == "0"
            await world.store.send_event("r", f"e{i}", b"x", 10)

    async def test_a_hand_back_is_no_crash(self, world: World) -> None:
        await world.start()
        for i in range(4):
            copy = world.claim(f"w{i}", nonce=f"n{i}")
            queue = world.keys.queue("q")
            assert await world.store.release_entry("r", queue, "q", copy.entry, epoch=copy.epoch)
        assert world.field("r", "claims") == "0"

    async def test_settling_a_run_that_recovered_is_void(self, world: World) -> None:
        """Another worker, with a higher limit, has claimed it meanwhile."""
        await world.start()
        await self.crash(world, "dead0")
        world.claim("B", nonce="b")
        before = world.snapshot()
        assert await world.store.settle_run("r", "poison", "failed", b"boom", bound=1) == (False, "")
        assert world.snapshot() == before
