"""ack_entries, advance_walk, close_worker, drop_consumer and subscribe_client: one key or two, a few lines each."""

from __future__ import annotations

import pytest

from durable_async.store.status import Answer
from durable_async.store.store import GROUP

from .world import STATES, T0, TERMINAL, World


class TestAckEntries:
    async def test_settled_entries_go(self, world: World) -> None:
        for id in "abc":
            await world.start(id)
        entries = [entry[1:] for _, entry in world.read("A")]
        queue = world.keys.queue("q")
        assert world.run(world.store.ack_entries, queue, entries[:2]) == [Answer.OK]
        assert world.stream(queue) == [("r", "c")]
        assert world.server.xpending(queue, GROUP)["pending"] == 1  # type: ignore[index]
        after = world.snapshot()
        assert world.repeat() == [Answer.OK]
        assert world.snapshot() == after

    async def test_as_many_as_a_call_may_carry(self, world: World) -> None:
        ids = [f"1-{i}" for i in range(1, 1_001)]
        assert world.run(world.store.ack_entries, world.keys.queue("q"), ids) == [Answer.OK]

    async def test_a_stream_that_is_gone(self, world: World) -> None:
        assert world.run(world.store.ack_entries, world.keys.worker("Z"), ["1-1"]) == [Answer.OK]
        assert not world.server.exists(world.keys.worker("Z"))


class TestAdvanceWalk:
    async def test_the_cursor_moves_once(self, world: World) -> None:
        world.server.hset(world.keys.walks, "xp", "0")
        await world.store.advance_walk("xp", "0", "7")
        assert world.walks() == {"xp": "7"}
        before = world.snapshot()
        assert world.repeat() == [Answer.STALE]
        assert world.snapshot() == before
        await world.store.advance_walk("xp", "7", "")
        assert world.walks() == {}
        assert world.repeat() == [Answer.STALE]

    async def test_a_walk_nobody_started(self, world: World) -> None:
        before = world.snapshot()
        await world.store.advance_walk("xp", "", "7")
        assert world.snapshot() == before


class TestCloseWorker:
    def register(self, world: World) -> None:
        world.server.hset(world.keys.workers, "A", "info")
        world.server.hset(world.keys.beats, "A", "41")

    @pytest.mark.parametrize("beat", ["41", ""])
    async def test_an_empty_stream_goes_with_its_worker(self, world: World, beat: str) -> None:
        self.register(world)
        assert await world.store.close_worker("A", beat)
        k = world.keys
        assert not world.server.exists(k.worker("A"), k.workers, k.beats)
        after = world.snapshot()
        assert await world.store.close_worker("A", "")
        assert world.snapshot() == after

    @pytest.mark.parametrize("is_read", [True, False])
    async def test_one_with_a_wake_up_stays(self, world: World, is_read: bool) -> None:
        """It came after the reaper's last look."""
        self.register(world)
        world.server.xadd(world.keys.worker("A"), {"r": "r"})
        if is_read:
            world.read("A")
        before = world.snapshot()
        assert not await world.store.close_worker("A", "41")
        assert world.snapshot() == before

    async def test_one_that_has_moved_stays(self, world: World) -> None:
        self.register(world)
        before = world.snapshot()
        assert not await world.store.close_worker("A", "40")
        assert world.snapshot() == before


class TestDropConsumer:
    async def test_only_without_pending_entries(self, world: World) -> None:
        await world.start()
        world.read("A")
        before = world.snapshot()
        assert not await world.store.drop_consumer("q", "A")
        assert world.snapshot() == before
        world.run(world.store.ack_entries, world.keys.queue("q"), [world.entry()[1:]])
        assert await world.store.drop_consumer("q", "A")
        assert world.server.xinfo_consumers(world.keys.queue("q"), GROUP) == []
        assert await world.store.drop_consumer("q", "A")

    async def test_a_group_or_a_queue_that_is_gone(self, world: World) -> None:
        world.server.xgroup_destroy(world.keys.queue("q"), GROUP)
        assert await world.store.drop_consumer("q", "A")
        assert await world.store.drop_consumer("nowhere", "A")
        assert not world.server.exists(world.keys.queue("nowhere"))


class TestSubscribeClient:
    @pytest.mark.parametrize("state", STATES)
    async def test_each_state(self, world: World, state: str) -> None:
        await world.bring(state)
        before = world.snapshot()
        reply = await world.store.subscribe_client("r", "c1")
        if state == "absent":
            assert reply == [Answer.GONE]
        elif state in TERMINAL:
            assert reply == [Answer.ENDED, b"Z%d %s\nout" % (T0, state.encode())]
        else:
            assert reply == [Answer.OK]
            assert world.field("r", "client") == "c1"
            after = world.snapshot()
            assert world.repeat() == reply
            assert world.snapshot() == after
            return
        assert world.snapshot() == before

    async def test_each_client_is_listed_once(self, world: World) -> None:
        await world.start(client="c10")
        for client in ("c1", "c10", "c1", "c2", ""):
            await world.store.subscribe_client("r", client)
        assert world.field("r", "client") == "c10 c1 c2"
