"""enter_queue: a run of a limited queue gets a place, or waits for one without an entry; nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.store.status import Answer

from .world import STATES, T0, Copy, World


async def limit(world: World, limits: str = "1 0 0 0") -> None:
    await world.store.limit_queue("q", limits)


def enter(world: World, id: str = "r", entry: str | None = None, worker: str = "A") -> Any:
    chosen = world.entry(id) if entry is None else entry
    source = world.store.source_key(chosen or "Q", worker, "q")
    replies: list[Any] = []
    world.store.enter_queue(id, source, "q", chosen, replies.append)
    return replies[0]


def claim(world: World, id: str, worker: str = "A") -> Copy:
    """Entered and claimed."""
    entry = world.entry(id)
    replies: list[Any] = []
    world.store.claim_runs(worker, "n1", 5, [(id, entry)], replies.append, entered="q")
    reply = replies[0][1]
    assert reply[0] == Answer.OK, reply
    return Copy(world, id, worker, reply[1], "n1", entry, reply[5])


def slots(world: World) -> dict[str, str]:
    found: Any = world.server.hgetall(world.keys.room("q")[4])
    return {id.decode(): slot.decode() for id, slot in found.items()}


def waiting(world: World) -> list[str]:
    """Who is in the room, in order."""
    found: Any = world.server.zrange(world.keys.room("q")[2], 0, -1)
    return [member.decode().partition("\n")[0] for member in found]


def tally(world: World) -> dict[str, int]:
    found: Any = world.server.hgetall(world.keys.room("q")[5])
    return {key.decode(): int(count) for key, count in found.items()}


def left(world: World) -> set[str]:
    """Kinds of keys of the room that are there."""
    names = {name.partition(":")[0] for name in world.snapshot()}
    return names & {"room", "behind", "slots", "tally"}


async def starts(world: World, *ids: str, **more: Any) -> None:
    for id in ids:
        await world.start(id, **more)
        world.now += 1
    world.read("A")


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    await world.bring(state)
    world.read("A")
    await limit(world)
    before = world.snapshot()
    reply = enter(world, entry=world.entry() or "Q1-1")
    if state == "absent":
        assert reply == [Answer.GONE]
    elif state in ("pending", "ready", "running"):
        assert reply == [Answer.OK]
    else:
        assert reply == [Answer.STALE]
    if state in ("pending", "ready"):
        assert slots(world) == {"r": world.entry() + "\n"}
        before = world.snapshot()
        assert world.repeat() == reply
    assert world.snapshot() == before


async def test_what_is_not_limited_needs_no_place(world: World) -> None:
    await starts(world, "r")
    before = world.snapshot()
    assert enter(world) == [Answer.OK]
    assert world.snapshot() == before
    assert enter(world, entry="Q1-1") == [Answer.STALE]


async def test_a_limited_queue_is_entered_first(world: World) -> None:
    """Also by a worker that does not know of the limits, and by one that has the copy in memory."""
    copy = await world.bring("ready")
    await world.start("s")
    await limit(world)
    before = world.snapshot()
    assert world.claim_reply("A", "s") == [Answer.HELD, b"q", b"l"]
    assert copy and copy.resume() == [Answer.HELD, b"q", b"l"]
    assert world.snapshot() == before
    enter(world, "s")
    assert claim(world, "s").commit("completed")[0] == Answer.ENDED


async def test_who_finds_no_place_waits_and_is_let_in_by_whoever_leaves(world: World) -> None:
    await limit(world)
    await starts(world, "a", "b", "c")
    assert enter(world, "a") == [Answer.OK]
    assert enter(world, "b") == enter(world, "c") == [Answer.STALE]
    assert waiting(world) == ["b", "c"]
    assert world.status("b") == "ready" and world.entry("b").startswith(f"G{world.now}-")
    assert world.stream(world.keys.queue("q")) == [("r", "a")]
    # Whoever holds its old entry finds that it is garbage; a claim would be told that it waits.
    old = world.entry("b")
    assert world.claim_reply("B", "b", "Q1-1") == [Answer.HELD, b"q", b"l"]
    assert enter(world, "b", "Q1-1") == [Answer.STALE] and world.entry("b") == old

    first = claim(world, "a")
    assert first.commit("go", [b"R1"], slot_of="q")[0] == Answer.OK
    assert list(slots(world)) == ["a"]
    assert first.commit("completed", slot_of="q")[0] == Answer.ENDED
    world.ack(first)
    assert (list(slots(world)), waiting(world)) == (["b"], ["c"])
    ((id, entry),) = world.read("B")
    assert (id, slots(world)["b"]) == ("b", entry + "\n")
    assert world.entry("b") == old, "until somebody takes it up"
    assert world.claim_reply("B", "b", entry) == [Answer.HELD, b"q", b"l"]
    assert enter(world, "b", entry) == [Answer.OK] and world.entry("b") == entry
    after = world.snapshot()
    assert world.repeat() == [Answer.OK]
    assert world.snapshot() == after
    second = claim(world, "b", "B")
    assert second.commit("park", slot_of="q")[0] == Answer.PARKED
    assert list(slots(world)) == ["c"]


async def test_who_was_let_in_and_not_read_yet_is_no_garbage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record names the entry once it is read: a sweep must leave it, and a run that has it since, alone."""
    await limit(world, "1 0 0 0")
    await starts(world, "a", "b")
    enter(world, "a")
    first = claim(world, "a")
    enter(world, "b")
    assert waiting(world) == ["b"]
    first.commit("completed", slot_of="q")
    let_in = slots(world)["b"].partition("\n")[0]
    assert world.entry("b") != let_in
    monkeypatch.setitem(world.server.response_callbacks, "XRANGE", lambda reply, **_: reply)  # as it is on the wire
    assert await world.store.garbage("q", "", 50, may_fix=False) == ("", 1)  # of the one that has ended
    read = world.store.fields

    async def read_late(*args: Any) -> Any:
        rows = await read(*args)
        enter(world, "b", let_in)
        world.store.claim_runs("A", "n1", 5, [("b", let_in)], lambda reply: None, entered="q")
        return rows

    world.store.fields = read_late  # type: ignore[method-assign]
    await world.store.garbage("q", "", 50, may_fix=True)
    assert (world.status("b"), world.entry("b"), world.field("b", "epoch")) == ("running", let_in, "1")


async def test_a_commit_that_is_not_granted_keeps_its_place(world: World) -> None:
    """It would park with a message waiting."""
    await limit(world)
    await starts(world, "a", "b")
    enter(world, "a")
    enter(world, "b")
    copy = claim(world, "a")
    await world.store.send_event("a", "e", b"body", 10)
    assert copy.commit("park", slot_of="q")[0] == Answer.OK
    assert (list(slots(world)), waiting(world)) == (["a"], ["b"])


async def test_a_repeated_end_lets_in_one(world: World) -> None:
    await limit(world)
    await starts(world, "a", "b", "c")
    for id in "abc":
        enter(world, id)
    claim(world, "a").commit("completed", slot_of="q")
    before = world.snapshot()
    world.repeat()
    assert world.snapshot() == before
    assert (list(slots(world)), waiting(world)) == (["b"], ["c"])


async def test_order_is_started_then_priority_then_age(world: World) -> None:
    await limit(world)
    await starts(world, "held", "plain", "older", "woken")
    assert enter(world, "held") == [Answer.OK]
    holder = claim(world, "held")
    await limit(world, "9 0 0 0")
    enter(world, "woken")
    parked = claim(world, "woken")
    parked.commit("park", slot_of="q")
    await limit(world)
    await starts(world, "urgent", queue="q:5")
    await starts(world, "idle", queue="q:-5")
    for id in ("plain", "older", "idle", "urgent"):
        world.server.xreadgroup("workers", "A", {world.keys.queue("q"): ">"})
        assert enter(world, id) == [Answer.STALE]
    await world.store.send_event("woken", "e", b"", 10)
    world.read("A")
    assert enter(world, "woken") == [Answer.STALE]
    assert waiting(world) == ["woken", "urgent", "plain", "older", "idle"]
    holder.commit("completed", slot_of="q")
    assert list(slots(world)) == ["woken"]
    assert parked.resume() == [Answer.HELD, b"q", b"l"]


async def test_of_a_key_so_many_and_the_next_follows_whatever_the_end(world: World) -> None:
    await limit(world, "0 0 0 1")
    await starts(world, "a", "b", "c", key="k")
    await starts(world, "x", key="k\x01")
    await starts(world, "y", key="kk")
    await starts(world, "n")
    assert [enter(world, id) for id in "abcxyn"] == [[Answer.OK]] + [[Answer.STALE]] * 2 + [[Answer.OK]] * 3
    assert tally(world) == {"k": 1, "k\x01": 1, "kk": 1}
    assert waiting(world) == [] and "behind" in left(world)
    assert (await world.store.settle_run("a", "terminate", "cancelled", b"why"))[0]
    assert tally(world)["k"] == 1 and set(slots(world)) == {"b", "x", "y", "n"}
    assert (await world.store.cancel_run("c", "why", "t", 1000))[0], "behind"
    assert (await world.store.cancel_run("b", "why", "t", 1000))[0], "let in"
    assert tally(world) == {"k\x01": 1, "kk": 1} and "behind" not in left(world)
    for id in "xyn":
        claim(world, id).commit("completed", slot_of="q")
    assert left(world) == set()


async def test_more_of_a_key_once_more_are_allowed(world: World) -> None:
    await limit(world, "0 0 0 1")
    await starts(world, *"abcd", key="k")
    for id in "abcd":
        enter(world, id)
    await limit(world, "0 0 0 2")
    claim(world, "a").commit("completed", slot_of="q")
    assert set(slots(world)) == {"b", "c"} and tally(world) == {"k": 2}


async def test_starts_in_a_period(world: World) -> None:
    await limit(world, "0 2 1000 0")
    world.now = T0
    for id in "abcde":
        await world.start(id)
    world.read("A")
    assert [enter(world, id)[0] for id in "abcde"] == [Answer.OK] * 2 + [Answer.STALE] * 3
    assert world.timers() == {"qq": T0 + 1000}
    world.now = T0 + 999
    await world.store.admit_runs("q")
    assert waiting(world) == ["c", "d", "e"] and world.timers() == {"qq": T0 + 1000}
    world.now = T0 + 1000
    await world.store.admit_runs("q")
    assert set(slots(world)) == {"a", "b", "c", "d"} and world.timers() == {"qq": T0 + 2000}
    # What goes on after a wait counts for nothing.
    copy = claim(world, "a")
    copy.commit("park", slot_of="q")
    await world.store.send_event("a", "e", b"", 10)
    world.read("A")
    assert enter(world, "a") == [Answer.OK]
    world.now = T0 + 2000
    await world.store.admit_runs("q")
    assert waiting(world) == [] and world.timers() == {}
    assert world.server.pttl(world.keys.room("q")[6]) > 0


async def test_a_paused_queue_lets_nobody_in_until_it_goes_on(world: World) -> None:
    await limit(world, "2 0 0 0")
    await starts(world, *"abcd")
    for id in "abcd":
        enter(world, id)
    await world.store.pause_queue("q")
    before = world.snapshot()
    assert enter(world, "a") == [Answer.HELD]
    assert world.snapshot() == before
    await world.store.settle_run("a", "terminate", "cancelled", b"")
    await world.store.settle_run("b", "terminate", "cancelled", b"")
    assert (slots(world), waiting(world)) == ({}, ["c", "d"])
    await world.store.resume_queue("q")
    assert set(slots(world)) == {"c", "d"}


async def test_a_drained_or_dead_worker_leaves_the_place_to_its_run(world: World) -> None:
    """Under the entry that is put back; the next worker goes on with it."""
    await limit(world)
    await starts(world, "a", "b")
    enter(world, "a")
    enter(world, "b")
    copy = claim(world, "a")
    assert await world.store.release_entry("a", world.keys.queue("q"), "q", copy.entry, is_crash=True)
    assert slots(world) == {"a": world.entry("a") + "\n"} and waiting(world) == ["b"]
    assert world.repeat() == [Answer.STALE]
    assert copy.commit("completed", slot_of="q")[0] == Answer.FENCED
    world.read("B")
    assert enter(world, "a", worker="B") == [Answer.OK]
    claim(world, "a", "B").commit("completed", slot_of="q")
    # Let in and read by a worker that dies before it says so.
    ((id, entry),) = world.read("A")
    assert await world.store.release_entry("b", world.keys.queue("q"), "q", entry, is_crash=True)
    assert world.repeat() == [Answer.STALE]
    ((id, again),) = world.read("B")
    assert (id, again != entry, slots(world)) == ("b", True, {"b": again + "\n"})
    assert enter(world, "b", again) == [Answer.OK]


async def test_an_unknown_workflow_gives_its_place_back(world: World) -> None:
    await limit(world)
    await starts(world, "a", "b")
    enter(world, "a")
    enter(world, "b")
    copy = claim(world, "a")
    await world.store.release_entry("a", world.keys.queue("q"), "q", copy.entry, epoch=1, delay_ms=50, waiting="code")
    assert world.status("a") == "delayed" and list(slots(world)) == ["b"]


@pytest.mark.parametrize("value", ["", "x", "1 2 3", "-1 0 0 0", "1 0 0 0 0", "99999999999999999999999 0 0 0"])
async def test_limits_that_are_damaged(world: World, value: str) -> None:
    await starts(world, "a")
    world.server.hset(world.keys.gates, "lq", value)
    assert enter(world, "a") == [Answer.OK]
    claim(world, "a").commit("completed", slot_of="q")
    await limit(world, "1 0 0 0")
    assert await world.store.gates() == {"lq": "1 0 0 0"}


async def test_a_copy_in_memory_is_resumed_once_it_has_entered(world: World) -> None:
    """Let in after a wait, and read by the worker that has it in memory: its record names no entry yet."""
    await limit(world)
    await starts(world, "w", "a")
    enter(world, "w")
    copy = claim(world, "w")
    copy.commit("park", slot_of="q")
    world.ack(copy)
    enter(world, "a")
    holder = claim(world, "a")
    await world.store.send_event("w", "e", b"", 10)
    world.read("A")
    assert enter(world, "w") == [Answer.STALE]
    holder.commit("completed", slot_of="q")
    ((id, entry),) = world.read("A")
    assert id == "w"

    def resume(*, entered: str = "") -> Any:
        replies: list[Any] = []
        batch = [("w", entry, copy.epoch, copy.nonce, copy.seq)]
        world.store.resume_runs(batch, replies.append, entered=entered)
        return replies[0][1]

    before = world.snapshot()
    assert resume() == [Answer.HELD, b"q", b"l"]
    assert world.snapshot() == before
    assert resume(entered="q") == [Answer.HELD, b"q", b"l"], "it says so, and has no slot"
    assert world.snapshot() == before
    assert enter(world, "w", entry) == [Answer.OK]
    granted = slots(world)["w"]
    for slot in ("Q0-1\n", entry + "1\n", "\n" + entry):
        world.server.hset(world.keys.room("q")[4], "w", slot)
        assert resume(entered="q") == [Answer.HELD, b"q", b"l"], "the slot is another entry's"
    world.server.hset(world.keys.room("q")[4], "w", granted)
    assert resume(entered="q")[0] == Answer.OK


async def test_who_has_entered_shows_its_slot(world: World) -> None:
    """The server may have lost it since: then it is asked for again, and nobody else has it meanwhile."""
    await limit(world)
    await starts(world, "a", "b")
    assert enter(world, "a") == [Answer.OK]
    world.server.delete(world.keys.room("q")[4])
    assert enter(world, "b") == [Answer.OK]
    replies: list[Any] = []
    for slot in (None, "Q0-1\n", world.entry("a") + "1\n"):
        if slot is not None:
            world.server.hset(world.keys.room("q")[4], "a", slot)
        before = world.snapshot()
        world.store.claim_runs("A", "n1", 5, [("a", world.entry("a"))], replies.append, entered="q")
        assert replies.pop()[1] == [Answer.HELD, b"q", b"l"]
        assert world.snapshot() == before


@pytest.mark.parametrize("is_paused", [False, True])
async def test_who_takes_a_running_one_again_gives_its_slot_back(world: World, *, is_paused: bool) -> None:
    """Its entry was read by somebody who does not know that it has entered: a worker that forgot."""
    await limit(world)
    await starts(world, "w", "a")
    enter(world, "w")
    copy = claim(world, "w")
    if is_paused:
        await world.store.pause_queue("q")
    before = world.snapshot()
    replies: list[Any] = []
    world.store.claim_runs("A", "n2", 5, [("w", copy.entry)], replies.append)
    world.store.resume_runs([("w", copy.entry, copy.epoch, copy.nonce, copy.seq)], replies.append)
    assert [reply[1] for reply in replies] == [[Answer.HELD, b"q", b"l"]] * 2
    assert enter(world, "w") == [Answer.OK]
    assert world.snapshot() == before
    world.store.resume_runs([("w", copy.entry, copy.epoch, copy.nonce, copy.seq)], replies.append, entered="q")
    assert replies[-1][1][0] == Answer.OK
    assert world.snapshot() == before
    claim(world, "w").commit("completed", slot_of="q")
    assert slots(world) == {}


async def test_one_that_runs_since_before_the_limit_has_no_slot(world: World) -> None:
    copy = await world.bring("running")
    assert copy is not None
    await limit(world)
    assert world.claim_reply("A", "r") == copy.resume() == [Answer.HELD, b"q", b"l"]
    assert enter(world, "r") == [Answer.OK]
    replies: list[Any] = []
    world.store.resume_runs([("r", copy.entry, copy.epoch, copy.nonce, copy.seq)], replies.append, entered="q")
    assert replies[0][1][0] == Answer.OK
    again = claim(world, "r")
    assert slots(world) == {}
    assert again.commit("completed", slot_of="q")[0] == Answer.ENDED


async def test_who_goes_on_is_no_start(world: World) -> None:
    """Also if it had to wait for its slot."""
    await limit(world, "1 2 1000 0")
    await starts(world, "w", "a")
    enter(world, "w")
    copy = claim(world, "w")
    copy.commit("park", slot_of="q")
    enter(world, "a")
    await world.store.send_event("w", "e", b"", 10)
    world.read("A")
    assert enter(world, "w") == [Answer.STALE]
    before = world.server.lrange(world.keys.room("q")[6], 0, -1)
    claim(world, "a").commit("completed", slot_of="q")
    assert list(slots(world)) == ["w"]
    assert world.server.lrange(world.keys.room("q")[6], 0, -1) == before


async def test_nobody_slips_in_before_those_whose_time_has_come(world: World) -> None:
    """The timer has not fired yet, and there is room."""
    await limit(world, "0 1 1000 0")
    await starts(world, "a", "b", "c")
    enter(world, "a")
    enter(world, "b")
    world.now += 2_000
    assert enter(world, "c") == [Answer.STALE]
    assert set(slots(world)) == {"a", "b"} and waiting(world) == ["c"]
