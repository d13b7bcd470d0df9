"""A namespace, a client, and a look at every key: what a bad argument or a planted value is tested with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import pytest
import redis
from lua.world import World as LuaWorld

from durable_async import Durable, Limits, RunInfo
from durable_async.engine.records import start_record
from durable_async.store.keys import Keys
from durable_async.worker.worker import Worker

from . import flows

PATIENCE_S = 30.0
"""How long a test waits for what must come. Nothing is asserted about how soon it came."""
FORGED_EPOCH = 7


class Bench:
    """One test's namespace."""

    _value = LuaWorld._value

    def __init__(self, url: str, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
        self.url = url
        self.namespace = namespace
        self.keys = Keys(namespace)
        self.server = redis.Redis.from_url(url, protocol=2)
        self.durable = self.open()
        self.caplog = caplog

    def open(self, **options: Any) -> Durable:
        """Another `Durable` of the same namespace."""
        options = {"url": self.url, "workflows": [flows], "namespace": self.namespace, **options}
        return Durable(options.pop("url"), **options)

    def snapshot(self) -> dict[str, Any]:
        """The whole namespace but for the results that are pushed to clients."""
        found = LuaWorld.snapshot(self)  # type: ignore[arg-type]  # it has what that needs
        return {name: value for name, value in found.items() if not name.startswith("client:")}

    @asynccontextmanager
    async def worker(self, limits: Limits | None = None, **options: Any) -> AsyncIterator[Worker]:
        """A worker in this process."""
        durable = self.open(limits=limits)
        async with durable, durable.worker(**{"drain_timeout": 5.0, **options}) as worker:
            yield worker

    async def until(self, predicate: Callable[[], Any], description: str) -> Any:
        """Polls until `predicate()`, which may be async, gives something true; returns that."""
        give_up_at = monotonic() + PATIENCE_S
        while True:
            found = predicate()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            assert monotonic() < give_up_at, f"never came true: {description}; log: {self.caplog.messages[-10:]}"
            await asyncio.sleep(0.01)

    async def alive(self) -> None:
        """A healthy run, with a step, a timer and a child, goes through the worker that is there."""
        handle = await self.durable.start(flows.healthy, 20)
        assert await handle.result(timeout=PATIENCE_S) == 42

    async def until_status(self, id: str, internal: str) -> None:
        """Waits for a record's own status."""
        await self.until(lambda: self.field(id, "status") == internal, f"run {id} is {internal}")

    async def outcome(self, id: str) -> RunInfo:
        """How a run ended, whatever that was."""
        with suppress(Exception):
            await self.durable.run(id).result(timeout=PATIENCE_S)
        return await self.durable.get(id)

    def field(self, id: str, name: str) -> str:
        """One field of a record."""
        value: Any = self.server.hget(self.keys.run(id), name)
        return "" if value is None else value.decode(errors="replace")

    # ------------------------------------------------------------------ forging

    def forge(self, id: str, lines: Iterable[bytes] = (), inbox: Iterable[bytes] = (), **fields: Any) -> None:
        """A run with this journal and inbox, ready in the default queue."""
        given = [start_record(b""), *lines]
        mail = list(inbox)
        entry: Any = self.server.xadd(self.keys.queue("default"), {"r": id})
        record = {
            "workflow": "waits", "queue": "default", "digest": b"d", "retention": 60_000, "created": 1_700_000_000_000,
            "status": "ready", "entry": b"Q" + entry, "mail": len(mail), "started": 1_700_000_000_000,
            "epoch": FORGED_EPOCH, **fields,
        }  # fmt: skip
        self.server.rpush(self.keys.journal(id), *given)
        if mail:
            self.server.rpush(self.keys.inbox(id), *mail)
        self.server.hset(self.keys.run(id), mapping=record)
        self.server.zadd(self.keys.index, {id: 1_700_000_000_000})

    def clear(self) -> None:
        """Leaves nothing behind."""
        keys: Any = list(self.server.scan_iter(match=self.keys.base + "*", count=1000))
        if keys:
            self.server.delete(*keys)
        self.server.close()

    def errors(self, word: str) -> list[str]:
        """What was logged at ERROR or above and holds this word."""
        return [r.getMessage() for r in self.caplog.records if r.levelno >= logging.ERROR and word in r.getMessage()]
