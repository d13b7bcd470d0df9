"""Restate: its server, a service in Python on hypercorn as its worker, and its ingress by plain HTTP.

A run is a call of a handler and a step is `ctx.run`; what waits for events is a Restate workflow with a promise for
each event. Its server runs one node with its defaults. Its bias, in its favour: a run that somebody waits for is one
request, whose answer is the result, so `start_run` has no round trip of its own; its figures of starts are of `send`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import hypercorn.asyncio
import hypercorn.config
import restate

from benchmarks.bell import Bell, ring
from benchmarks.environments import node_modules
from benchmarks.launch import Peer, Started, say_ready
from benchmarks.systems import Figures, Options, client_process

WORKFLOWS = frozenset({"wait", "long"})
_START_S = 40.0

service = restate.Service("bench")
waiter = restate.Workflow("waiter")


async def work(n: int) -> int:
    return n


async def slow(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


async def woke(due: int) -> int:
    ring(due)
    return due


@service.handler()
async def noop(ctx: restate.Context, n: int) -> int:
    return await ctx.run_typed("work", work, n=n)


@service.handler()
async def steps10(ctx: restate.Context, n: int) -> int:
    for _ in range(10):
        n = await ctx.run_typed("work", work, n=n)
    return n


@service.handler()
async def slow10(ctx: restate.Context, n: int) -> int:
    for _ in range(10):
        n = await ctx.run_typed("slow", slow, n=n)
    return n


@service.handler()
async def parent(ctx: restate.Context, n: int) -> int:
    return await ctx.service_call(noop, arg=n)


@service.handler()
async def fanout(ctx: restate.Context, n: int) -> int:
    children = [ctx.service_call(noop, arg=i) for i in range(n)]
    await restate.gather(*children)
    return len([await child for child in children])


@service.handler()
async def timer(ctx: restate.Context, due: int) -> int:
    await ctx.sleep(timedelta(milliseconds=max(0, due - time.time() * 1000)))
    return await ctx.run_typed("woke", woke, due=due)


@waiter.main()
async def run(ctx: restate.WorkflowContext, asked: dict[str, Any]) -> int:
    n = int(asked["n"])
    if asked["flow"] == "wait":
        for i in range(n):
            await ctx.promise(f"go-{i}").value()
        return n
    for i in range(n):
        await ctx.run_typed("work", work, n=i)
    await ctx.promise("go-0").value()
    await ctx.run_typed("work", work, n=n)
    return n


@waiter.handler()
async def go(ctx: restate.WorkflowSharedContext, event: dict[str, Any]) -> None:
    await ctx.promise(f"go-{event['number']}").resolve(event["payload"])


def server_program() -> str | None:
    """The server itself, not the script of npm that starts it."""
    for found in node_modules().glob("@restatedev/restate-server-*/bin/restate-server"):
        return str(found)
    return shutil.which("restate-server")


class Restate(Peer):
    name = "restate"
    packages = ("restate-sdk", "hypercorn", "aiohttp")
    cases = frozenset(
        {
            *("noop", "steps10", "call_child", "fanout", "latency", "child_latency", "start_only", "parked", "woken"),
            *("events", "timers", "mixed", "recover", "replay"),
        }
    )
    notes = "One node, its defaults; service in one hypercorn process; ingress by HTTP on a unix socket."

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.server: subprocess.Popen[bytes] | None = None
        self.keys = count()
        self.sends = False
        self.program = server_program() or ""

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if server_program() else "@restatedev/restate-server is not installed (npm)")

    @property
    def durability(self) -> str:
        return "its log (RocksDB), synced at each write: its default"

    def versions(self) -> dict[str, str]:
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        return {**super().versions(), "server": said.splitlines()[0].strip()}

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir
        self.base = workdir / "restate"
        environment = {**os.environ, "RESTATE_LOG_FILTER": "warn", "RESTATE_DISABLE_TELEMETRY": "true"}
        command = [self.program, "--base-dir", str(self.base), "--node-name", "bench", "--no-logo"]
        command += ["--listen-mode", "unix"]
        with open(workdir / "server.log", "wb") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=workdir)
        self.ingress = await self._session("ingress.sock")
        self.admin = await self._session("admin.sock")
        await self._await_health()
        await self.start_worker()
        await self._register()

    async def _session(self, name: str) -> aiohttp.ClientSession:
        path = self.base / name if (self.base / name).exists() else self.base / "bench" / name
        deadline = time.monotonic() + _START_S
        while not path.exists():
            assert self.server is not None
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Restate did not start: {(self.workdir / 'server.log').read_text()[-500:]}")
            await asyncio.sleep(0.05)
            found = list(self.base.rglob(name))
            path = found[0] if found else path
        connector = aiohttp.UnixConnector(path=str(path), limit=0)
        return aiohttp.ClientSession("http://restate", connector=connector, timeout=aiohttp.ClientTimeout(110))

    async def _await_health(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                async with self.ingress.get("/restate/health") as one, self.admin.get("/health") as other:
                    if one.status == other.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"Restate is not healthy: {(self.workdir / 'server.log').read_text()[-500:]}")

    async def _register(self) -> None:
        asked = {"uri": f"http://127.0.0.1:{self.port}", "force": True}
        async with self.admin.post("/deployments", json=asked) as reply:
            if reply.status >= 400:
                raise RuntimeError(f"Restate does not take the service: {await reply.text()}")

    async def stop(self) -> None:
        try:
            for each in ("ingress", "admin"):
                if hasattr(self, each):
                    await getattr(self, each).close()
            await self.kill_worker()
        finally:
            if self.server is not None:
                self.server.kill()
                self.server.wait()

    async def stop_worker(self) -> None:
        """hypercorn waits for connections that its server never closes; what it holds is in the server's journal."""
        await self.kill_worker()

    def worker_arguments(self) -> list[str]:
        if not hasattr(self, "port"):
            self.port = free_port()
        return [str(self.port)]

    def processes(self) -> dict[str, list[int]]:
        assert self.server is not None
        return {"server": [self.server.pid], "worker": self.worker_pids(), "client": client_process()}

    async def run_case(self, case: str, n: int, in_flight: int) -> Figures:
        self.sends = case in ("start_only", "recover")
        return await super().run_case(case, n, in_flight)

    async def begin(self, flow: str, arg: int) -> Any:
        if flow in WORKFLOWS:
            key = f"run-{next(self.keys)}"
            await self._post(f"/waiter/{key}/run/send", {"flow": flow, "n": arg})
            return key, count()
        if self.sends or flow == "timer":
            # With a key of its own, without which nobody may ask for the result.
            key = f"run-{next(self.keys)}"
            sent = await self._post(f"/bench/{flow}/send", arg, {"idempotency-key": key})
            return sent["invocationId"]
        return asyncio.ensure_future(self._post(f"/bench/{flow}", arg))

    async def end(self, handle: Any) -> Any:
        if isinstance(handle, asyncio.Future):
            return await handle
        if isinstance(handle, str):
            return await self._get(f"/restate/invocation/{handle}/attach")
        return await self._get(f"/restate/workflow/waiter/{handle[0]}/attach")

    async def send_event(self, handle: Started, payload: int) -> None:
        key, numbers = handle.handle
        await self._post(f"/waiter/{key}/go/send", {"number": next(numbers), "payload": payload})

    async def until_parked(self, handles: Sequence[Started]) -> None:
        """The journals of all have asked for their first promise."""
        query = "select i.target as target from sys_journal j join sys_invocation_status i on i.id = j.id "
        query += "where j.entry_type = 'Command: GetPromise'"
        wanted = {f"waiter/{handle.handle[0]}/run" for handle in handles}
        while True:
            async with self.admin.post(
                "/query", json={"query": query}, headers={"accept": "application/json"}
            ) as reply:
                if wanted <= {row["target"] for row in (await _answer(reply))["rows"]}:
                    return
            await asyncio.sleep(0.05)

    async def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        async with self.ingress.post(path, json=body, headers=headers) as reply:
            return await _answer(reply)

    async def _get(self, path: str) -> Any:
        async with self.ingress.get(path) as reply:
            return await _answer(reply)

    def server_bytes(self) -> int:
        return sum(each.stat().st_size for each in self.base.rglob("*") if each.is_file())


async def _answer(reply: aiohttp.ClientResponse) -> Any:
    if reply.status >= 400:
        raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
    return await reply.json(content_type=None)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def main(port: str) -> None:
    logging.disable(logging.WARNING)
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = 2_147_483_647
    config.keep_alive_max_requests = 2_147_483_647
    config.keep_alive_timeout = 2_147_483_647
    serving = asyncio.ensure_future(hypercorn.asyncio.serve(restate.app(services=[service, waiter]), config))
    while True:  # it does not tell when it listens
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        break
    say_ready()
    await serving


SYSTEMS = [Restate]

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
