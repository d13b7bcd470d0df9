"""Whatever a script is faced with, an error leaves the keyspace as it was: there is no rollback.

Every case is a call that would write to as many keys as its script ever does. Then one key after the other is given a
wrong type, or removed; one field of a record after the other is damaged; and the memory is full.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from durable_async.store.keys import Keys
from durable_async.store.scripts import SCRIPTS

from . import cases_queues
from .client_cases import CLIENT_CASES
from .life_cases import LIFE_CASES
from .question_cases import QUESTION_CASES
from .scheduling import HOUR, NAME, known, record, tick
from .structure_cases import STRUCTURE_CASES
from .world import T0, World, outside

Prepare = Callable[[World], Awaitable[None]]
NUMBERS = (
    "epoch", "seq", "mail", "taken", "claims", "timer", "grace", "cancel_at", "kids", "retention", "answer", "created",
    "entry", "owner", "status", "inputs",
)  # fmt: skip


async def start(world: World) -> None:
    world.caller.is_dry = True
    await world.start()


async def start_delayed(world: World) -> None:
    world.caller.is_dry = True
    await world.start(delay_ms=5)


async def claim(world: World) -> None:
    await world.bring("ready", "a")
    await world.bring("pending", "b")
    entries = [(id, world.entry(id)) for id in "ab"]
    world.caller.is_dry = True
    world.run(world.store.claim_runs, "B", "n2", 5, entries)


async def resume(world: World) -> None:
    copies = [await world.bring("ready", id) for id in "ab"]
    batch = [(c.id, world.entry(c.id), c.epoch, c.nonce, c.seq) for c in copies if c]
    world.caller.is_dry = True
    world.run(world.store.resume_runs, batch)


async def _commit(world: World, want: str, **more: Any) -> None:
    """A child with a message, a timer and children of its own, all of whose effects come at once."""
    await world.start("p")
    parent, copy = world.family()
    if more.pop("is_parent_parked", True):
        parent.commit("park")
    copy.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c", notify=False)])
    world.claim("B", "p/c/x").commit("completed", payload=b"out")
    copy.commit("park", due_ms=T0 + 5)
    await world.store.send_event("p/c", "e", b"x", 10)
    copy.resume()
    new = [world.child("p/c/y", "p/c"), world.child("p/c/z", "p/c", delay_ms=5)]
    world.caller.is_dry = True
    more["shared"] = {b"fingerprint": b"input"}
    awaits = ["p/c/x", "p/c/y"]
    copy.commit(want, [b"R2"], take=1, children=new, awaits=awaits, walks=[("kx", b"0")], sets=["waiting", "x"], **more)


async def commit_go(world: World) -> None:
    await _commit(world, "go")


async def commit_end(world: World) -> None:
    await _commit(world, "completed", payload=b"out")


async def commit_end_nudging(world: World) -> None:
    await _commit(world, "completed", payload=b"out", is_parent_parked=False)


async def commit_park(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    world.caller.is_dry = True
    copy.commit("park", [b"R1"], due_ms=T0 + 5, children=[world.child("r/c", "r")], walks=[("kx", b"0")])


async def commit_block(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", sets=["timer", T0])
    world.caller.is_dry = True
    copy.commit("block", [b"R1"], sets=["waiting", "code: x"])


async def commit_end_of_root(world: World) -> None:
    await world.start("p")
    parent, _ = world.family()
    await world.store.send_event("p", "e", b"x", 10)
    parent.commit("go", sets=["timer", T0])
    world.caller.is_dry = True
    parent.commit("completed", [b"R1"])


async def commit_under_cancel(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await world.store.cancel_run("r", "why", "t", 5)
    copy.inbox = world.inbox()
    world.caller.is_dry = True
    copy.commit("park", [b"R1"], take=1, children=[world.child("r/c", "r"), world.child("r/d", "r", mode="c")])


async def unblock(world: World) -> None:
    for id in "abc":
        await world.bring("blocked", id)
    await world.store.cancel_run("c", "why", "t", 5)
    world.server.hset(world.keys.blocked, "c", "w")
    keys = [world.keys.blocked, world.keys.worker("A")]
    keys += [key for id in "abc" for key in (world.keys.run(id), world.keys.queue("q"))]
    world.caller.is_dry = True
    world.eval("unblock_runs", keys, ("A", "t", "a", "q", "b", "q", "c", "q"))


async def unblock_into_the_queue(world: World) -> None:
    await world.bring("blocked")
    world.caller.is_dry = True
    keys = (world.keys.blocked, world.keys.worker(""), world.keys.run("r"), world.keys.queue("q"))
    world.eval("unblock_runs", keys, ("", "", "r", "q"))


async def cancel(world: World) -> None:
    await world.start("p")
    parent, _ = world.family()
    parent.commit("park")
    await outside(world, "cancel_run", "p", "why", "t", 5)


async def cancel_never_started(world: World) -> None:
    await world.start("p")
    world.claim("A", "p").commit("park", [b"R1"], children=[world.child()])
    await outside(world, "cancel_run", "p/c", "why", "t", 5)


async def cancel_blocked(world: World) -> None:
    await world.bring("blocked")
    await outside(world, "cancel_run", "r", "why", "t", 5)


async def settle_blocked(world: World) -> None:
    await world.bring("blocked")
    await outside(world, "settle_run", "r", "terminate", "cancelled", b"why")


async def settle(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    parent.commit("park")
    child.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c")], sets=["timer", T0])
    await outside(world, "settle_run", "p/c", "terminate", "cancelled", b"why")


async def settle_root(world: World) -> None:
    await world.start("p")
    world.family()
    await world.store.cancel_run("p", "why", "t", 0)
    await outside(world, "settle_run", "p", "grace", "cancelled", b"why")


async def event_wakes(world: World) -> None:
    await world.bring("parked")
    await outside(world, "send_event", "r", "e", b"x", 10)


async def event_nudges(world: World) -> None:
    await world.bring("running")
    await outside(world, "send_event", "r", "e", b"x", 10)


async def release(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    world.caller.is_dry = True
    await world.store.release_entry("r", world.keys.queue("q"), "other", copy.entry)


async def release_delayed(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    world.caller.is_dry = True
    await world.store.release_entry("r", world.keys.queue("q"), "q", copy.entry, delay_ms=5)


async def release_garbage(world: World) -> None:
    await world.bring("running")
    garbage = world.server.xadd(world.keys.queue("q"), {"r": "r"}).decode()  # type: ignore[union-attr]
    world.read("B")
    world.caller.is_dry = True
    await world.store.release_entry("r", world.keys.queue("q"), "q", "Q" + garbage)


async def fire(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", due_ms=T0)
    k = world.keys
    world.caller.is_dry = True
    world.eval("fire_timer", (k.run("r"), k.timers, k.worker("A"), k.queue("q")), (T0, "wr", "A"))


async def fire_delayed(world: World) -> None:
    await world.start(delay_ms=5)
    k = world.keys
    world.caller.is_dry = True
    world.eval("fire_timer", (k.run("r"), k.timers, k.worker(""), k.queue("q")), (T0 + 5, "dr", ""))


async def poll(world: World) -> None:
    world.server.zadd(world.keys.timers, {"wr": T0})
    world.server.hset(world.keys.walks, "xp", "0")
    world.caller.is_dry = True
    world.eval("poll_due", (world.keys.timers, world.keys.walks, world.keys.gates), (T0, 10, 2_000))


async def expire(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c")])
    child.commit("completed")
    parent.commit("completed")
    world.caller.is_dry = True
    await world.store.expire_children("ep", "0", "", ["p/c"], 9_999_999)


async def advance(world: World) -> None:
    world.server.hset(world.keys.walks, "xp", "0")
    world.caller.is_dry = True
    await world.store.advance_walk("xp", "0", "")


async def close(world: World) -> None:
    world.server.hset(world.keys.workers, "A", "info")
    world.server.hset(world.keys.beats, "A", "41")
    world.caller.is_dry = True
    await world.store.close_worker("A", "41")


async def drop(world: World) -> None:
    world.caller.is_dry = True
    await world.store.drop_consumer("q", "A")


async def ack(world: World) -> None:
    await world.start()
    world.read("A")
    world.caller.is_dry = True
    world.run(world.store.ack_entries, world.keys.queue("q"), [world.entry()[1:]])


async def purge(world: World) -> None:
    await world.start("a")
    await world.start("b")
    keys = [world.keys.index, world.keys.run("a"), world.keys.run("b")]
    world.server.delete(keys[1])
    world.caller.is_dry = True
    world.eval("purge_index", keys, ("a", "b"))


async def register(world: World) -> None:
    world.caller.is_dry = True
    await world.store.register_schedule(record(cursor_ms=T0, next_ms=T0 + HOUR))


async def poll_due_schedules(world: World) -> None:
    await known(world)
    await known(world, name="other")
    world.now = T0 + HOUR
    keys = [world.keys.schedules, world.keys.schedule(NAME), world.keys.schedule("other")]
    world.caller.is_dry = True
    world.eval("poll_schedules", keys, (world.now, 2_000, NAME, "e1", "other", "e1"))


async def tick_starts(world: World) -> None:
    await known(world)
    await world.bring("completed")
    world.server.hset(world.keys.schedule(NAME), "last_run", "r")
    world.caller.is_dry = True
    await world.store.tick_schedule(tick(world, last_run="r", overlap="skip"))


async def tick_triggers(world: World) -> None:
    await known(world)
    world.caller.is_dry = True
    await world.store.tick_schedule(tick(world, want="trigger"))


async def change(world: World) -> None:
    await known(world)
    k = world.keys
    world.caller.is_dry = True
    world.eval("change_schedule", (k.schedules, k.schedule(NAME)), (T0, "pause", NAME, 9_000))


async def change_by_removing(world: World) -> None:
    await known(world)
    k = world.keys
    world.caller.is_dry = True
    world.eval("change_schedule", (k.schedules, k.schedule(NAME)), (T0, "remove", NAME, 9_000))


CASES: dict[str, Prepare] = {
    case.__name__: case
    for case in (
        *cases_queues.CASES,
        start, start_delayed, claim, resume, commit_go, commit_park, commit_end, commit_end_nudging,
        commit_end_of_root, commit_under_cancel, cancel, cancel_never_started, settle, settle_root, event_wakes,
        event_nudges, release, release_delayed, release_garbage, fire, fire_delayed, poll, expire, advance, close, drop,
        ack, purge, commit_block, cancel_blocked, settle_blocked, unblock,
        unblock_into_the_queue,
        ack, purge, register, poll_due_schedules, tick_starts, tick_triggers, change,
        change_by_removing,
        *CLIENT_CASES, *LIFE_CASES, *QUESTION_CASES, *STRUCTURE_CASES,
    )
}  # fmt: skip


def name_of(command: tuple[Any, ...]) -> str:
    return next(script.name for script in SCRIPTS.values() if script.sha == command[1])


def keys_of(command: tuple[Any, ...]) -> tuple[str, ...]:
    return command[3 : 3 + command[2]]


def attempt(world: World, command: tuple[Any, ...]) -> redis.ResponseError | None:
    """Runs the script; if it raises, nothing may have changed."""
    world.caller.is_dry = False
    before, raised = world.snapshot(), None
    try:
        world.caller.execute(command)
    except redis.ResponseError as error:
        raised = error
    assert raised is None or world.snapshot() == before, f"{raised} left traces"
    return raised


@pytest.fixture
def worlds(connection: redis.Redis, namespace: str) -> Iterator[Callable[[], World]]:
    """As many fresh namespaces as a test asks for."""
    made: list[World] = []

    def make() -> World:
        made.append(World(connection, Keys(f"{namespace}-{len(made)}")))
        return made[-1]

    yield make
    for world in made:
        keys = list(connection.scan_iter(match=world.keys.base + "*", count=1000))
        if keys:
            connection.delete(*keys)


async def prepared(make: Callable[[], World], case: str) -> tuple[World, tuple[Any, ...]]:
    world = make()
    await CASES[case](world)
    return world, world.caller.sent[-1]


async def test_every_script_has_a_case(worlds: Callable[[], World]) -> None:
    assert {name_of((await prepared(worlds, case))[1]) for case in CASES} == set(SCRIPTS)


@pytest.mark.parametrize("case", CASES)
async def test_the_case_itself_writes(worlds: Callable[[], World], case: str) -> None:
    """Or the tests below would prove nothing."""
    world, command = await prepared(worlds, case)
    before = world.snapshot()
    assert attempt(world, command) is None
    changed = world.snapshot()
    assert changed != before or case in ("drop", "sift")


@pytest.mark.parametrize("plant", ["string", "list", "hash", "missing"])
@pytest.mark.parametrize("case", CASES)
async def test_a_key_of_a_wrong_type(worlds: Callable[[], World], case: str, plant: str) -> None:
    _, command = await prepared(worlds, case)
    for index in range(len(set(keys_of(command)))):
        world, command = await prepared(worlds, case)
        key = sorted(set(keys_of(command)))[index]
        world.server.delete(key)
        if plant == "string":
            world.server.set(key, "planted")
        elif plant == "list":
            world.server.rpush(key, "planted")
        elif plant == "hash":
            world.server.hset(key, "planted", "1")
        error = attempt(world, command)
        assert plant != "missing" or error is None, f"{key}: {error}"


@pytest.mark.parametrize("value", [b"\xff garbage", b"", b"-1", b"1e400"])
@pytest.mark.parametrize("case", CASES)
async def test_a_damaged_record(worlds: Callable[[], World], case: str, value: bytes) -> None:
    """Every number of every record that the script is given."""
    for field in NUMBERS:
        world, command = await prepared(worlds, case)
        for key in keys_of(command):
            if ":run:" in key and world.server.exists(key):
                world.server.hset(key, field, value)
        attempt(world, command)


@pytest.mark.parametrize("case", CASES)
async def test_a_full_memory(worlds: Callable[[], World], case: str) -> None:
    """Refused before the first write, or carried through."""
    world, command = await prepared(worlds, case)
    world.server.config_set("maxmemory", "1")
    try:
        error = attempt(world, command)
    finally:
        world.server.config_set("maxmemory", "0")
    assert error is None or isinstance(error, redis.exceptions.OutOfMemoryError)
    assert attempt(world, command) is None


@pytest.mark.parametrize("case", CASES)
async def test_only_declared_keys_are_touched(worlds: Callable[[], World], case: str) -> None:
    world, command = await prepared(worlds, case)
    world.caller.is_dry = False
    with world.server.monitor() as monitor:
        world.caller.execute(command)
        world.server.echo(f"done {world.keys.base}")
        seen = []
        for entry in monitor.listen():
            if f"done {world.keys.base}" in entry["command"]:
                break
            if entry["client_type"] == "lua":
                seen.append(entry["command"].split(" "))
    declared = set(keys_of(command))
    touched = {word for words in seen for word in words[1:] if word.startswith(world.keys.base)}
    assert touched <= declared
    assert seen
