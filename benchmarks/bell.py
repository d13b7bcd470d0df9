"""The bell: how a worker process tells the harness that something has happened, outside of the system measured.

One write to a named pipe: a system call of a few microseconds, the same for every system. Rung by a step or task as its
last act, it says that a body has come so far; not that the system has recorded it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from functools import cache
from pathlib import Path
from time import time

VARIABLE = "DURABLE_BENCH_BELL"
_BYTES = 16
"""Of one ring: a number, padded. Writes of so few bytes do not mix in a pipe."""
_PIPE_BYTES = 1 << 20


def ring(number: int) -> None:
    """Rings, in a worker process; does nothing where `VARIABLE` is not set. From any thread."""
    if (rope := _rope()) is not None:
        os.write(rope, b"%16d" % number)


@cache
def _rope() -> int | None:
    path = os.environ.get(VARIABLE)
    return os.open(path, os.O_WRONLY) if path else None


class Bell:
    """The harness's end: who rang when, and waiting for it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.rung: list[tuple[int, float]] = []
        """Every ring since `clear`: its number, and when it was heard, as Unix time in ms."""
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._early: set[int] = set()
        self._rest = b""
        os.mkfifo(path, 0o600)
        # For writing as well: otherwise it is at its end whenever no worker has it open.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def open(self) -> None:
        """Listens, on the running loop."""
        asyncio.get_running_loop().add_reader(self._pipe, self._hear)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)

    def clear(self) -> None:
        """Forgets what was rung, before another case."""
        self.rung.clear()
        self._early.clear()
        self._waiting.clear()

    async def wait(self, number: int) -> None:
        """Returns when this number is rung, or at once if it was rung and nobody waited for it."""
        if number in self._early:
            self._early.remove(number)
            return
        await self._waiting.setdefault(number, asyncio.get_running_loop().create_future())

    def _hear(self) -> None:
        data, now = self._rest + os.read(self._pipe, 1 << 16), time() * 1000
        whole = len(data) - len(data) % _BYTES
        self._rest = data[whole:]
        for i in range(0, whole, _BYTES):
            number = int(data[i : i + _BYTES])
            self.rung.append((number, now))
            future = self._waiting.pop(number, None)
            if future is None:
                self._early.add(number)
            elif not future.done():
                future.set_result(None)
