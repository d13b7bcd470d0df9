"""commit_run: the owner's one way to write; the fence, the list, the inbox, going on and parking."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer
from durable_async.store.store import PAGE

from .world import STATES, T0, TERMINAL, Copy, World

WANTS = ("go", "park", "block", "completed")


@pytest.mark.parametrize("want", WANTS)
@pytest.mark.parametrize("state", [s for s in STATES if s != "running"])
async def test_only_a_running_run_takes_a_commit(world: World, state: str, want: str) -> None:
    copy = await world.bring(state) or Copy(world, "r", "A", 0, "n1", "Q1-1", [])
    copy.entry = world.entry() or copy.entry
    before = world.snapshot()
    assert copy.commit(want, [b"Rlate"]) == [Answer.FENCED, T0]
    assert world.snapshot() == before


@pytest.mark.parametrize("want", WANTS)
@pytest.mark.parametrize("stale", ["epoch", "nonce", "entry", "seq behind", "seq ahead"])
async def test_a_stale_owner_changes_nothing(world: World, want: str, stale: str) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"])
    copy.commit("go", [b"R2"])
    more: dict[str, object] = {}
    if stale == "epoch":
        copy.epoch += 1
    elif stale == "nonce":
        copy.nonce = "n0"
    elif stale == "entry":
        more["entry"] = "Q1-1"
    else:
        more["seq"] = 1 if stale == "seq behind" else 4
    before = world.snapshot()
    assert copy.commit(want, [b"Rstale"], **more) == [Answer.FENCED, T0]
    assert world.snapshot() == before


@pytest.mark.parametrize("want", WANTS)
async def test_a_repeat_gets_the_stored_answer_and_writes_nothing(world: World, want: str) -> None:
    copy = await world.bring("running")
    assert copy
    reply = copy.commit(want, [b"R1"], payload=b"out", due_ms=T0 + 5 if want == "park" else None)
    before = world.snapshot()
    assert world.repeat() == reply
    assert world.snapshot() == before


async def test_a_repeated_park_is_not_judged_again(world: World) -> None:
    """A message arrived between the commit and its repeat: the run was parked, and has been woken by it."""
    copy = await world.bring("running")
    assert copy
    copy.commit("park")
    parked = world.caller.sent[-1]
    await world.store.send_event("r", "e", b"x", 10)
    before = world.snapshot()
    assert world.caller.execute(parked) == [Answer.PARKED, T0, [], b"", b""]
    assert world.snapshot() == before


async def test_a_repeat_answers_with_what_waits_by_now(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"])
    sent = world.caller.sent[-1]
    await world.store.send_event("r", "e", b"x", 10)
    assert world.caller.execute(sent)[:3] == [Answer.OK, T0, [b"M1 %d Ex" % T0]]


async def test_the_list_is_applied_in_its_order(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    for i in range(3):
        await world.store.send_event("r", f"e{i}", b"%d" % i, 10)
    heads = [b"M%d %d " % (i, T0) for i in (1, 2)]
    reply = copy.commit("go", listed=[("R", b"Ra"), ("T", heads[0]), ("R", b"Rb"), ("D", heads[1]), ("R", b"Rc")])
    assert reply[:3] == [Answer.OK, T0, [b"M3 %d E2" % T0]]
    assert world.journal()[1:] == [b"Ra", b"M1 %d E0" % T0, b"Rb", b"Rc"]
    assert world.inbox() == [b"M3 %d E2" % T0]


@pytest.mark.parametrize("head", [b"M2 %d " % T0, b"M1 %d " % (T0 + 1), b"M11 "])
@pytest.mark.parametrize("letter", ["T", "D"])
async def test_a_take_that_names_another_message_is_fenced(world: World, letter: str, head: bytes) -> None:
    """After a loss of writes its number belongs to another message."""
    copy = await world.bring("running")
    assert copy
    await world.store.send_event("r", "e", b"x", 10)
    before = world.snapshot()
    assert copy.commit("go", listed=[("R", b"Ra"), (letter, head)]) == [Answer.FENCED, T0]
    assert world.snapshot() == before


async def test_a_take_of_nothing_is_fenced(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    before = world.snapshot()
    assert copy.commit("go", listed=[("T", b"M1 %d " % T0)]) == [Answer.FENCED, T0]
    assert world.snapshot() == before


async def test_a_park_with_a_message_waiting_goes_on(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await world.store.send_event("r", "e", b"x", 10)
    reply = copy.commit("park", [b"R1"], due_ms=T0 + 5)
    assert reply[:3] == [Answer.OK, T0, [b"M1 %d Ex" % T0]]
    assert (world.status(), world.entry(), world.timers()) == ("running", copy.entry, {})
    assert copy.commit("park", take=1)[0] == Answer.PARKED
    assert (world.status(), world.entry()) == ("parked", "")


async def test_a_park_arms_one_timer_and_the_next_replaces_it(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", due_ms=T0 + 5)
    assert (world.timers(), world.field("r", "timer")) == ({"wr": T0 + 5}, str(T0 + 5))
    await world.store.send_event("r", "e1", b"x", 10)
    copy.resume()
    copy.commit("park", take=1, due_ms=T0 + 9)
    assert world.timers() == {"wr": T0 + 9}
    await world.store.send_event("r", "e2", b"x", 10)
    copy.resume()
    copy.commit("park", take=1)
    assert (world.timers(), world.field("r", "timer")) == ({}, "")


@pytest.mark.parametrize("want", ["block", *TERMINAL])
async def test_an_end_or_a_block_removes_the_timer(world: World, want: str) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", due_ms=T0 + 5)
    await world.store.send_event("r", "e1", b"x", 10)
    copy.resume()
    copy.commit(want, take=1)
    assert world.timers() == {}


@pytest.mark.parametrize("waiting", [PAGE, PAGE + 1, 3 * PAGE])
async def test_more_messages_than_a_page_are_all_taken(world: World, waiting: int) -> None:
    copy = await world.bring("running")
    assert copy
    for i in range(waiting):
        await world.store.send_event("r", f"e{i}", b"x", 1_000)
    copy.inbox = copy.commit("go")[2]
    taken = 0
    while world.inbox():
        known = len(copy.inbox)
        assert known, "a commit answered with nothing though messages wait"
        taken += known
        reply = copy.commit("park", take=known)
    assert reply[0] == Answer.PARKED
    assert taken == waiting
    assert len(world.journal()) == 1 + waiting


async def test_takes_beyond_the_page_of_one_commit(world: World) -> None:
    """The first page came with the claim, another with a nudge: all of them go into one commit."""
    copy = await world.bring("running")
    assert copy
    for i in range(PAGE + 50):
        await world.store.send_event("r", f"e{i}", b"x", 1_000)
    copy.inbox = world.inbox()
    assert copy.commit("park", take=PAGE + 50)[0] == Answer.PARKED


async def test_the_body_sets_fields_of_its_record(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", sets=["waiting", "sleep until noon", "context", b"\x91\xc0\xff"])
    assert world.field("r", "waiting") == "sleep until noon"
    assert world.server.hget(world.keys.run("r"), "context") == b"\x91\xc0\xff"


async def test_walks_travel_with_the_commit(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"Rcancel"], walks=[("kr/c", b"0 because"), ("kr/d", b"0 too")])
    assert world.walks() == {"kr/c": "0 because", "kr/d": "0 too"}


async def test_an_end_with_a_cancel_waiting_does_not_end(world: World) -> None:
    """A promised cancel is kept, whatever the body returns."""
    copy = await world.bring("running")
    assert copy
    assert (await world.store.cancel_run("r", "why", "t1", 1_000))[0]
    reply = copy.commit("completed", [b"R1"], payload=b"out")
    assert reply[:3] == [Answer.OK, T0, [b"M1 %d Xwhy" % T0]]
    assert world.status() == "running"
    assert copy.commit("cancelled", take=1, payload=b"why")[0] == Answer.ENDED
    assert (world.status(), world.timers()) == ("cancelled", {})


async def test_an_end_with_an_event_waiting_ends(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await world.store.send_event("r", "e", b"x", 10)
    assert copy.commit("completed", payload=b"out")[0] == Answer.ENDED
    assert (world.status(), world.inbox()) == ("completed", [])


@pytest.mark.parametrize("want", TERMINAL)
async def test_an_end_writes_the_outcome_once(world: World, want: str) -> None:
    await world.start(client="c1 c2")
    copy = world.claim()
    world.now = T0 + 7
    reply = copy.commit(want, [b"Rlast"], payload=b"the\nout\x00put")
    assert reply == [Answer.ENDED, T0 + 7, [], b"c1 c2", b""]
    assert world.journal() == [b"Sinput", b"Rlast", b"Z%d %s\nthe\nout\x00put" % (T0 + 7, want.encode())]
    assert (world.status(), world.entry(), world.field("r", "finished")) == (want, "", str(T0 + 7))
    assert 0 < world.server.pttl(world.keys.run("r")) <= 86_400_000
    assert 0 < world.server.pttl(world.keys.journal("r")) <= 86_400_000


@pytest.mark.parametrize("retention", ["", "x", "-1", "1e300", "nan"])
async def test_a_damaged_retention_keeps_the_run(world: World, retention: str) -> None:
    copy = await world.bring("running")
    assert copy
    world.server.hset(world.keys.run("r"), "retention", retention)
    assert copy.commit("completed")[0] == Answer.ENDED
    assert world.server.pttl(world.keys.run("r")) == -1
