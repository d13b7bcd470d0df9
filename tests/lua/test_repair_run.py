"""repair_run and those around it: what damage is, that nothing else is taken for it, and that it is mended once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from durable_async.store.status import Answer
from durable_async.store.structure import INCURABLE
from durable_async.store.upkeep import TIMER_LEASE_MS

from .world import STATES, T0, TERMINAL, World

Damage = Callable[[World], Awaitable[None]]


def never_told(journal: object, child: str) -> bool:
    return True


async def look(world: World, *ids: str, fix: bool = False, untold: Callable[..., bool] = never_told) -> set[str]:
    """What is wrong with runs, as `kind` of run r or `id kind`."""
    links = [each for each in await world.store.sift_runs(ids or ("r",), looks_at_all=True) if each]
    found = await world.store.inspect(links, untold, may_fix=fix)
    assert all(each.is_fixed == (fix and each.kind not in INCURABLE) for each in found)
    return {each.kind if each.id == "r" else f"{each.id} {each.kind}" for each in found}


async def mend(world: World, *kinds: str, ids: tuple[str, ...] = ("r",)) -> None:
    """It is found, mended by one look, and then all is well."""
    before = world.snapshot()
    assert await look(world, *ids) == set(kinds)
    assert world.snapshot() == before, "to look changes nothing"
    assert await look(world, *ids, fix=True) == set(kinds)
    after = world.snapshot()
    assert await look(world, *ids, fix=True) == set()
    assert world.snapshot() == after
    for kind in kinds:
        name = kind.rpartition(" ")[2]
        assert int(world.server.hget(world.keys.meta, f"fixed:{name}") or 0) >= 1


def the_queue(world: World) -> list[tuple[str, str]]:
    return world.stream(world.keys.queue("q"))


# ---------------------------------------------------------------------- nothing is wrong


@pytest.mark.parametrize("state", STATES)
async def test_nothing_is_wrong_in_any_state(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    assert await look(world, fix=True) == set()
    assert world.snapshot() == before


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("absent", *TERMINAL, "pending", "delayed")])
async def test_nothing_is_wrong_with_a_run_that_was_cancelled(world: World, state: str) -> None:
    await world.bring(state)
    await world.store.cancel_run("r", "why", "t", 1_000)
    assert await look(world, fix=True) == set()


async def test_nothing_is_wrong_with_an_entry_on_its_way(world: World) -> None:
    """Undelivered, just read, woken, nudged, handed back, put off, in another worker's hands."""
    await world.start()
    assert await look(world) == set()
    world.read("A")
    assert await look(world) == set()
    copy = world.claim("A")
    await world.store.send_event("r", "e1", b"x", 10)
    assert await look(world) == set()
    copy.inbox = world.inbox()
    copy.commit("park", take=1, due_ms=T0 + 5)
    assert await look(world) == set(), "the old entry is not acked yet"
    await world.store.send_event("r", "e2", b"x", 10)
    assert await look(world) == set(), "its timer is still there"
    world.read("A")
    copy.resume()
    await world.store.release_entry("r", world.keys.worker("A"), "q", copy.entry, delay_ms=7)
    assert await look(world) == set()
    world.now = T0 + 7
    await world.store.fire_timers(["dr", "wr"])
    assert await look(world) == set()


async def test_nothing_is_wrong_with_a_timer_that_is_handed_out(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", due_ms=T0 + 5)
    world.now = T0 + 6
    assert (await world.store.poll_due(10))[1] == ["wr"]
    assert world.timers() == {"wr": T0 + 6 + TIMER_LEASE_MS}
    assert await look(world) == set()


@pytest.mark.parametrize("want", ["go", "park"])
async def test_nothing_is_wrong_while_a_child_settles(world: World, want: str) -> None:
    await world.start("p")
    parent, child = world.family()
    parent.commit(want, sets=["waiting", "child p/c"])
    assert await look(world, "p", "p/c") == set()
    child.commit("failed", payload=b"boom")
    assert await look(world, "p", "p/c") == set()
    if want == "park":
        parent.resume()
    parent.inbox = world.inbox("p")
    parent.commit("park", take=1, due_ms=T0 + 5)
    told = lambda journal, child: False  # noqa: E731
    assert await look(world, "p", "p/c", untold=told) == set(), "it waits to call the child again"


async def test_nothing_is_wrong_while_a_cancel_goes_down_a_tree(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    await world.store.cancel_run("p", "why", "t", 1_000)
    parent.commit("go", [b"Rcleanup"], children=[world.child("p/d", mode="c")])
    for _ in range(2):
        assert await look(world, "p", "p/c", "p/d") == set()
        await world.store.cancel_run("p/c", "ancestor p", "walk:p", 1_000)
        await world.store.advance_walk("xp", "0", "")
    child.inbox = world.inbox("p/c")
    child.commit("cancelled", take=1)
    assert await look(world, "p", "p/c", "p/d") == set(), "what cleanup starts later lives"


async def test_nothing_is_wrong_with_one_that_compensates(world: World) -> None:
    """No grace ends it, and no cancel reaches it."""
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("go", [b"Rundo"], sets=["saga", "undoing"])
    await world.store.cancel_run("p", "why", "t", 1_000)
    await world.store.cancel_run("p/c", "ancestor p", "walk:p", 1_000)
    await world.store.advance_walk("xp", "0", "")
    parent.commit("go", [b"Rundo"], sets=["saga", "pending"])
    for _ in range(2):
        assert await look(world, "p", "p/c") == set()
        world.now = T0 + 1_000
        assert not (await world.store.settle_run("p", "grace", "cancelled", b"why"))[0]


async def test_nothing_is_wrong_while_a_tree_gets_its_time_to_live(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c", notify=False)])
    grandchild = world.claim("A", "p/c/x")
    child.commit("completed")
    ids = ("p", "p/c", "p/c/x")
    assert await look(world, *ids) == set()
    parent.commit("completed")
    assert await look(world, *ids) == set()
    await world.store.expire_children("ep", "0", "", ["p/c"], 1_000)
    assert await look(world, *ids) == set()
    await world.store.expire_children("ep/c", "0", "", ["p/c/x"], 1_000)
    assert await look(world, *ids) == set()
    grandchild.commit("completed")
    assert await look(world, *ids) == set()


@pytest.mark.parametrize("retention", ["", "-1", "x"])
async def test_what_is_kept_for_ever_is_no_damage(world: World, retention: str) -> None:
    await world.start()
    world.server.hset(world.keys.run("r"), "retention", retention)
    world.claim().commit("completed")
    assert await look(world) == set()
    assert await world.store.sift_runs(["r"]) == [None]


# ---------------------------------------------------------------------- entries


@pytest.mark.parametrize("how", ["deleted", "acked", "trimmed", "no stream", "no name", "forged", "consumer deleted"])
@pytest.mark.parametrize("state", ["pending", "ready", "running"])
async def test_an_entry_that_is_gone(world: World, state: str, how: str) -> None:
    copy = await world.bring(state)
    world.read("A")
    entry, epoch = world.entry(), world.field("r", "epoch") or "0"
    stream = world.store.source_key(entry, "A", "q")
    if how == "deleted":
        world.server.xdel(stream, entry[1:])
    elif how == "acked":
        world.server.xack(stream, "workers", entry[1:])
    elif how == "trimmed":
        world.server.xtrim(stream, 0)
    elif how == "no stream":
        world.server.delete(stream)
    elif how == "consumer deleted":
        world.server.xgroup_delconsumer(stream, "workers", "A")
    else:
        world.server.hset(world.keys.run("r"), "entry", "" if how == "no name" else "Q1-1")
    await mend(world, "entry_gone")
    assert world.status() == "ready" and world.entry().startswith("Q")
    assert world.field("r", "epoch") in ((str(int(epoch) + 1),) if state == "running" else (epoch, ""))
    if state == "running" and copy:
        assert copy.commit("go")[0] == Answer.FENCED
        if how != "no stream":
            assert ("n", "r") in world.stream(world.keys.worker("A")), "who still works on it is told to look"
    if how == "no stream":
        world.server.xgroup_create(world.keys.queue("q"), "workers", "0", mkstream=True) if state != "ready" else None
    assert ("r", world.entry()) in world.read("B")
    again = world.claim("B", nonce="b")
    assert again.commit("completed", payload=b"out")[0] == Answer.ENDED
    assert int(world.field("r", "claims")) <= 1


async def test_a_group_that_is_gone_is_made_anew_by_whoever_reads(world: World) -> None:
    await world.start()
    world.read("A")
    world.server.xgroup_destroy(world.keys.queue("q"), "workers")
    assert await look(world) == set()


@pytest.mark.parametrize("state", ["delayed", "parked", "blocked", *TERMINAL])
async def test_an_entry_that_nobody_needs(world: World, state: str) -> None:
    await world.bring(state)
    entry: bytes = world.server.xadd(world.keys.queue("q"), {"r": "r"})  # type: ignore[assignment]
    world.server.hset(world.keys.run("r"), "entry", b"Q" + entry)
    await mend(world, "entry_left")
    assert (world.status(), world.entry(), the_queue(world)) == (state, "", [])


# ---------------------------------------------------------------------- waits


async def test_parked_with_a_message(world: World) -> None:
    copy = await world.bring("ready")
    assert copy
    world.server.hset(world.keys.run("r"), mapping={"status": "parked", "entry": ""})
    world.server.xtrim(world.keys.worker("A"), 0)
    await mend(world, "message_left")
    assert world.read("A") == [("r", world.entry())]
    assert copy.resume() == [Answer.OK, [b"M1 %d Enow" % T0]]


async def test_messages_that_nobody_counts(world: World) -> None:
    """Put there by hand: the run would be woken, not be shown them, and park again."""
    await world.bring("parked")
    world.server.rpush(world.keys.inbox("r"), b"M1 1 Ex")
    await mend(world, "inbox_left")
    assert world.status() == "parked"


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("is_there", [True, False])
async def test_parked_on_a_child_that_has_ended(world: World, state: str, is_there: bool) -> None:
    await world.start("p")
    parent, child = world.family()
    parent.commit("park", sets=["waiting", "child p/c, event go"])
    world.ack(parent)
    child.commit(state, payload=b"out")
    # As if the message and the wake-up had been lost, and nothing else.
    world.server.delete(world.keys.inbox("p"))
    world.server.xtrim(world.keys.worker("A"), 0)
    world.server.hset(world.keys.run("p"), mapping={"status": "parked", "entry": "", "mail": 0})
    if not is_there:
        world.server.delete(world.keys.run("p/c"))
    assert await look(world, "p", untold=lambda journal, child: False) == set()
    await mend(world, "p child_settled", ids=("p",))
    assert parent.resume()[0] == Answer.OK
    letter = {"completed": b"c", "failed": b"f", "cancelled": b"x"}[state]
    told = b"C%sp/c\nout" % letter if is_there else b"Cxp/c\nthe record of run p/c is gone"
    assert parent.inbox == [b"M1 %d %s" % (T0, told)]


async def test_a_journal_that_has_grown_since_it_was_read_proves_nothing(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    parent.commit("park", sets=["waiting", "child p/c"])
    child.commit("completed")
    parent.resume()
    parent.commit("park", take=1)
    (links,) = await world.store.sift_runs(["p"])
    assert links
    before = world.snapshot()
    call = world.store._look(links, ["p/c"], len(world.journal("p")) - 1, may_fix=True)
    assert world.caller.execute(call) == [Answer.OK, len(world.journal("p")), [], [b"p/c"]]
    assert world.snapshot() == before


async def test_parked_on_a_child_that_would_not_tell(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    parent.commit("park", sets=["waiting", "child p/c"])
    await mend(world, "p child_silent", ids=("p",))
    child.commit("completed", payload=b"out")
    assert parent.resume() == [Answer.OK, [b"M1 %d Ccp/c\nout" % T0]]


@pytest.mark.parametrize("how", ["gone", "late"])
@pytest.mark.parametrize("letter", ["w", "d", "g"])
async def test_a_timer_that_is_gone(world: World, letter: str, how: str) -> None:
    if letter == "d":
        await world.bring("delayed")
    else:
        copy = await world.bring("running")
        assert copy
        if letter == "g":
            await world.store.cancel_run("r", "why", "t", 1_000)
        else:
            copy.commit("park", due_ms=T0 + 1_000)
    assert world.timers() == {f"{letter}r": T0 + 1_000}
    if how == "gone":
        world.server.delete(world.keys.timers)
    else:
        world.server.zadd(world.keys.timers, {f"{letter}r": T0 + 10**9})
    await mend(world, "timer_gone")
    assert world.timers() == {f"{letter}r": T0 + 1_000}


async def test_a_runs_own_time(world: World) -> None:
    await world.start(timeout_ms=1_000)
    assert await look(world) == set()
    world.claim()
    world.now = T0 + 1_000
    await world.store.settle_run("r", "timeout", "failed", b"", bound=60_000)
    assert world.timers() == {"rr": T0 + 61_000}
    assert await look(world) == set(), "its owner may end it until then"
    world.server.delete(world.keys.timers)
    await mend(world, "timer_gone")
    assert world.timers() == {"rr": T0 + 1_000}


async def test_parked_on_a_child_that_an_earlier_life_asked_for(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    parent.commit("park", sets=["waiting", "child p/c", "gen", 2])
    await mend(world, "p child_silent", ids=("p",))
    child.commit("completed", payload=b"out")
    assert parent.resume() == [Answer.OK, [b"M1 %d Ccp/c\nout" % T0]]


async def test_a_delay_without_a_time_is_over(world: World) -> None:
    await world.bring("delayed")
    world.server.hdel(world.keys.run("r"), "timer")
    world.server.delete(world.keys.timers)
    assert await look(world, fix=True) == {"timer_gone"}
    assert world.timers() == {"dr": T0}


@pytest.mark.parametrize("state", ["absent", *TERMINAL])
async def test_timers_without_a_run(world: World, state: str) -> None:
    await world.bring(state)
    world.server.zadd(world.keys.timers, {f"{letter}r": T0 + 10**9 for letter in "wdgr"} | {"wx": T0})
    await mend(world, "timer_left")
    assert world.timers() == {"wx": T0}


async def test_a_grace_without_a_cancel(world: World) -> None:
    await world.bring("running")
    world.server.zadd(world.keys.timers, {"gr": T0 + 10**9, "dr": T0 + 10**9})
    await mend(world, "timer_left")
    assert world.timers() == {}


@pytest.mark.parametrize("state", STATES)
async def test_the_list_of_blocked_runs(world: World, state: str) -> None:
    await world.bring(state)
    if state == "blocked":
        world.server.delete(world.keys.blocked)
    else:
        world.server.hset(world.keys.blocked, "r", "w")
    await mend(world, "block_gone" if state == "blocked" else "block_left")
    assert world.server.hgetall(world.keys.blocked) == ({b"r": b"w"} if state == "blocked" else {})


# ---------------------------------------------------------------------- trees, ends, lists


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_walk_that_is_gone(world: World, how: str) -> None:
    await world.start("p")
    parent, _ = world.family(notify=False)
    if how == "cancel":
        await world.store.cancel_run("p", "why", "t", 1_000)
        parent.inbox = world.inbox("p")
        parent.commit("cancelled", take=1)
    else:
        await world.store.settle_run("p", "terminate", "cancelled", b"why")
    world.server.delete(world.keys.walks)
    world.server.hset(world.keys.walks, "ep", "0")
    await mend(world, "p/c cancel_gone", ids=("p", "p/c"))
    assert world.walks() == {"ep": "0", "xp": "0"}


async def test_what_an_ended_run_has_left(world: World) -> None:
    await world.bring("completed")
    world.server.rpush(world.keys.inbox("r"), b"M1 1 Ex")
    await mend(world, "inbox_left")
    assert world.inbox() == []


@pytest.mark.parametrize("kids", [0, 2])
async def test_an_end_without_a_time_to_live(world: World, kids: int) -> None:
    await world.bring("completed")
    world.server.hset(world.keys.run("r"), "kids", kids)
    world.server.persist(world.keys.run("r"))
    await mend(world, "ttl_gone")
    assert 0 < world.server.pttl(world.keys.run("r")) <= 86_400_000  # type: ignore[operator]
    assert world.walks() == ({"er": "0"} if kids else {})


async def test_a_list_of_children_that_stays(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("completed")
    parent.commit("completed")
    assert await look(world, "p") == set(), "the walk is on its way"
    world.server.delete(world.keys.walks)
    ttl = world.server.pexpiretime(world.keys.run("p"))
    await mend(world, "p ttl_gone", ids=("p",))
    assert world.walks() == {"ep": "0"} and world.server.pexpiretime(world.keys.run("p")) == ttl


async def test_a_child_that_outlives_its_tree(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("completed")
    parent.commit("completed")
    world.server.delete(world.keys.walks)
    await mend(world, "p/c ttl_gone", ids=("p/c",))
    world.server.delete(world.keys.run("p"))
    world.server.persist(world.keys.run("p/c"))
    await mend(world, "p/c ttl_gone", ids=("p/c",))


@pytest.mark.parametrize("state", [state for state in STATES if state != "absent"])
async def test_a_run_that_is_not_listed(world: World, state: str) -> None:
    await world.bring(state)
    world.server.delete(world.keys.index)
    await mend(world, "index_gone")
    assert world.server.zrange(world.keys.index, 0, -1, withscores=True) == [(b"r", T0)]


async def test_a_priority_that_no_worker_knows_of(world: World) -> None:
    await world.start(queue="q:5")
    world.server.delete(world.keys.gates)
    await mend(world, "lane_gone")
    assert world.server.hgetall(world.keys.gates) == {b"vq:5": b"1"}


async def test_what_is_left_of_a_run_without_a_record(world: World) -> None:
    k = world.keys
    world.server.rpush(k.journal("r"), b"S")
    world.server.rpush(k.inbox("r"), b"M1 1 Ex")
    world.server.zadd(k.children("r"), {"r/c": 1})
    world.server.hset(k.walks, "er", "0")
    await mend(world, "orphan")
    assert world.server.pttl(k.children("r")) == -1, "a walk still needs it"
    world.server.delete(k.walks)
    await mend(world, "orphan")
    assert all(0 < world.server.pttl(key) <= 86_400_000 for key in (k.journal("r"), k.inbox("r"), k.children("r")))  # type: ignore[operator]


@pytest.mark.parametrize("damage", ["no outcome", "strange status", "wrong type", "broken inbox", "broken queue"])
async def test_what_only_a_person_can_mend(world: World, damage: str) -> None:
    await world.bring("completed" if damage == "no outcome" else "ready")
    if damage == "no outcome":
        world.server.rpop(world.keys.journal("r"))
    elif damage == "strange status":
        world.server.hset(world.keys.run("r"), "status", "confused")
    else:
        kinds = {"wrong type": world.keys.run("r"), "broken inbox": world.keys.journal("r")}
        key = kinds.get(damage, world.keys.queue("q"))
        if damage == "broken queue":
            world.server.hset(world.keys.run("r"), "entry", "Q1-1")
        world.server.delete(key)
        world.server.set(key, "planted")
    before = world.snapshot()
    assert await look(world, fix=True) == {"outcome_gone" if damage == "no outcome" else "unreadable"}
    assert world.snapshot() == before


async def test_what_has_changed_since_the_look_is_left_alone(world: World) -> None:
    await world.bring("running")
    (links,) = await world.store.sift_runs(["r"])
    world.server.hset(world.keys.run("r"), mapping={"owner": "B", "entry": ""})
    before = world.snapshot()
    assert links and await world.store.inspect([links], never_told, may_fix=True) == []
    assert world.snapshot() == before


async def test_several_kinds_at_once_in_one_script(world: World) -> None:
    await world.bring("running")
    world.server.xtrim(world.keys.queue("q"), 0)
    world.server.delete(world.keys.index)
    world.server.hset(world.keys.blocked, "r", "w")
    world.server.hset(world.keys.meta, "fixed:entry_gone", "garbage")
    await mend(world, "entry_gone", "index_gone", "block_left")
    assert world.server.hget(world.keys.meta, "fixed:entry_gone") == b"1"
