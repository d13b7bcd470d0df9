"""A large input that many children of one parent have is stored once, and nobody notices."""

from __future__ import annotations

from durable_async import Durable, Status

from . import flows_shared as flows
from .harness import World

FLOWS = [flows]
COUNT = 40


def stored(world: World) -> int:
    """Bytes of everything that journals and shared inputs hold."""
    size = 0
    for key in world.raw.scan_iter(world.keys.base + "*", count=1_000):
        kind = world.raw.type(key)
        if kind == b"list":
            size += sum(len(line) for line in world.raw.lrange(key, 0, -1))
        elif kind == b"hash" and b":shared:" in key:
            size += sum(len(value) for value in world.raw.hvals(key))
    return size


async def test_one_equal_input_is_stored_once(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fans_out, COUNT, id="p")
        assert await world.result(handle) == [len(flows.LARGE)] * COUNT
    assert stored(world) < 4 * len(flows.LARGE) + 500 * COUNT
    children = await world.durable.list_children("p")
    assert [child.input for child in children] == [{"text": flows.LARGE}] * COUNT
    history = await world.durable.history(children[0].id)
    assert history[0].kind == "started"


async def test_a_tree_stores_it_once(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fans_out_twice, 10, id="p")
        assert await world.result(handle) == [4 * len(flows.LARGE)] * 10
    assert stored(world) < 4 * len(flows.LARGE) + 500 * 50
    for parent in ("p", "p/c3"):
        assert {child.input["text"] for child in await world.durable.list_children(parent)} == {flows.LARGE}


async def test_one_child_of_each_is_enough(world: World) -> None:
    """What its parent shares with others, a child alone shares with them, too."""
    async with world.workers():
        handle = await world.durable.start(flows.fans_out_to_chains, 20, id="p")
        assert await world.result(handle) == [len(flows.LARGE)] * 20
    assert stored(world) < 4 * len(flows.LARGE) + 500 * 40


async def test_inputs_that_differ_stay_what_they_are(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fans_out_differing, 9, id="p")
        assert await world.result(handle) == [len(flows.LARGE) + n // 2 for n in range(9)]


async def test_a_child_of_such_an_input_is_forked(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.fans_out, 3, id="p")
        await world.result(handle)
        fork = await world.durable.fork("p/c1", from_step="length")
        assert await world.result(fork) == len(flows.LARGE)
        assert (await fork.info()).input == {"text": flows.LARGE}


async def test_children_outlive_their_parent_and_what_they_shared(world: World) -> None:
    """The tree is given its time to live while they still wait: each of them has a copy by then."""
    brief = Durable(world.url, workflows=[flows], namespace=world.namespace, retention=0.3)
    async with brief, world.workers(lease=0.5):
        await brief.start(flows.leaves_waiting, world.ledger.path, id="p")
        for n in range(3):
            await world.until_status(f"p/c{n}", Status.WAITING)
        await world.until(lambda: not world.raw.exists(world.keys.run("p")), "the parent is gone")
        await world.until(lambda: not world.raw.exists(world.keys.shared("p")), "what they shared is gone")
    async with world.workers(lease=0.5):
        # Workers that have never seen them.
        for n in range(3):
            await world.durable.send_event(f"p/c{n}", "go", n)
        await world.until(lambda: len(world.ledger.lines()) >= 3, "all have gone on")
        await world.settled()
    world.assert_ran(*(f"{n} {len(flows.LARGE)}" for n in range(3)))


async def test_what_is_below_outlives_a_tree_of_several_levels(world: World) -> None:
    """Below a child that has ended, and below one that goes on and needs it again after the root has gone."""
    brief = Durable(world.url, workflows=[flows], namespace=world.namespace, retention=0.3)
    waiting = [f"p/{child}/g{n}" for child in ("over", "on") for n in (0, 1)]
    async with brief, world.workers(lease=0.5):
        await brief.start(flows.leaves_on_two_levels, world.ledger.path, id="p")
        for id in [*waiting, "p/on"]:
            await world.until_status(id, Status.WAITING)
        for id in ("p", "p/over"):
            await world.until(lambda id=id: not world.raw.exists(world.keys.shared(id)), f"what {id} held is gone")  # type: ignore[misc]
        await world.until(lambda: not world.raw.exists(world.keys.run("p/over")), "the first child is gone")
    async with world.workers(lease=0.5):
        # Workers that have never seen them.
        for n, id in enumerate(waiting):
            await world.durable.send_event(id, "go", n)
        await world.durable.send_event("p/on", "go", None)
        await world.until(lambda: len(world.ledger.lines()) >= 5, "all have gone on")
        await world.settled()
    world.assert_ran(*(f"{n} {len(flows.LARGE)}" for n in range(4)), "late")


async def test_an_input_that_is_lost_blocks_the_child_and_says_so(world: World) -> None:
    given = {"text": flows.LARGE, "ledger": world.ledger.path}
    async with world.workers():
        # It does not end: an end would give each of its children a copy.
        await world.durable.start(flows.leaves_and_waits, given, id="p")
        for id in ("p", "p/g0", "p/g1"):
            await world.until_status(id, Status.WAITING)
    world.raw.delete(world.keys.shared("p"))
    await world.durable.send_event("p/g0", "go", 0)

    async def is_blocked() -> bool:
        info = await world.durable.get("p/g0")
        return info.waiting_for == "data: the input of run p/g0 is incomplete"

    async with world.workers():
        await world.until(is_blocked, "it is blocked, and says why")
    await world.durable.terminate("p")
