"""A schedule in a namespace, and its transitions one line away."""

from __future__ import annotations

from typing import Any

from durable_async.store.commands import NewRun
from durable_async.store.scheduling import ScheduleRecord, Tick

from .world import T0, World

HOUR = 3_600_000
NAME = "nightly"


def record(**more: Any) -> ScheduleRecord:
    values: dict[str, Any] = {
        "name": NAME, "expression": "e1", "workflow": NAME, "queue": "q", "retention_ms": 5, "catch_up": "one",
        "overlap": "allow",
    }  # fmt: skip
    return ScheduleRecord(**{**values, **more})


async def known(world: World, **more: Any) -> None:
    """The schedule, registered now; its next tick is in an hour."""
    values = {"cursor_ms": world.now, "next_ms": world.now + HOUR, **more}
    assert (await world.store.register_schedule(record(**values)))[0]


def tick(world: World, n: int = 1, want: str = "start", **more: Any) -> Tick:
    """The n-th tick after the registration at T0, by a worker that has seen the one before it."""
    at = T0 + n * HOUR
    values: dict[str, Any] = {
        "want": want, "name": NAME, "expression": "e1", "cursor_ms": at - HOUR, "new_cursor_ms": at,
        "next_ms": at + HOUR, "look_ms": at + HOUR, "run": run(world, n),
    }  # fmt: skip
    return Tick(**{**values, **more})


def run(world: World, n: int = 1, **more: Any) -> NewRun:
    return world.new(f"{NAME}@{n}", workflow=NAME, **more)


def field(world: World, name: str) -> str:
    value = world.server.hget(world.keys.schedule(NAME), name)
    return "" if value is None else value.decode()  # type: ignore[union-attr]


def looks(world: World) -> dict[str, float]:
    """When each schedule is to be looked at."""
    return {m.decode(): at for m, at in world.server.zrange(world.keys.schedules, 0, -1, withscores=True)}  # type: ignore[union-attr]
