"""start_run: a run is created once per id, with its entry or its timer, and joined ever after."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer

from .world import STATES, T0, World


@pytest.mark.parametrize("state", STATES)
async def test_an_id_in_use_is_joined_and_nothing_written(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    reply = await world.start()
    if state == "absent":
        assert reply == [Answer.OK, T0]
        return
    assert reply == [Answer.EXISTS, b"w", b"\xff\x00d", world.status().encode()]
    assert world.snapshot() == before


async def test_a_start_writes_record_journal_entry_and_index(world: World) -> None:
    await world.start()
    assert world.status() == "ready"
    assert world.field("r", "epoch") == ""
    assert world.journal() == [b"Sinput"]
    assert world.read("A") == [("r", world.entry())]
    assert world.server.zscore(world.keys.index, "r") == T0


async def test_a_repeat_joins_and_adds_no_second_entry(world: World) -> None:
    await world.start()
    before = world.snapshot()
    assert world.repeat()[0] == Answer.EXISTS
    assert world.snapshot() == before


async def test_a_delayed_run_has_a_timer_and_no_entry(world: World) -> None:
    await world.start(delay_ms=500)
    assert world.status() == "delayed"
    assert world.entry() == ""
    assert world.timers() == {"dr": T0 + 500}
    assert world.read("A") == []


async def test_values_of_any_size_and_any_bytes_reach_the_record(world: World) -> None:
    digest, version = bytes(range(256)), "v" * 70_000
    await world.start(digest=digest, version=version)
    assert world.server.hmget(world.keys.run("r"), "digest", "version") == [digest, version.encode()]


async def test_a_journal_without_a_record_is_not_continued(world: World) -> None:
    """An earlier life of the id left it behind, with a time to live."""
    world.server.rpush(world.keys.journal("r"), "Sold", "Zold")
    world.server.pexpire(world.keys.journal("r"), 60_000)
    await world.start()
    assert world.journal() == [b"Sinput"]
    assert world.server.pttl(world.keys.journal("r")) == -1


async def test_v07_a_priority_has_a_stream_of_its_own_that_is_noted(world: World) -> None:
    """In the same script: a run in a stream that nobody knows of would wait for ever."""
    await world.start("r", queue="q:5")
    await world.start("s", queue="q:-3", delay_ms=10)
    await world.start("t")
    assert await world.store.gates() == {"vq:5": "1", "vq:-3": "1"}
    assert world.stream(world.keys.queue("q:5")) == [("r", "r")]
    assert world.stream(world.keys.queue("q")) == [("r", "t")]
    world.now += 10
    await world.store.fire_timers(["ds"])
    assert world.stream(world.keys.queue("q:-3")) == [("r", "s")]
    before = world.snapshot()
    assert (await world.start("r", queue="q:5"))[0] == Answer.EXISTS
    assert world.snapshot() == before


async def test_v07_an_id_that_exists_notes_nothing(world: World) -> None:
    await world.start("r")
    assert (await world.start("r", queue="q:5"))[0] == Answer.EXISTS
    assert await world.store.gates() == {}


async def test_v06_a_paused_queue_is_paused_in_all_its_priorities(world: World) -> None:
    await world.start("r", queue="q:5")
    await world.store.pause_queue("q")
    assert world.claim_reply("A", "r") == [Answer.HELD, b"q:5", b"p"]
