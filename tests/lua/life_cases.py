"""Cases of test_error_atomicity: the transitions by which a run id lives again."""

from __future__ import annotations

from .world import DAY_MS, World, outside


async def failed(world: World) -> None:
    """An ended tree whose root has failed."""
    await world.start("p")
    parent, child = world.family()
    child.commit("failed", payload=b"x")
    parent.commit("go")
    parent.commit("failed", take=1, payload=b"x")


async def retry(world: World) -> None:
    await failed(world)
    k = world.keys
    keys = (k.run("p"), k.journal("p"), k.children("p"), k.timers, k.walks, k.queue("q"), k.shared("p"), k.shared("p"))
    world.caller.is_dry = True
    world.eval("retry_run", keys, (world.now, "p", "t", 1_000, "q"))


async def persist(world: World) -> None:
    await failed(world)
    await world.store.expire_children("ep", "0", "", ["p/c"], DAY_MS)
    world.server.hset(world.keys.walks, "pp", "0")
    world.caller.is_dry = True
    await world.store.persist_children("pp", "0", "", ["p/c"])


async def fork(world: World) -> None:
    run = world.new("f", timeout_ms=1_000, token="t")
    await world.store.fork_run(run, ["gen", 2], [b"Sinput", b"R1"])
    world.server.delete(world.keys.run("f"))
    world.caller.sent.append(world.caller.sent[-1])
    world.caller.is_dry = True


async def remove(world: World) -> None:
    await failed(world)
    world.caller.is_dry = True
    await world.store.remove_run("p/c", "p")


async def renewal(world: World) -> None:
    copy = await world.bring("running")
    copy = await world.bring("running")
    assert copy is not None
    world.caller.is_dry = True
    sets = ["gen", 2, "attempt", 2]
    copy.commit("renew", listed=[("N", b"Rpast")], payload=b"Sagain", due_ms="10 20", sets=sets, queue="q")


async def renewal_into_the_queue(world: World) -> None:
    copy = await world.bring("running")
    copy = await world.bring("running")
    assert copy is not None
    world.caller.is_dry = True
    copy.commit("renew", payload=b"Sagain", due_ms="0 20", sets=["gen", 2], queue="q")


async def cancel_of_a_renewed_child(world: World) -> None:
    """Not started in this life, with children of the last one, and a parent that keeps it: nothing expires with it."""
    await world.start("p")
    _, child = world.family()
    child.commit("go", [b"R1"], children=[world.child("p/c/x", "p/c", notify=False)])
    child.commit("renew", payload=b"Sagain", due_ms="0 0", sets=["gen", 2], queue="q")
    await outside(world, "cancel_run", "p/c", "why", "t", 5)


async def timeout(world: World) -> None:
    await world.start("r", timeout_ms=100)
    world.now += 100
    k = world.keys
    keys = (
        k.run("r"), k.journal("r"), k.inbox("r"), k.timers, k.walks, k.worker(""), k.queue("q"), k.blocked, k.inputs,
        k.questions,
    )  # fmt: skip
    world.caller.is_dry = True
    world.eval("settle_run", keys, (world.now, "r", "timeout", "failed", b"late", "", "", "", 5, ""))


LIFE_CASES = (retry, persist, fork, remove, renewal, renewal_into_the_queue, cancel_of_a_renewed_child, timeout)
