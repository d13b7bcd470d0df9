"""open_client: the stream of a waiting client never stays for ever."""

from __future__ import annotations

from .world import World


async def test_the_stream_has_a_time_to_live_and_a_repeat_prolongs_it(world: World) -> None:
    await world.store.open_client("c1", 1_000)
    assert 0 < world.server.pttl(world.keys.client("c1")) <= 1_000
    await world.store.open_client("c1", 60_000)
    assert world.server.pttl(world.keys.client("c1")) > 1_000
