"""Ends coroutines and tasks of a run that is dropped from memory, without a loop.

`Abandoned` is thrown in where they wait, again for every further ``await``, until they are over. Not ``close()``: up to
Python 3.12 that does not reach into an ``async for``, whose generator would be left suspended for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from durable_async.errors import ControlFlow

MAX_THROWS: Final = 100
"""How often a coroutine may go on awaiting before it is given up."""

_immortal: list[object] = []
"""What refused to end. Freeing a suspended coroutine runs it again, and what swallows everything then spins: they are
kept instead."""


class Abandoned(ControlFlow):
    """The run has been dropped from memory: nothing can be done in its name any more."""


def end_coroutine(coroutine: Any) -> None:
    """End a coroutine; whatever it awaits meanwhile just ends, whatever it raises is dropped.

    Raises:
        KeyboardInterrupt, SystemExit: if the coroutine raised them.
    """
    for _ in range(MAX_THROWS):
        try:
            coroutine.throw(Abandoned("the run was dropped from memory"))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  # it is over: returned, or let this or an error of its own pass
            return
    _immortal.append(coroutine)
    _leak(coroutine)


def _leak(kept: object) -> None:
    """Counts a reference that nobody holds: a process that ends frees what modules hold, and would not end."""
    try:
        import ctypes
    except ImportError:  # an interpreter built without it
        return
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def end_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """End an async generator that is suspended at a ``yield``, as `end_coroutine` does."""
    closing: Any = generator.aclose()
    try:
        closing.send(None)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # it is over
        return
    end_coroutine(closing)


def silence(task: asyncio.Task[Any]) -> None:
    """Keep the destructor from logging that the task is still pending."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # private, and the only way


def disconnect(task: asyncio.Task[Any]) -> None:
    """Cut the cycle task → awaited future → wake-up callback → task, so that memory is free at once."""
    waiter: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    for future in (task, waiter):
        if future is not None:
            callbacks: list[tuple[Any, object]] = getattr(future, "_callbacks", None) or []
            for callback, _ in list(callbacks):
                future.remove_done_callback(callback)
