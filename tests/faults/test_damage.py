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

from . import flows
from .book import clock
from .fleet import PATIENCE_S, Fleet, injecting, until
from .rows import Row, sizes

pytestmark = pytest.mark.slow

NOTICED_S = 5.0
"""Damage may still be met so much later."""


class Vandal:
    """Somebody with `redis-cli`. What they destroy can be told from what is left: not a message of a client's."""

    def __init__(self, fleet: Fleet, raw: redis.Redis, *, only: frozenset[str] = frozenset()) -> None:
        self._only = only
        self._fleet = fleet
        self._raw: Any = raw
        self._keys = Keys(fleet.namespace)
        self.did: dict[str, int] = {}

    def __call__(self) -> None:
        deeds: list[Callable[[], Any]] = [
            self.deletes_an_entry, self.empties_a_stream, self.acks_an_entry, self.deletes_a_consumer,
            self.destroys_a_group, self.deletes_a_stream, self.removes_a_timer, self.removes_all_timers,
            self.removes_a_walk, self.deletes_an_inbox, self.deletes_the_index, self.forgets_the_workers,
            self.keeps_a_run, self.renames_an_entry, self.moves_a_group,
        ]  # fmt: skip
        deed = self._fleet.random.choice([deed for deed in deeds if not self._only or deed.__name__ in self._only])
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

    def moves_a_group(self) -> Any:
        """Past all that has not been read."""
        return self._raw.xgroup_setid(self._stream(), "workers", "$")

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
        # The sweeper goes through all keys of a server: those of the tests before would be on its way.
        raw.flushall()
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


@pytest.mark.faults
@pytest.mark.row("D39")
@sizes(15)
async def test_d39_groups_and_streams_under_load(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """Groups are made anew from the beginning, and entries from the records."""
    only = frozenset({"destroys_a_group", "deletes_a_stream", "moves_a_group", "deletes_a_consumer"})
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = row.fleet(shared_server.url)
        fleet.is_damaged = True
        vandal = Vandal(fleet, raw, only=only)
        async with fleet.serving():
            async with injecting(vandal, lambda: fleet.random.uniform(0.05, 0.3)):
                # However fast the machine is: until each kind of damage was done under load.
                while set(vandal.did) != only:
                    await fleet.load(trees, pace_s=0.2)
            await until_healthy(fleet)
        await fleet.judge()
    row.tell(fleet, did=vandal.did)


@pytest.mark.faults
@pytest.mark.row("D39")
async def test_d39_a_group_is_moved_past_what_nobody_has_read(shared_server: EphemeralServer, row: Row) -> None:
    """The entries are there and will never be delivered: the sweeper makes new ones."""
    keys = Keys(row.namespace)
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = row.fleet(shared_server.url, size=1)
        fleet.is_damaged = True
        raw.xgroup_create(keys.queue("default"), "workers", "0", mkstream=True)
        async with fleet.client() as durable:
            handle = await durable.start(flows.parent, {"ledger": row.book.path}, id="p")
            row.book.write("start", id="p")
            row.book.write("expect", id="p", value=flows.PARENT_RESULT)
            await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
            raw.xgroup_setid(keys.queue("default"), "workers", "$")
            fleet.hit("XGROUP SETID $", cuts_steps=False)
            async with fleet.serving():
                assert await handle.result(timeout=PATIENCE_S) == flows.PARENT_RESULT
                row.book.write("result", id="p", status="completed")
        await fleet.judge()
    row.tell(fleet)


@pytest.mark.row("D39")
async def test_d39_what_nobody_names_and_nobody_reads_goes(shared_server: EphemeralServer, row: Row) -> None:
    """An entry of no run, and its group has been moved past it: no read brings it, so the sweeper looks for it."""
    keys = Keys(row.namespace)
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = row.fleet(shared_server.url, size=1)
        fleet.is_damaged = True
        raw.xgroup_create(keys.queue("default"), "workers", "0", mkstream=True)
        for fields in GARBAGE:
            raw.xadd(keys.queue("default"), fields)
        raw.xgroup_setid(keys.queue("default"), "workers", "$")
        fleet.hit("XGROUP SETID $", cuts_steps=False)
        async with fleet.serving():
            await until(lambda: not raw.xlen(keys.queue("default")), "they are gone")
            # Whose entry was there before the worker was loses nothing.
            await fleet.load(2)
        await fleet.judge()
    row.tell(fleet)


GARBAGE: tuple[dict[Any, Any], ...] = (
    {"r": "nobody"},
    {"r": ""},
    {"x": "y"},
    {b"\xff\x00": b"\xfe"},
    {"r": "w0", "n": "w0"},
    {"n": "nobody"},
    {"r": "x" * 100_000},
    {"r": "../{other.0}:run:w0"},
)


@pytest.mark.faults
@pytest.mark.row("D41")
@sizes(15)
async def test_d41_garbage_under_load(trees: int, shared_server: EphemeralServer, row: Row) -> None:
    """Entries that mean nothing go away; a run whose keys are of another type harms no other."""
    keys = Keys(row.namespace)
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = row.fleet(shared_server.url)
        fleet.is_damaged = True
        victims: list[str] = []

        def throw() -> None:
            streams = sorted(raw.scan_iter(keys.base + "queue:*")) + sorted(raw.scan_iter(keys.base + "worker:*"))
            if not streams:
                return
            fleet.hit("garbage", cuts_steps=False)
            raw.xadd(fleet.random.choice(streams), fleet.random.choice(GARBAGE), nomkstream=True)
            if len(victims) < 5:
                id = f"victim{len(victims)}"
                victims.append(id)
                for name in (keys.run(id), keys.journal(id), keys.inbox(id)):
                    kind = fleet.random.randrange(3)
                    raw.set(name, "x") if kind == 0 else raw.sadd(name, "x") if kind == 1 else raw.hset(name, "st", "9")
                raw.xadd(keys.queue("default"), {"r": id})
                raw.zadd(keys.index, {id: 1})

        async with fleet.serving(), injecting(throw, lambda: fleet.random.uniform(0.02, 0.1)):
            await fleet.load(trees, pace_s=0.2)
        for id in victims:
            raw.delete(keys.run(id), keys.journal(id), keys.inbox(id))
            raw.zrem(keys.index, id)
        await fleet.judge()
    row.tell(fleet)


async def until_healthy(fleet: Fleet) -> None:
    """The workers mend by themselves what the doctor finds."""
    async with fleet.client() as durable:
        async with asyncio.timeout(PATIENCE_S):
            while not (report := await examine(durable._session.store, may_fix=False)).is_healthy:
                await asyncio.sleep(0.2)
        assert not report.damage
