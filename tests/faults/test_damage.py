"""D39, D40, D41: somebody with `redis-cli` under load; every run ends, and the invariants hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from durable_async.client.doctor import examine
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from .book import clock
from .fleet import PATIENCE_S, Fleet, injecting
from .rows import Row, sizes

pytestmark = pytest.mark.slow

NOTICED_S = 5.0
"""Damage may still be met so much later."""


class Vandal:
    """Somebody with `redis-cli`. What they destroy can be told from what is left: not a message of a client's."""

    def __init__(self, fleet: Fleet, raw: redis.Redis) -> None:
        self._fleet = fleet
        self._raw: Any = raw
        self._keys = Keys(fleet.namespace)
        self.did: dict[str, int] = {}

    def __call__(self) -> None:
        deeds: list[Callable[[], Any]] = [
            self.deletes_an_entry, self.empties_a_stream, self.acks_an_entry, self.deletes_a_consumer,
            self.destroys_a_group, self.deletes_a_stream, self.removes_a_timer, self.removes_all_timers,
            self.removes_a_walk, self.deletes_an_inbox, self.deletes_the_index, self.forgets_the_workers,
            self.keeps_a_run, self.renames_an_entry,
        ]  # fmt: skip
        deed = self._fleet.random.choice(deeds)
        with suppress(redis.ResponseError, IndexError):
            if deed():
                name = deed.__name__
                self.did[name] = self.did.get(name, 0) + 1
                # A run may be at its step by the time its entry is found to be gone, and be fenced then.
                self._fleet.hit(name, until=clock() + NOTICED_S)

    def _one(self, pattern: str) -> str:
        names = sorted(self._raw.scan_iter(self._keys.base + pattern, count=1000))
        return str(self._fleet.random.choice(names).decode())

    def _stream(self) -> str:
        return self._one(self._fleet.random.choice(["queue:*", "worker:*"]))

    def _entry(self, key: str) -> str:
        return str(self._fleet.random.choice(self._raw.xrange(key, count=100))[0].decode())

    def deletes_an_entry(self) -> Any:
        key = self._stream()
        return self._raw.xdel(key, self._entry(key))

    def empties_a_stream(self) -> Any:
        return self._raw.xtrim(self._stream(), 0, approximate=False)

    def acks_an_entry(self) -> Any:
        key = self._stream()
        return self._raw.xack(key, "workers", self._entry(key))

    def deletes_a_consumer(self) -> Any:
        key = self._stream()
        return self._raw.xgroup_delconsumer(key, "workers", self._raw.xinfo_consumers(key, "workers")[0]["name"])

    def destroys_a_group(self) -> Any:
        return self._raw.xgroup_destroy(self._stream(), "workers")

    def deletes_a_stream(self) -> Any:
        return self._raw.delete(self._stream())

    def removes_a_timer(self) -> Any:
        return self._raw.zremrangebyrank(self._keys.timers, 0, 0)

    def removes_all_timers(self) -> Any:
        return self._raw.delete(self._keys.timers)

    def removes_a_walk(self) -> Any:
        return self._raw.hdel(self._keys.walks, self._fleet.random.choice(self._raw.hkeys(self._keys.walks)))

    def deletes_an_inbox(self) -> Any:
        key = self._one("inbox:*")
        # A client's event or cancel cannot be told from anything else that is left.
        is_known = all(b" C" in message[:40] for message in self._raw.lrange(key, 0, -1))
        return is_known and self._raw.delete(key)

    def deletes_the_index(self) -> Any:
        return self._raw.delete(self._keys.index)

    def forgets_the_workers(self) -> Any:
        return self._raw.delete(self._keys.workers, self._keys.beats)

    def keeps_a_run(self) -> Any:
        return self._raw.persist(self._one("run:*"))

    def renames_an_entry(self) -> Any:
        key = self._one("run:*")
        is_active = self._raw.hget(key, "status") in (b"ready", b"running")
        return is_active and self._raw.hset(key, "entry", "Q1-1") == 0


@pytest.mark.row("D40")
@sizes(15)
async def test_d40_a_vandal_under_load(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = row.fleet(shared_server.url)
        fleet.is_damaged = True
        vandal = Vandal(fleet, raw)
        async with fleet.serving():
            async with injecting(vandal, lambda: fleet.random.uniform(0.02, 0.2)):
                await fleet.load(trees, pace_s=0.2)
            await until_healthy(fleet)
        await fleet.judge()
        counts: Any = raw.hgetall(Keys(row.namespace).meta)
        mended = {k.decode()[6:]: int(n) for k, n in counts.items() if k.startswith(b"fixed:")}
    assert vandal.did
    row.tell(fleet, did=vandal.did, mended=mended)


async def until_healthy(fleet: Fleet) -> None:
    """The workers mend by themselves what the doctor finds."""
    async with fleet.client() as durable:
        async with asyncio.timeout(PATIENCE_S):
            while not (report := await examine(durable._session.store, may_fix=False)).is_healthy:
                await asyncio.sleep(0.2)
        assert not report.damage
