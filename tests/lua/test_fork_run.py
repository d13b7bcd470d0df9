"""fork_run: a run that begins with another one's past."""

from __future__ import annotations

from durable_async.store.status import Answer

from .world import T0, World


async def test_a_run_with_a_past(world: World) -> None:
    run = world.new("f", token="t", timeout_ms=50)
    assert await world.store.fork_run(run, ["gen", 2, "started", 5], [b"Sinput", b"R1"])
    assert world.journal("f") == [b"Sinput", b"R1"]
    assert (world.status("f"), world.field("f", "gen"), world.timers()) == ("ready", "2", {"rf": T0 + 50})
    assert world.server.pttl(world.keys.journal("f")) == -1
    before = world.snapshot()
    assert world.repeat() == [Answer.OK, T0]
    assert world.snapshot() == before
    copy = world.claim("A", "f")
    assert copy.commit("completed", payload=b"out")[0] == Answer.ENDED


async def test_an_id_in_use_and_half_a_journal(world: World) -> None:
    await world.start("f")
    k = world.keys
    keys = (k.run("f"), k.journal("f"), k.queue("q"), k.timers, k.index)
    fields = world.new("f").fields()
    assert world.eval("fork_run", keys, (T0, "f", fields, "t", 1, 0))[0] == Answer.EXISTS
    world.server.delete(k.run("f"))
    assert world.eval("fork_run", keys, (T0, "f", fields, "t", 2, 0)) == [Answer.GONE]
