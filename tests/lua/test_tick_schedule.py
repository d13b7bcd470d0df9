"""tick_schedule: one run for each tick, whoever looks, and however often."""

from __future__ import annotations

from typing import Any

import pytest

from durable_async.store.commands import LAST_MS
from durable_async.store.status import Answer

from .scheduling import HOUR, NAME, field, known, looks, run, tick
from .world import STATES, T0, TERMINAL, World

ID = f"{NAME}@1"


async def test_it_starts_the_run_and_moves_on(world: World) -> None:
    await known(world)
    world.now = T0 + HOUR
    assert await world.store.tick_schedule(tick(world)) == [Answer.OK, world.now, b"started"]
    after = world.snapshot()
    assert world.repeat() == [Answer.DONE]
    assert world.snapshot() == after
    assert world.status(ID) == "ready"
    assert world.read("A") == [(ID, world.entry(ID))]
    assert world.server.zscore(world.keys.index, ID) == world.now
    assert looks(world) == {NAME: T0 + 2 * HOUR}
    found = await world.store.schedule(NAME)
    assert found
    assert (found.cursor_ms, found.next_ms, found.last_ms, found.last_run) == (T0 + HOUR, T0 + 2 * HOUR, T0 + HOUR, ID)


async def test_three_workers_find_one_tick(world: World) -> None:
    """V8."""
    await known(world)
    answers = [(await world.store.tick_schedule(tick(world)))[0] for _ in range(3)]
    assert answers == [Answer.OK, Answer.DONE, Answer.DONE]
    assert len(world.stream(world.keys.queue("q"))) == 1


@pytest.mark.parametrize("want", ["start", "pass", "note"])
@pytest.mark.parametrize("stale", ["cursor", "expression", "paused", "removed"])
async def test_what_was_seen_has_changed(world: World, stale: str, want: str) -> None:
    await known(world)
    seen = tick(world, want=want, error="e")
    if stale == "cursor":
        await world.store.tick_schedule(tick(world))
    elif stale == "expression":
        world.server.hset(world.keys.schedule(NAME), "expression", "e2")
    else:
        await world.store.change_schedule(NAME, {"paused": "pause", "removed": "remove"}[stale])
    before = world.snapshot()
    assert await world.store.tick_schedule(seen) == [Answer.GONE if stale == "removed" else Answer.DONE]
    assert world.snapshot() == before


async def test_its_last_run_is_another_since(world: World) -> None:
    await known(world)
    await world.store.tick_schedule(tick(world, want="trigger", run=run(world, 77)))
    before = world.snapshot()
    assert await world.store.tick_schedule(tick(world)) == [Answer.RETRY]
    assert world.snapshot() == before
    assert (await world.store.tick_schedule(tick(world, last_run=f"{NAME}@77")))[0] == Answer.OK


async def test_a_tick_that_is_left_out(world: World) -> None:
    await known(world)
    assert (await world.store.tick_schedule(tick(world, want="pass")))[2] == b"passed"
    assert (world.status(ID), looks(world), field(world, "last_run")) == ("absent", {NAME: T0 + 2 * HOUR}, "")
    assert field(world, "cursor") == str(T0 + HOUR)


async def test_what_went_wrong_is_noted_and_is_over_with_the_next_run(world: World) -> None:
    await known(world)
    assert (await world.store.tick_schedule(tick(world, want="note", error="no room")))[2] == b"noted"
    assert (field(world, "error"), field(world, "cursor")) == ("no room", str(T0))
    await world.store.tick_schedule(tick(world, want="pass", error="no input"))
    assert (field(world, "error"), field(world, "cursor")) == ("no input", str(T0 + HOUR))
    await world.store.tick_schedule(tick(world, 2))
    assert field(world, "error") == ""


@pytest.mark.parametrize("state", STATES)
async def test_overlap(world: World, state: str) -> None:
    await known(world)
    await world.bring(state)
    world.server.hset(world.keys.schedule(NAME), "last_run", "r")
    done = (await world.store.tick_schedule(tick(world, last_run="r", overlap="skip")))[2]
    is_over = state in TERMINAL or state == "absent"
    assert (done, world.status(ID)) == ((b"started", "ready") if is_over else (b"skipped", "absent"))
    assert field(world, "cursor") == str(T0 + HOUR)
    assert field(world, "last_run") == (ID if is_over else "r")
    assert (await world.store.tick_schedule(tick(world, 2, last_run=field(world, "last_run"))))[2] == b"started"


@pytest.mark.parametrize(
    ("other", "done"),
    [({}, b"joined"), ({"workflow": "other"}, b"refused"), ({"digest": b"another"}, b"refused")],
)
async def test_an_id_that_is_in_use(world: World, other: dict[str, Any], done: bytes) -> None:
    await known(world)
    values = {"workflow": NAME, **other}
    await world.store.start_run(world.new(ID, **values))
    record = world.server.hgetall(world.keys.run(ID))
    assert (await world.store.tick_schedule(tick(world)))[2] == done
    assert world.server.hgetall(world.keys.run(ID)) == record
    refused = f"the id {ID} belongs to another run" if done == b"refused" else ""
    assert (field(world, "error"), field(world, "last_run")) == (refused, "" if refused else ID)
    assert field(world, "cursor") == str(T0 + HOUR)


class TestOutOfTurn:
    async def test_it_leaves_the_ticks_alone(self, world: World) -> None:
        await known(world)
        await world.store.change_schedule(NAME, "pause")
        out_of_turn = tick(world, want="trigger", run=run(world, token="t"), new_cursor_ms=T0 + 5)
        assert (await world.store.tick_schedule(out_of_turn))[2] == b"started"
        after = world.snapshot()
        assert world.repeat() == [Answer.OK, T0, b"started"]
        assert world.snapshot() == after
        assert world.status(ID) == "ready"
        found = await world.store.schedule(NAME)
        assert found and (found.cursor_ms, found.last_ms, found.last_run) == (T0, T0 + 5, ID)
        assert looks(world) == {NAME: LAST_MS}

    async def test_an_id_that_is_in_use(self, world: World) -> None:
        await known(world)
        await world.store.start_run(run(world, token="somebody else's"))
        before = world.snapshot()
        out_of_turn = tick(world, want="trigger", run=run(world, token="t"))
        assert await world.store.tick_schedule(out_of_turn) == [Answer.EXISTS, NAME.encode()]
        assert world.snapshot() == before

    async def test_no_such_schedule(self, world: World) -> None:
        before = world.snapshot()
        assert await world.store.tick_schedule(tick(world, want="trigger")) == [Answer.GONE]
        assert world.snapshot() == before
