"""DBOS Transact: durable workflows in a database, three times.

`dbos`: on PostgreSQL, started in the process that asks for them, which is the way its documentation begins with. Client
and worker are one process, nothing crosses a boundary, and a killed process has to come back for its runs to go on.
`dbos-queue`: the same, enqueued by a client and taken from a queue by a worker process, which is what all others do.
`dbos-sqlite`: in process, on SQLite, the default for development.

The bias, in its favour: in process, the result of a run is a future of the same loop. Queue: its client polls for
results, so a run counts as done when its body rings; the worker polls its queue every 10 ms (as it comes: 1 s).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks import postgres
from benchmarks.bell import VARIABLE, Bell, ring
from benchmarks.launch import Peer, Started, run_worker, say_ready
from benchmarks.systems import Options, client_process

QUEUE = "bench"
POLL_S = 0.01
DATABASE = "bench"
THREADS = 24
"""A few more than its connections: as it comes there is one for each call, and a run costs up to a half more."""
FOREVER_S = 7 * 24 * 3600.0


@DBOS.step()
async def work(n: int) -> int:
    return n


@DBOS.step()
async def slow(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


@DBOS.step()
async def woke(due: int) -> int:
    ring(due)
    return due


@DBOS.workflow(name="noop")
async def noop(n: int) -> int:
    found = await work(n)
    ring(n)
    return found


@DBOS.workflow(name="steps10")
async def steps10(n: int) -> int:
    found = n
    for _ in range(10):
        found = await work(found)
    ring(n)
    return found


@DBOS.workflow(name="slow10")
async def slow10(n: int) -> int:
    for _ in range(10):
        n = await slow(n)
    return n


@DBOS.workflow(name="child")
async def child(n: int) -> int:
    return await work(n)


@DBOS.workflow(name="parent")
async def parent(n: int) -> int:
    found = await child(n)
    ring(n)
    return found


@DBOS.workflow(name="fanout")
async def fanout(n: int) -> int:
    handles = [await DBOS.start_workflow_async(child, i) for i in range(n)]
    return len([await handle.get_result() for handle in handles])


@DBOS.workflow(name="wait")
async def wait(n: int) -> int:
    for _ in range(n):
        await DBOS.recv_async("go", timeout_seconds=FOREVER_S)
    return n


@DBOS.workflow(name="timer")
async def timer(due: int) -> int:
    await DBOS.sleep_async(max(0.0, due / 1000 - time.time()))
    return await woke(due)


@DBOS.workflow(name="long")
async def long(n: int) -> int:
    for i in range(n):
        await work(i)
    await DBOS.recv_async("go", timeout_seconds=FOREVER_S)
    await work(n)
    return n


FLOWS = {each.__name__: each for each in (noop, steps10, slow10, parent, fanout, wait, timer, long)}
IN_PROCESS = frozenset(
    {
        *("noop", "steps10", "call_child", "fanout", "latency", "child_latency", "start_only"),
        *("parked", "woken", "events", "timers", "mixed"),
    }
)


def configuration(url: str) -> DBOSConfig:
    """As it comes but for logs and threads; every process is of the same version, whatever it has imported."""
    return {
        "name": "bench",
        "system_database_url": url,
        "log_level": "ERROR",
        "max_executor_threads": THREADS,
        "application_version": "bench",
    }


class Dbos(Peer):
    name = "dbos"
    packages = ("dbos", "psycopg")
    cases = IN_PROCESS
    notes = "On PostgreSQL, in process: worker and client are one process, and results are futures of its loop."

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.postgres: postgres.Postgres | None = None

    @classmethod
    def missing(cls) -> str:
        return super().missing() or postgres.missing()

    @property
    def durability(self) -> str:
        return postgres.DURABILITY

    def versions(self) -> dict[str, str]:
        assert self.postgres is not None
        return {**super().versions(), "server": f"PostgreSQL {self.postgres.version()}"}

    async def start_database(self) -> str:
        """Starts what it is built on, and returns its URL."""
        self.postgres = postgres.Postgres()
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.postgres.create, DATABASE)
        return self.postgres.url(DATABASE)

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir
        self.url = await self.start_database()
        os.environ[VARIABLE] = self.bell.path  # the worker is this process
        await asyncio.to_thread(DBOS, config=configuration(self.url))
        await asyncio.to_thread(DBOS.launch)

    async def stop(self) -> None:
        try:
            await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0)
        finally:
            if self.postgres is not None:
                self.postgres.stop()  # not in a thread: DBOS has shut down those of this loop

    def processes(self) -> dict[str, list[int]]:
        assert self.postgres is not None
        return {"server": [self.postgres.pid], "worker+client": client_process()}

    def worker_arguments(self) -> list[str]:
        return []

    async def begin(self, flow: str, arg: int) -> Any:
        return await DBOS.start_workflow_async(FLOWS[flow], arg)

    async def end(self, handle: Any) -> Any:
        return await handle.get_result()

    async def send_event(self, handle: Started, payload: int) -> None:
        await DBOS.send_async(handle.handle.workflow_id, payload, "go")

    async def until_parked(self, handles: Sequence[Started]) -> None:
        """The last step of each is that of `recv`, which records its timeout before it waits."""
        for handle in handles:
            while not await self._is_waiting(handle.handle.workflow_id):
                await asyncio.sleep(0.05)

    async def _is_waiting(self, run: str) -> bool:
        steps = await self.list_steps(run)
        return bool(steps) and steps[-1]["function_name"] in ("DBOS.recv", "DBOS.sleep")

    async def list_steps(self, run: str) -> Any:
        return await DBOS.list_workflow_steps_async(run)

    def server_bytes(self) -> int:
        assert self.postgres is not None
        return self.postgres.size_bytes(DATABASE)


class DbosSqlite(Dbos):
    name = "dbos-sqlite"
    packages = ("dbos", "pysqlite3-binary")
    notes = "On SQLite, in process: its default for development; server and worker and client are one process."

    @classmethod
    def missing(cls) -> str:
        return super(Dbos, cls).missing()

    @property
    def durability(self) -> str:
        return "SQLite's default: synced at each commit"

    def versions(self) -> dict[str, str]:
        import sqlite3

        return {**super(Dbos, self).versions(), "server": f"SQLite {sqlite3.sqlite_version}"}

    async def start_database(self) -> str:
        import pysqlite3

        sys.modules["sqlite3"] = pysqlite3  # of a version that has what DBOS asks for, whatever Python was built with
        self.file = self.workdir / "bench.sqlite"
        return f"sqlite:///{self.file}"

    def processes(self) -> dict[str, list[int]]:
        return {"server+worker+client": client_process()}

    def server_bytes(self) -> int:
        return sum(each.stat().st_size for each in self.workdir.glob("bench.sqlite*"))


class DbosQueue(Dbos):
    name = "dbos-queue"
    completion = "bell"
    cases = IN_PROCESS | {"recover", "replay"}
    notes = f"On PostgreSQL, through a queue polled every {POLL_S * 1000:.0f} ms; done when the body rings."

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir
        self.url = await self.start_database()
        await self.start_worker()
        self.client = await asyncio.to_thread(DBOSClient, system_database_url=self.url, system_database_pool_size=20)

    async def stop(self) -> None:
        try:
            if hasattr(self, "client"):
                await asyncio.to_thread(self.client.destroy)
            await self.kill_worker()
        finally:
            if self.postgres is not None:
                self.postgres.stop()  # not in a thread: DBOS has shut down those of this loop

    def processes(self) -> dict[str, list[int]]:
        assert self.postgres is not None
        return {"server": [self.postgres.pid], "worker": self.worker_pids(), "client": client_process()}

    def worker_arguments(self) -> list[str]:
        return [self.url, str(self.options.concurrency), "uvloop" if self.options.uvloop else "asyncio"]

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.client.enqueue_async(
            {"queue_name": QUEUE, "workflow_name": flow, "app_version": "bench"}, arg
        )

    async def end(self, handle: Any) -> Any:
        return await handle.get_result(polling_interval_sec=POLL_S)

    async def list_steps(self, run: str) -> Any:
        return await self.client.list_workflow_steps_async(run)

    async def send_event(self, handle: Started, payload: int) -> None:
        await self.client.send_async(handle.handle.workflow_id, payload, "go")


async def main(url: str, concurrency: int) -> None:
    logging.disable(logging.INFO)
    left = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, left.set)
    DBOS(config=configuration(url))
    await asyncio.to_thread(DBOS.launch)
    await DBOS.register_queue_async(QUEUE, worker_concurrency=concurrency, polling_interval_sec=POLL_S)
    say_ready()
    await left.wait()
    os._exit(0)  # it would wait for its parked runs


SYSTEMS = [Dbos, DbosQueue, DbosSqlite]

if __name__ == "__main__":
    run_worker(main)
