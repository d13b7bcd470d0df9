"""Starts what a case needs: a server, one worker process, and a client in this process; measures their CPU."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import flows
from durable_async import Durable
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

TICKS = os.sysconf("SC_CLK_TCK")


class Rig:
    """One server, one worker process, one client."""

    def __init__(self, server: EphemeralServer, durable: Durable, worker_pid: int) -> None:
        self.server = server
        self.durable = durable
        self.worker_pid = worker_pid

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds used so far, by process."""
        return {
            "server": cpu_of(self.server.pid),
            "worker": cpu_of(self.worker_pid),
            "client": cpu_of(os.getpid()),
        }

    async def server_info(self) -> dict[str, str]:
        """The server's INFO."""
        store = self.durable._session.store
        text = (await store.caller.call(("INFO", "everything"))).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def cpu_of(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def peak_kib(pid: int) -> int:
    """Resident memory of a process at its largest."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@asynccontextmanager
async def rig(options: argparse.Namespace) -> AsyncIterator[Rig]:
    """Everything started and connected, and stopped again."""
    with ephemeral_server(appendonly=True, fsync=options.fsync) as server:
        command = [sys.executable, "-m", "benchmarks.worker", server.url, str(options.concurrency)]
        if options.uvloop:
            command.append("uvloop")
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            durable = Durable(server.url, workflows=flows.ALL)
            async with durable:
                yield Rig(server, durable, process.pid)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def settings(options: argparse.Namespace, info: dict[str, str]) -> dict[str, Any]:
    """Versions, machine and settings, for every result."""
    return {
        "durable_async": version("durable-async"),
        "python": platform.python_version(),
        "server": f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version'))}",
        "aof": options.fsync,
        "concurrency": options.concurrency,
        "in_flight": options.in_flight,
        "loop": "uvloop" if options.uvloop else "asyncio",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
