"""What peers have in common: a worker process that is the peer's own module run as a program, and a server of ours.

A peer on Redis or Valkey gets the server that durable_async gets: the same program, with the same settings, on a unix
socket. `Started` looks after the arguments of runs, so that a wrong result is an error and no figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from benchmarks.bell import VARIABLE, Bell
from benchmarks.processes import tree
from benchmarks.servers import DURABILITY, redis_server, server_version, used_memory
from benchmarks.systems import Figures, Options, System, client_process

READY = "ready"
"""What a worker process prints when it takes work."""
_READY_SECONDS = 60.0
_LEAVE_SECONDS = 20.0


class Started(NamedTuple):
    """A run: the peer's own handle, and what its result has to be."""

    handle: Any
    expected: int


class WrongResult(Exception):
    """The peer has answered, and the work was not done as asked."""


class Peer(System):
    """A system whose worker is its own module as a program: `python -m benchmarks.peers.NAME ARGUMENT…`."""

    by_result: ClassVar[frozenset[str]] = frozenset()
    """Where `completion` is the bell: cases that are measured by the result nonetheless."""
    checked: ClassVar[int] = 500
    """Of what the bell has counted, so many results are fetched afterwards, one after the other."""

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.workdir = Path()
        self.worker: subprocess.Popen[bytes] | None = None
        self._unchecked: list[Started] = []

    @abstractmethod
    async def begin(self, flow: str, arg: int) -> Any:
        """Starts a run and returns the peer's handle."""

    @abstractmethod
    async def end(self, handle: Any) -> Any:
        """Awaits the run and returns its result."""

    @abstractmethod
    def worker_arguments(self) -> list[str]:
        """What follows the module's name on the worker's command line."""

    async def start_run(self, flow: str, arg: int) -> Started:
        started = Started(await self.begin(flow, arg), arg)
        if self.completion == "bell":
            self._unchecked.append(started)
        return started

    async def result(self, handle: Started) -> int:
        found = await self.end(handle.handle)
        if found != handle.expected:
            raise WrongResult(f"{found!r} instead of {handle.expected}")
        return handle.expected

    async def run_case(self, case: str, n: int, in_flight: int) -> Figures:
        """As everybody's; and if it was the bell that counted, the last results are fetched and looked at."""
        self._unchecked.clear()
        usual = self.completion
        if case in self.by_result:
            self.completion = "result"  # type: ignore[misc]
        try:
            figures = await super().run_case(case, n, in_flight)
        finally:
            self.completion = usual  # type: ignore[misc]
        if self._unchecked:
            for started in self._unchecked[-self.checked :]:
                await self.result(started)
        return figures

    def worker_pids(self) -> list[int]:
        """The worker process; its tree is counted with it."""
        return [self.worker.pid] if self.worker is not None else []

    async def start_worker(self) -> None:
        command = [sys.executable, "-m", type(self).__module__, *self.worker_arguments()]
        with open(self.workdir / "worker.log", "ab") as log:
            self.worker = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, VARIABLE: self.bell.path}
            )
        async with asyncio.timeout(_READY_SECONDS):
            await asyncio.to_thread(self._await_ready, self.worker)

    def _await_ready(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            if line.strip() == READY.encode():
                return
        raise RuntimeError(f"the worker did not start: {self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what the worker has said on its standard error."""
        return (self.workdir / "worker.log").read_text(errors="replace")[-800:].strip()

    async def kill_worker(self) -> None:
        await self._end_worker(signal.SIGKILL)

    async def stop_worker(self) -> None:
        await self._end_worker(signal.SIGTERM)

    async def _end_worker(self, how: signal.Signals) -> None:
        if self.worker is None:
            return
        # Those that it has started do not all leave with it.
        pids = list(tree(self.worker.pid))
        for pid in pids if how is signal.SIGKILL else pids[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        deadline = time.monotonic() + _LEAVE_SECONDS
        while any(map(_is_alive, pids)):
            if time.monotonic() > deadline:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self.worker.poll()
            await asyncio.sleep(0.005)
        self.worker.wait()
        if self.worker.stdout is not None:
            self.worker.stdout.close()
        self.worker = None


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


class RedisPeer(Peer):
    """A peer on Redis or Valkey."""

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.server = redis_server(options.fsync)

    @property
    def url(self) -> str:
        """``unix://`` and the path of the server's socket."""
        return self.server.url

    @property
    def durability(self) -> str:
        return DURABILITY[self.options.fsync]

    def versions(self) -> dict[str, str]:
        return {**super().versions(), "server": server_version(self.server)}

    def worker_arguments(self) -> list[str]:
        loop = "uvloop" if self.options.uvloop else "asyncio"
        return [self.url, str(self.options.concurrency), loop]

    async def start(self, workdir: Path) -> None:
        self.workdir = workdir
        await asyncio.to_thread(self.server.start)
        await self.connect()
        await self.start_worker()

    async def stop(self) -> None:
        try:
            await self.disconnect()
        finally:
            await self.kill_worker()
            self.server.stop()

    async def connect(self) -> None:
        """Opens the client; before the worker starts."""

    async def disconnect(self) -> None:
        """Closes it; also if `connect` was not reached."""

    def processes(self) -> dict[str, list[int]]:
        return {"server": [self.server.pid], "worker": self.worker_pids(), "client": client_process()}

    def server_bytes(self) -> int:
        return used_memory(self.server)


def run_worker(main: Any) -> None:
    """The worker's program: `main(url, concurrency)` as a coroutine, on the loop that the command line names."""
    url, concurrency, loop = sys.argv[1:4]
    if loop == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(main(url, int(concurrency)))


def say_ready() -> None:
    """Tells the harness that the worker takes work."""
    print(READY, flush=True)
