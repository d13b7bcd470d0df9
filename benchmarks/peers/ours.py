"""durable_async itself: with the append-only file synced every second, and at each write."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks import flows
from benchmarks.bell import VARIABLE, Bell
from benchmarks.servers import DURABILITY, redis_server, server_version, used_memory
from benchmarks.systems import Options, System, client_process
from durable_async import Durable
from durable_async.client.handle import Handle


class Ours(System):
    """A server, one worker process, a client."""

    name = "durable-async"
    packages = ("durable-async",)
    cases = frozenset(
        {
            *("noop", "steps10", "call_child", "fanout", "map", "latency", "child_latency", "start_only", "parked"),
            *("woken", "events", "timers", "recover", "replay", "append", "mixed"),
        }
    )
    notes = "As `durable worker` comes, but for `concurrency` and `max_resident=100_000`; a lease of 15 s."
    fsync: ClassVar[Literal["everysec", "always"]] = "everysec"
    lease: ClassVar[float] = 15.0

    def __init__(self, options: Options, bell: Bell, workers: int = 1) -> None:
        super().__init__(options, bell)
        self.server = redis_server(self.fsync)
        self.durable = Durable(self.server.url, workflows=flows.ALL)
        self._count = workers
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def durability(self) -> str:
        return DURABILITY[self.fsync]

    def versions(self) -> dict[str, str]:
        return {**super().versions(), "server": server_version(self.server)}

    async def start(self, workdir: Path) -> None:
        self.server.start()
        await self.start_worker()
        await self.durable.__aenter__()

    async def stop(self) -> None:
        if self._workers:
            await self.durable.__aexit__(None, None, None)
            await self.kill_worker()
        self.server.stop()

    def processes(self) -> dict[str, list[int]]:
        workers = [worker.pid for worker in self._workers]
        return {"server": [self.server.pid], "worker": workers, "client": client_process()}

    async def start_run(self, flow: str, arg: int) -> Handle[Any]:
        return await self.durable.start(flows.BY_NAME[flow], arg)

    async def result(self, handle: Handle[Any]) -> Any:
        return await handle.result()

    async def send_event(self, handle: Handle[Any], payload: int) -> None:
        await handle.send_event("go", payload)

    async def until_parked(self, handles: Sequence[Handle[Any]]) -> None:
        store = self.durable._session.store
        for handle in handles:
            key = store.keys.run(handle.id)
            while await store.caller.call(("HGET", key, "status")) != b"parked":
                await asyncio.sleep(0.02)

    async def kill_worker(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop_worker(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send_signal(number)
        for worker in self._workers:
            await asyncio.to_thread(worker.wait)

    async def start_worker(self) -> None:
        settings = [str(self.options.concurrency), str(self.lease)]
        command = [sys.executable, "-m", "benchmarks.ours_worker", self.server.url, *settings]
        if self.options.uvloop:
            command.append("uvloop")
        environment = {**os.environ, VARIABLE: self.bell.path}
        self._workers = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(self._count)]
        for worker in self._workers:
            assert worker.stdout is not None
            if not await asyncio.to_thread(worker.stdout.readline):
                raise RuntimeError("a worker did not start")

    def server_bytes(self) -> int:
        return used_memory(self.server)


class OursAlways(Ours):
    """The same, and every write is on the disk when it is acknowledged."""

    name = "durable-async-always"
    # What is lost with a worker is the same.
    cases = Ours.cases - {"recover"}
    fsync = "always"


class OursShortLease(Ours):
    """A lease of two seconds: how soon a dead worker's runs go on is a setting."""

    name = "durable-async-lease-2s"
    cases = frozenset({"recover"})
    notes = "As durable-async, with `lease=2`: other workers take over after two seconds of silence, not 15."
    lease = 2.0


SYSTEMS = [Ours, OursAlways, OursShortLease]
