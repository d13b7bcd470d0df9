"""The calls that look for damage and mend it, for the tests that hold every script to writing all or nothing."""

from __future__ import annotations

from .world import T0, World


async def _inspect(world: World, id: str, child: str = "") -> None:
    links = (await world.store.sift_runs([id], looks_at_all=True))[0]
    assert links
    call = world.store._look(links, [child], len(world.journal(id)), may_fix=True)
    world.server.delete(world.keys.index, world.keys.timers)
    world.server.zadd(world.keys.index, {"other": 1})
    world.server.zadd(world.keys.timers, {"dr": 1})
    world.caller.is_dry = True
    world.caller.execute(call)


async def repair_entry(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    await world.store.cancel_run("r", "why", "t", 5)
    world.server.hset(world.keys.blocked, "r", "w")
    world.server.hset(world.keys.run("r"), mapping={"entry": "", "queue": "q:5"})
    await _inspect(world, "r")


async def repair_wait(world: World) -> None:
    await world.start("p")
    parent, child = world.family()
    other = world.child("p/d", notify=False)
    parent.commit("park", [b"R1"], children=[other], due_ms=T0 + 5, sets=["waiting", "child p/c, child p/d"])
    child.commit("completed", payload=b"out")
    world.server.delete(world.keys.inbox("p"))
    world.server.hset(world.keys.run("p"), mapping={"status": "parked", "entry": ""})
    await _inspect(world, "p", "p/c")


async def repair_cancel(world: World) -> None:
    await world.start("p")
    world.family(notify=False)
    await world.store.cancel_run("p", "why", "t", 5)
    world.server.delete(world.keys.walks)
    await _inspect(world, "p/c")


async def repair_end(world: World) -> None:
    await world.bring("completed")
    world.server.persist(world.keys.run("r"))
    world.server.hset(world.keys.run("r"), mapping={"kids": 1, "entry": "Q1-1"})
    world.server.rpush(world.keys.inbox("r"), b"M1 1 Ex")
    await _inspect(world, "r")


async def repair_orphan(world: World) -> None:
    await world.bring("completed")
    world.server.persist(world.keys.journal("r"))
    world.server.delete(world.keys.run("r"))
    world.server.hset(world.keys.blocked, "r", "w")
    await _inspect(world, "r")


async def sift(world: World) -> None:
    await world.bring("parked", "a")
    await world.bring("completed", "b")
    world.caller.is_dry = True
    world.eval("sift_runs", (world.keys.run("a"), world.keys.run("b")), ("",))


async def take(world: World) -> None:
    await world.bring("blocked")
    k = world.keys
    world.caller.is_dry = True
    world.eval("take_sweep", (k.meta, k.index, k.timers, k.blocked), (T0, 5, 10, 10))


STRUCTURE_CASES = (repair_entry, repair_wait, repair_cancel, repair_end, repair_orphan, sift, take)
