"""Cases of test_error_atomicity.py: queues that are paused, limited, or have priorities."""

from __future__ import annotations

from typing import Any

from durable_async.store.commands import Commit, Standing

from .world import T0, World


async def claim_beside_a_paused_queue(world: World) -> None:
    await world.bring("ready", "a")
    await world.bring("pending", "b")
    await world.store.pause_queue("other")
    entries = [(id, world.entry(id)) for id in "ab"]
    world.caller.is_dry = True
    world.run(world.store.claim_runs, "B", "n2", 5, entries)


async def resume_beside_a_paused_queue(world: World) -> None:
    copies = [await world.bring("ready", id) for id in "ab"]
    batch = [(c.id, world.entry(c.id), c.epoch, c.nonce, c.seq) for c in copies if c]
    await world.store.pause_queue("other")
    world.caller.is_dry = True
    world.run(world.store.resume_runs, batch)


async def _change(world: World, method: str, queue: str) -> None:
    """A call after its read, which is not what is looked at."""
    last = await world.store.turn(queue)

    async def known(queue: str) -> str:
        return last

    world.store.turn = known  # type: ignore[method-assign]
    world.caller.is_dry = True
    await getattr(world.store, method)(queue)


async def pause(world: World) -> None:
    await _change(world, "pause_queue", "q")


async def go_on(world: World) -> None:
    await world.store.pause_queue("q")
    await _change(world, "resume_queue", "q")


async def start_with_a_priority(world: World) -> None:
    world.caller.is_dry = True
    await world.start(queue="q:5")


async def commit_children_with_a_priority(world: World) -> None:
    await world.start("p")
    parent = world.claim("A", "p")
    children = [world.child("p/a", queue="q:5", mode="v"), world.child("p/b", queue="q:1", mode="v", delay_ms=5)]
    world.caller.is_dry = True
    parent.commit("go", [b"R1"], children=children)


async def _limited(world: World, *ids: str, limits: str = "1 0 0 1") -> None:
    """A queue of one place: the first has it, the others wait in the room and behind their key."""
    await world.store.limit_queue("q", limits)
    for id in ids:
        await world.start(id, key="k" if id in "ab" else "")
    world.read("A")
    for id in ids:
        world.run(world.store.enter_queue, id, world.keys.queue("q"), "q", world.entry(id))


async def enter(world: World) -> None:
    await _limited(world, "a", "c", limits="3 5 1000 1")
    await world.start("d", key="x")
    world.caller.is_dry = True
    world.run(world.store.enter_queue, "d", world.keys.queue("q"), "q", world.entry("d"))


async def enter_the_room(world: World) -> None:
    await _limited(world, "a", "c", limits="1 5 1000 1")
    await world.start("d", key="x")
    world.caller.is_dry = True
    world.run(world.store.enter_queue, "d", world.keys.queue("q"), "q", world.entry("d"))


async def enter_behind(world: World) -> None:
    await _limited(world, "a", "c")
    await world.start("b", key="k")
    world.caller.is_dry = True
    world.run(world.store.enter_queue, "b", world.keys.queue("q"), "q", world.entry("b"))


async def commit_leaving_a_place(world: World) -> None:
    await _limited(world, *"abc")
    replies: list[Any] = []
    world.store.claim_runs("A", "n1", 5, [("a", world.entry("a"))], replies.append, entered="q")
    world.caller.is_dry = True
    commit = Commit("a", 1, "n1", 1, world.entry("a"), "completed", [("R", b"R1")], slot_of="q")
    world.run(world.store.commit_run, commit)


async def cancel_in_the_room(world: World) -> None:
    await _limited(world, *"abc")
    world.caller.sent.clear()
    await world.store.standing("c")
    world.caller.is_dry = True
    keys, parent = world.store._outside("c", Standing("ready", "", "q"))
    world.eval("cancel_run", keys, (T0, "c", "why", "t", 50, "", *parent, "", "q"))


async def release_what_was_let_in(world: World) -> None:
    await _limited(world, *"ac")
    world.server.hset(world.keys.room("q")[4], "c", "Q1-1\n")
    world.caller.is_dry = True
    await world.store.release_entry("c", world.keys.queue("q"), "q", "Q1-1")


async def release_with_a_place_delayed(world: World) -> None:
    await _limited(world, *"abc")
    world.caller.is_dry = True
    await world.store.release_entry("a", world.keys.queue("q"), "q", world.entry("a"), delay_ms=5)


async def admit(world: World) -> None:
    await _limited(world, *"abc")
    world.server.hset(world.keys.gates, "lq", "5 1 9 0")
    world.server.zadd(world.keys.timers, {"qq": T0})
    world.caller.is_dry = True
    await world.store.admit_runs("q")


async def limit(world: World) -> None:
    await _limited(world, *"abc")
    world.caller.is_dry = True
    await world.store.limit_queue("q", "5 1 9 0")


async def go_on_limited(world: World) -> None:
    await _limited(world, *"abc")
    await world.store.pause_queue("q")
    world.server.hset(world.keys.gates, "lq", "5 1 9 0")
    await _change(world, "resume_queue", "q")


async def leave(world: World) -> None:
    await _limited(world, *"abc")
    world.server.hset(world.keys.run("a"), "status", "completed")
    world.caller.is_dry = True
    await world.store.leave_queue("a", "k", "q")


CASES = (
    claim_beside_a_paused_queue,
    resume_beside_a_paused_queue,
    pause,
    go_on,
    start_with_a_priority,
    commit_children_with_a_priority,
    enter,
    enter_the_room,
    enter_behind,
    commit_leaving_a_place,
    cancel_in_the_room,
    release_what_was_let_in,
    release_with_a_place_delayed,
    admit,
    limit,
    go_on_limited,
    leave,
)
