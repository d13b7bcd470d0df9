"""The objects a deterministic loop hands out: futures, tasks and handles.

They own nothing but a number: their hash is counted per loop instead of being an address, so that every set of them is
looped over in the same order on replay. Equality stays identity. They must not know what a loop does with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class LoopFuture(asyncio.Future[T]):
    """A future that hashes by its number. Made by ``loop.create_future()`` only, which sets the number."""

    __slots__ = ("_number",)
    _number: int

    def __hash__(self) -> int:
        return self._number


class LoopTask(asyncio.Task[T]):
    """A task that hashes by its number and remembers its context. Made by ``loop.create_task()`` only.

    The context is kept because ``Task.get_context`` only exists from Python 3.12, and an abandoned body's ``finally``
    blocks must run in it.
    """

    __slots__ = ("_home", "_number")
    _number: int
    _home: Context

    def __hash__(self) -> int:
        return self._number


class LoopHandle(asyncio.Handle):
    """A callback in the ready queue.

    Lighter than its base: no loop, no source traceback. The slots of the base that it leaves unset are read only by
    methods it replaces.
    """

    __slots__ = ()

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        """Do not run the callback, and let go of it."""
        self._cancelled = True
        self._callback = _nothing
        self._args = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'cancelled' if self._cancelled else self._callback!r}>"


class LoopTimer(asyncio.TimerHandle):
    """A callback that waits for a time. Light as `LoopHandle` is."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = context
        self._cancelled = False
        self._scheduled = True

    def cancel(self) -> None:
        """Do not run the callback, let go of it, and tell the loop if the timer is in its heap."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = _nothing
            self._args = ()
            if self._scheduled:
                self._loop._timer_handle_cancelled(self)  # type: ignore[attr-defined]  # asyncio's own protocol

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'cancelled' if self._cancelled else self._callback!r} at {self._when}>"


def _nothing() -> None:
    """What a cancelled handle runs."""
