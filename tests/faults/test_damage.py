"""D40, and what a server may do that loses what it acknowledged: every run ends, and the invariants hold."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

import pytest
import redis
from semantics.crowd import Nursery, is_alive
from semantics.leaks import LOOK, parse_look

from durable_async import Durable, RunNotFound
from durable_async.client.doctor import examine
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .conftest import Report
from .fleet import PATIENCE_S, Fleet, injecting, until
from .invariants import check_invariants

pytestmark = pytest.mark.slow
LONG = pytest.param(int(os.environ.get("DURABLE_FAULTS_TREES", "1500")), marks=pytest.mark.long)


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
                self._fleet.hit(name, until=time() + NOTICED_S)

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


@pytest.mark.parametrize("trees", [15, LONG])
async def test_d40_a_vandal_under_load(
    trees: int, shared_server: EphemeralServer, namespace: str, nursery: Nursery, tmp_path: Path, seed: int,
    report: Report,
) -> None:  # fmt: skip
    book = Book(tmp_path / "ledger")
    with redis.Redis.from_url(shared_server.url) as raw:
        fleet = Fleet(shared_server.url, namespace, nursery, book, seed)
        fleet.is_damaged = True
        vandal = Vandal(fleet, raw)
        async with fleet.serving():
            async with injecting(vandal, lambda: fleet.random.uniform(0.02, 0.2)):
                await fleet.load(trees, pace_s=0.2)
            await until_healthy(fleet)
        await fleet.judge()
        counts: Any = raw.hgetall(Keys(namespace).meta)
        mended = {k.decode()[6:]: int(n) for k, n in counts.items() if k.startswith(b"fixed:")}
    assert vandal.did
    report("D40", seed=seed, trees=trees, faults=fleet.faults, did=vandal.did, mended=mended)


async def until_healthy(fleet: Fleet) -> None:
    """The workers mend by themselves what the doctor finds."""
    async with fleet.client() as durable:
        async with asyncio.timeout(PATIENCE_S):
            while not (report := await examine(durable._session.store, may_fix=False)).is_healthy:
                await asyncio.sleep(0.2)
        assert not report.damage


class Insistent:
    """A client that repeats what matters, with the same id, until it has its answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.again = 0

    async def tree(self, durable: Durable, n: int) -> None:
        id = f"w{n}"
        given = {"ledger": self._fleet.book.path, "n": n, "pause_s": 0.05}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    handle = await durable.start(flows.tree, given, id=id)
                    self._fleet.book.write("start", id=id)
                    assert await handle.result() == flows.TREE_RESULT
                except RunNotFound:
                    self.again += 1
                else:
                    return


def cut_the_tail(server: EphemeralServer, share: float) -> int:
    """Truncates the append-only file of a server that is down; how many bytes are lost."""
    path = max((server.directory / "appendonlydir").glob("*.incr.aof"), key=lambda p: p.stat().st_mtime)
    size = path.stat().st_size
    kept = int(size * (1 - share))
    with path.open("r+b") as file:
        file.truncate(kept)
    return size - kept


@pytest.mark.parametrize("trees", [15, LONG])
async def test_the_tail_of_the_file_is_lost(
    trees: int, namespace: str, nursery: Nursery, tmp_path: Path, seed: int, report: Report
) -> None:
    """A power cut, or a failover to a replica that was behind: at a random point, under load, with living workers.

    What is left is an earlier moment, whole: so the sweeper finds nothing, and everything goes on from there.
    """
    book = Book(tmp_path / "ledger")
    with ephemeral_server(appendonly=True, fsync="everysec") as server:
        fleet = Fleet(server.url, namespace, nursery, book, seed, lease=4.0)
        pids = [fleet.spawn() for _ in range(3)]
        lost = 0

        async def cut() -> None:
            nonlocal lost
            await asyncio.to_thread(server.kill)
            lost += cut_the_tail(server, fleet.random.uniform(0.02, 0.6))
            fleet.hit("the tail is lost")
            await asyncio.to_thread(server.restart)

        client = Insistent(fleet)
        async with fleet.client() as durable:
            async with injecting(cut, lambda: fleet.random.uniform(0.5, 2)), asyncio.TaskGroup() as tasks:
                for n in range(trees):
                    tasks.create_task(client.tree(durable, n))
                    await asyncio.sleep(fleet.random.uniform(0, 0.6))
            # A cut may have come after the last answer: whoever cares asks once more.
            await asyncio.gather(*(client.tree(durable, n) for n in range(trees)))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await until(lambda: not any(map(is_alive, pids)), "the workers have left")
        found = await whole(fleet, server, trees, tmp_path)
    assert not found, "\n".join(found)
    assert lost
    report("D9, D16", seed=seed, trees=trees, faults=fleet.faults, bytes_lost=lost, started_again=client.again)


async def whole(fleet: Fleet, server: EphemeralServer, trees: int, folder: Path) -> list[str]:
    """What is not as it must be in what is there now. What observers and steps saw of a lost future says nothing."""
    book = Book(folder / "after")
    book.write("namespace", namespace=fleet.namespace)
    for n in range(trees):
        book.write("start", id=f"w{n}")
        book.write("expect", id=f"w{n}", value=flows.TREE_RESULT)
    keys = Keys(fleet.namespace)
    with redis.Redis.from_url(server.url) as raw:
        async with fleet.client() as durable, durable.worker(lease=1.0, drain_timeout=5.0) as janitor:

            def left() -> list[str]:
                return parse_look(raw.eval(LOOK, 0, keys.base)).left(keys, janitor.id)  # type: ignore[arg-type]  # a union

            with suppress(AssertionError):
                await until(lambda: not left(), "cleared away", patience_s=20.0)
        return check_invariants(raw, book) + fleet._mended(raw)
