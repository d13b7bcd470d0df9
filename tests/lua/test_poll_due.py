"""poll_due: due timers are handed to one caller for a while."""

from __future__ import annotations

from durable_async.store.upkeep import TIMER_LEASE_MS

from .world import T0, World


async def arm(world: World, **due: int) -> None:
    world.server.zadd(world.keys.timers, {name: T0 + ms for name, ms in due.items()})


async def test_nothing_to_do_writes_nothing(world: World) -> None:
    before = world.snapshot()
    assert await world.store.poll_due(10) == (T0, [], None, [], {})
    await arm(world, wa=50)
    before = world.snapshot()
    assert await world.store.poll_due(10) == (T0, [], T0 + 50, [], {})
    assert world.snapshot() == before


async def test_what_is_due_is_handed_out_once_per_lease(world: World) -> None:
    await arm(world, wa=-5, db=0, wc=1)
    assert await world.store.poll_due(10) == (T0, ["wa", "db"], T0 + 1, [], {})
    assert await world.store.poll_due(10) == (T0, [], T0 + 1, [], {})
    world.now = T0 + TIMER_LEASE_MS
    assert sorted((await world.store.poll_due(10))[1]) == ["db", "wa", "wc"]


async def test_beyond_the_limit_there_is_more_at_once(world: World) -> None:
    await arm(world, wa=-3, wb=-2, wc=-1)
    assert await world.store.poll_due(2) == (T0, ["wa", "wb"], T0, [], {})
    assert (await world.store.poll_due(2))[1] == ["wc"]


async def test_exactly_the_limit(world: World) -> None:
    await arm(world, wa=-3, wb=-2)
    assert await world.store.poll_due(2) == (T0, ["wa", "wb"], None, [], {})


async def test_unfinished_walks_are_shown(world: World) -> None:
    world.server.hset(world.keys.walks, mapping={"xp": "0", "ep": "7"})
    walks = (await world.store.poll_due(10))[3]
    assert sorted(walks) == [("ep", b"7"), ("xp", b"0")]


async def test_what_stands_in_the_way_of_queues_is_shown(world: World) -> None:
    await world.store.pause_queue("q")
    assert (await world.store.poll_due(10))[4] == {"pq": str(T0)}


async def test_a_forged_score_or_member_harms_nobody(world: World) -> None:
    world.server.zadd(world.keys.timers, {"wa": float("-inf"), "": T0, "?": T0, "wb": float("inf")})
    now, members, next_due, *_ = await world.store.poll_due(10)
    assert (now, sorted(members), next_due) == (T0, ["", "?", "wa"], T0 + TIMER_LEASE_MS) or next_due == float("inf")
    await world.store.fire_timers(members)
    assert set(world.timers()) == {"wb"}
