"""Schedules in the store that no code of ours wrote, beside one that counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_async import Durable, every, hours, workflow
from durable_async.store.commands import LAST_MS

from . import flows
from .bench import Bench

LARGE = "9" * 1_000
FIELDS: list[dict[str, Any]] = [
    {"cursor": "soon"}, {"cursor": "-1"}, {"cursor": LARGE}, {"cursor": ""}, {"cursor": b"\xff"}, {"cursor": "0"},
    {"expression": b"\xff"}, {"expression": ""}, {"last_run": b"\xff"}, {"last_run": "nobody"}, {"last_run": "a{b}\n*"},
    {"next": LARGE, "last_at": "x", "retention": "-5", "queue": "", "paused": "yes"},
    {"overlap": b"\xfe", "error": b"\xff", "workflow": b"\xff", "version": b"\xff"},
]  # fmt: skip


@workflow(schedule=every(hours(1)), name="mine")
async def mine() -> None: ...


@workflow(schedule=every(hours(1)), name="good")
async def good() -> None: ...


def durable(bench: Bench) -> Durable:
    return bench.open(workflows=[mine, good, flows])


async def is_in_order(bench: Bench, name: str) -> bool:
    found = {each.name: each for each in await bench.durable.schedules()}
    return name in found and (found[name].next_at or datetime.now(UTC)) > datetime.now(UTC)


@pytest.mark.parametrize("fields", FIELDS, ids=range(len(FIELDS)))
async def test_damaged_fields(bench: Bench, fields: dict[str, Any]) -> None:
    """Of a schedule that is due: the worker lives, and the other schedule is looked after."""
    async with durable(bench) as client, client.worker():
        await bench.until(lambda: is_in_order(bench, "mine"), "it is known")
        bench.server.hset(bench.keys.schedule("mine"), mapping=fields)
        bench.server.zadd(bench.keys.schedules, {"mine": 5})
        await bench.until(lambda: bench.server.zscore(bench.keys.schedules, "mine") != 5, "it was looked at")
        await client.schedules()
        await bench.alive()
        assert await is_in_order(bench, "good")


async def test_records_that_are_none(bench: Bench) -> None:
    bench.server.rpush(bench.keys.schedule("mine"), "a list")
    bench.server.zadd(bench.keys.schedules, {"mine": 5, "gone": 6, "": 7, b"\xff": 8, LARGE: 9, "far": LAST_MS})
    bench.server.hset(bench.keys.schedule(""), "expression", "x")
    async with durable(bench) as client, client.worker():
        await bench.until(lambda: is_in_order(bench, "good"), "the other one is known")
        assert [each.name for each in await client.schedules()] == ["", "good"]
        await bench.alive()
        assert bench.errors("schedule mine could not be made known")
        bench.server.delete(bench.keys.schedule("mine"))
        await bench.until(lambda: is_in_order(bench, "mine"), "it is mended")


async def test_the_set_is_none(bench: Bench) -> None:
    bench.server.set(bench.keys.schedules, "S3CR3T")
    async with durable(bench) as client, client.worker():
        await bench.alive()
        await bench.until(lambda: bench.errors("WRONGTYPE"), "it is said")
        bench.server.delete(bench.keys.schedules)
        await bench.until(lambda: is_in_order(bench, "mine"), "it is mended")
    assert not bench.errors("S3CR3T")
