"""repair_run: waits for several children at once, and what is kept for ever."""

from __future__ import annotations

from durable_async.store.status import Answer

from .test_repair_run import look, mend
from .world import T0, World


async def test_parked_on_two_children_that_have_ended(world: World) -> None:
    """Each is told with a number of its own, and the run is woken once."""
    await world.start("p")
    parent, first = world.family()
    parent.commit("go", [b"R2"], children=[world.child("p/d")])
    second = world.claim("A", "p/d")
    parent.commit("park", sets=["waiting", "child p/c, child p/d"])
    world.ack(parent)
    first.commit("completed", payload=b"one")
    second.commit("completed", payload=b"two")
    # As if the messages and the wake-up had been lost, and nothing else.
    world.server.delete(world.keys.inbox("p"))
    world.server.xtrim(world.keys.worker("A"), 0)
    world.server.hset(world.keys.run("p"), mapping={"status": "parked", "entry": "", "mail": 0})
    await mend(world, "p child_settled", ids=("p",))
    assert world.read("A") == [("p", world.entry("p"))]
    assert world.field("p", "mail") == "2"
    assert parent.resume()[0] == Answer.OK
    assert parent.inbox == [b"M1 %d Ccp/c\none" % T0, b"M2 %d Ccp/d\ntwo" % T0]


async def test_a_tree_that_is_kept_for_ever_keeps_its_children(world: World) -> None:
    await world.start("p")
    parent, child = world.family(notify=False)
    child.commit("completed")
    world.server.hset(world.keys.run("p"), "retention", "-1")
    parent.commit("completed")
    assert world.status("p") == "completed" and world.server.pttl(world.keys.run("p")) == -1
    world.server.delete(world.keys.walks)
    assert await look(world, "p/c") == set()
