"""unwatch_run: a watcher is taken off the list; more is in test_watch_run."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, World


@pytest.mark.parametrize("state", STATES)
async def test_each_state(world: World, state: str) -> None:
    await world.bring(state)
    if state != "absent":
        world.server.hset(world.keys.run("r"), "client", "c1 ~c1 c2 ~c2")
    reply = world.eval("unwatch_run", [world.keys.run("r")], ["~c1"])
    assert reply == [Answer.GONE if state == "absent" else Answer.OK]
    assert world.field("r", "client") == ("" if state == "absent" else "c1 c2 ~c2")
    after = world.snapshot()
    assert world.repeat() == reply
    assert world.snapshot() == after


async def test_one_without_a_list_gets_none(world: World) -> None:
    await world.bring("running")
    world.server.hdel(world.keys.run("r"), "client")
    before = world.snapshot()
    assert world.eval("unwatch_run", [world.keys.run("r")], ["~c1"]) == [Answer.OK]
    assert world.snapshot() == before
