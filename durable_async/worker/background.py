"""Rare paths as tasks: none is lost, none fails unseen, and the worker can wait for all of them."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from durable_async.errors import DurableError

log = logging.getLogger("durable_async.worker")


def place_of(error: BaseException) -> str:
    """Where an unexpected error came from, for a log line: its own text may quote what was stored."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].name} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


class Background:
    """The tasks that a worker's callbacks have started."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Starts one; an error is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            said = error if isinstance(error, DurableError) else f"{type(error).__name__}{place_of(error)}"
            log.error("a background task failed: %s", said)

    async def wait(self) -> None:
        """Returns when none is left."""
        while self._tasks:
            # Not `gather`: since Python 3.12 it answers at once if all have ended, and then, in the tick in which the
            # last one did, their callbacks would never get their turn.
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Stops all of them, as a crash would."""
        for task in self._tasks:
            task.cancel()
