"""A socket between a supervisor and each worker process: the child says that it is ready, and sees its parent die.

`kill -9` of the supervisor closes its ends, so its children drain and leave instead of running on unsupervised.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "DURABLE_LIFELINE_FD"
READY: Final = b"r"


class Lifeline:
    """The child's end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def inherited(cls) -> Lifeline | None:
        """The one that the environment names; None in a process that is no supervisor's child.

        The variable is removed: processes that a step starts are not the supervisor's children.
        """
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            end = socket.socket(fileno=int(text))
        except (ValueError, OSError):
            return None
        end.set_inheritable(False)
        end.setblocking(False)
        return cls(end)

    def say_ready(self) -> None:
        """Tells the supervisor that this worker serves."""
        with contextlib.suppress(OSError):
            self._end.send(READY)

    def close(self) -> None:
        """Closes this end."""
        self._end.close()

    async def watch(self, on_end: Callable[[], None]) -> None:
        """Calls `on_end` when the supervisor has gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while await loop.sock_recv(self._end, 64):
                pass
        on_end()
