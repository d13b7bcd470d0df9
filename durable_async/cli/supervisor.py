"""Runs worker processes and starts those again that die; for ``durable worker -w N`` and ``--reload``.

Children are new interpreters with the same command line, never forks of a process that has connected or has threads.
Each is in a session of its own: a Ctrl-C reaches the supervisor alone, which passes it on, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import IO, Final

from durable_async.cli.exits import CUT, DONE, UNREACHABLE, USAGE
from durable_async.cli.lifeline import READY, VARIABLE
from durable_async.client.running import STOP_SIGNALS, Stop

log = logging.getLogger("durable_async.cli")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 10.0
"""A process that lived so long did not die of its start: the next pause is short again."""
KILL_MARGIN_S: Final = 10.0
"""Beyond the drain time, before a process that does not leave is killed."""


class Child:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, end: socket.socket) -> None:
        self.process = process
        self.pid = process.pid
        self.started = monotonic()
        self.is_ready = asyncio.Event()
        self.is_asked = False
        """Whether it was told to leave."""
        self._end = end
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def start(
        cls, arguments: Sequence[str], *, stderr: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Starts ``durable ARGUMENTS`` in a new interpreter with this one's flags; what it logs goes to `stderr`.
        `environment` comes on top of this process's own.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *interpreter(), "-m", "durable_async", *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **(environment or {}), VARIABLE: str(theirs.fileno())},
                start_new_session=True,
            )  # fmt: skip
        ours.setblocking(False)
        return cls(process, ours)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            if await loop.sock_recv(self._end, 1) == READY:
                self.is_ready.set()

    async def starts(self) -> bool:
        """Waits until it serves; False if it ends before."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(self.is_ready.wait()), loop.create_task(self.process.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self.is_ready.is_set()

    def ask(self, number: int) -> None:
        """Passes a signal on."""
        self.is_asked = True
        self.send(number)

    def send(self, number: int) -> None:
        """Sends a signal, unless the process has been seen to end; also from a signal handler."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)  # not `Popen.send_signal`, which may take the exit code from asyncio

    async def wait(self) -> int:
        """The exit code; minus the signal that killed it."""
        code = await self.process.wait()
        self._listening.cancel()
        self._end.close()
        return code


def interpreter() -> list[str]:
    """How to start this interpreter again, with its flags."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags]


class Supervisor:
    """The parent of the worker processes.

    Args:
        arguments: the command line of the children, which is the supervisor's own.
        processes: how many.
        is_burst: whether a child that ends with 0 has done its work.
        is_reloading: whether they are started again when Python files in the working directory change.
        drain_timeout: seconds that a child may take to leave, about.
        environment: what the environment of the n-th process says beside this one's.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        processes: int,
        is_burst: bool,
        is_reloading: bool,
        drain_timeout: float,
        environment: Callable[[int], Mapping[str, str]] = lambda number: {},
    ) -> None:
        self._arguments = list(arguments)
        self._environment = environment
        self._processes = processes
        self._is_burst = is_burst
        self._is_reloading = is_reloading
        self._kill_after = drain_timeout * 1.5 + KILL_MARGIN_S
        self._children: dict[int, Child] = {}
        self._codes: list[int] = []
        self._was_ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._verdict: int | None = None
        """The exit code of a child for which starting it again would not help."""

    async def run(self) -> int:
        """Runs until told to stop, all bursts are done, or there is no point in going on; returns the exit code."""
        loop = asyncio.get_running_loop()
        signals: list[signal.Signals] = list(STOP_SIGNALS)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signals.append(signal.SIGHUP)
        with Stop(signals, at_once=self._kill_all) as stop:
            self._stop = stop
            others = [loop.create_task(self._pass_on())]
            if self._is_reloading:
                others.append(loop.create_task(self._watch_files()))
            # The first alone, until it serves: what is wrong with all of them is said once.
            keepers = [loop.create_task(self._keep(1))]
            ready = loop.create_task(self._was_ready.wait())
            await asyncio.wait([keepers[0], ready], return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if self._was_ready.is_set():
                keepers += [loop.create_task(self._keep(n)) for n in range(2, self._processes + 1)]
            await asyncio.gather(*keepers)
            for task in others:
                task.cancel()
        return self._code()

    def _code(self) -> int:
        if self._verdict is not None:
            return self._verdict
        if any(code < 0 or code >= 128 for code in self._codes):
            return CUT
        return max(self._codes, default=DONE)

    async def _keep(self, number: int) -> None:
        """One of the processes, over all its lives."""
        pause = FIRST_PAUSE_S
        while not self._stop.requested.is_set():
            child = await Child.start(self._arguments, environment=self._environment(number))
            self._children[number] = child
            ready = asyncio.get_running_loop().create_task(self._note_ready(child))
            if self._stop.requested.is_set():
                child.ask(signal.SIGTERM)
            code = await child.wait()
            ready.cancel()
            del self._children[number]
            if self._stop.requested.is_set() or (code == DONE and self._is_burst):
                self._codes.append(code)
                return
            if child.is_asked:
                continue
            if await self._is_hopeless(code):
                return
            pause = FIRST_PAUSE_S if monotonic() - child.started > STEADY_S else pause
            what = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with {code}"
            log.warning("worker process %d %s; another one starts in %.1f s", child.pid, what, pause)
            await self._pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _note_ready(self, child: Child) -> None:
        await child.is_ready.wait()
        self._was_ready.set()

    async def _is_hopeless(self, code: int) -> bool:
        """Whether another start would end the same; ends everything if so, but waits for a change if reloading."""
        if code != USAGE and (code != UNREACHABLE or self._was_ready.is_set()):
            return False
        if self._is_reloading:
            log.info("waiting for a change of the files")
            self._changed.clear()
            await self._first_of(self._changed)
            return False
        self._verdict = code
        self._stop.request()
        return True

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.requested.wait()

    async def _first_of(self, event: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(event.wait()), loop.create_task(self._stop.requested.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _pass_on(self) -> None:
        """Tells the children to leave when this process is told to, and kills those that do not."""
        await self._stop.requested.wait()
        if self._stop.signal is not None:
            name = _signal_name(self._stop.signal)
            log.info("%s: %d worker processes drain; a second signal stops at once", name, len(self._children))
        number = signal.SIGINT if self._stop.signal == signal.SIGINT else signal.SIGTERM
        for child in list(self._children.values()):
            child.ask(number)
        await asyncio.sleep(self._kill_after)
        for child in list(self._children.values()):
            log.error("worker process %d does not leave and is killed", child.pid)
            child.send(signal.SIGKILL)

    def _kill_all(self) -> None:
        for child in list(self._children.values()):
            child.send(signal.SIGKILL)

    async def _watch_files(self) -> None:
        try:
            await self._restart_on_changes()
        except (OSError, RuntimeError) as error:  # the system's limits, and what watchfiles makes of them
            log.error("the files cannot be watched, and nothing is reloaded: %s", error)

    async def _restart_on_changes(self) -> None:
        import watchfiles

        here = os.getcwd()
        is_watching = False
        async for changes in watchfiles.awatch(
            here, watch_filter=watchfiles.PythonFilter(), rust_timeout=500, yield_on_timeout=True
        ):
            if not is_watching:
                is_watching = True
                log.info("watching the Python files in %s", here)
            if not changes:
                continue
            names = sorted({os.path.basename(path) for _, path in changes})
            log.info("%s changed: starting again", ", ".join(names[:3]) + (" and others" if len(names) > 3 else ""))
            self._changed.set()
            for child in list(self._children.values()):
                child.ask(signal.SIGTERM)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
