"""The calls that write about clients, for the tests that hold every script to writing all or nothing."""

from __future__ import annotations

from .world import World


async def subscribe(world: World) -> None:
    await world.start()
    world.caller.is_dry = True
    await world.store.subscribe_client("r", "c1")


async def watch(world: World) -> None:
    await world.start()
    world.caller.is_dry = True
    await world.store.watch_run("r", "c1", "1", 0)


async def unwatch(world: World) -> None:
    await world.start(client="c0")
    await world.store.watch_run("r", "c1", "1", 0)
    world.caller.is_dry = True
    world.store.unwatch_run("r", "c1")


async def open_client(world: World) -> None:
    world.caller.is_dry = True
    await world.store.open_client("c1", 1_000)


CLIENT_CASES = (subscribe, watch, unwatch, open_client)
