"""Makes the order in which asyncio and anyio visit their sets the same in every process.

Both keep tasks, scopes and awaitables in sets and loop over them: to cancel them, to start them, to hand them back. An
object's default hash is its address, so the order of those loops would differ between a first run and its replay.
What a deterministic loop makes itself (`futures.py`) hashes by a number counted per loop. This module owns the rest:
objects that the libraries make, which cannot be subclassed from outside and are therefore amended in place. Every
amendment asks first whether a deterministic loop is running; for any other loop nothing changes.

Not covered, because nothing can be: sets of strings in a body (``PYTHONHASHSEED``), a *set* of coroutines given to
``as_completed`` (a list is fine), bare ``asyncio.Future()`` objects in a set (``loop.create_future()`` is fine).
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import builtins
from asyncio.events import _get_running_loop
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

_plain_all_tasks = asyncio.all_tasks


@cache
def install() -> None:
    """Amend asyncio and anyio, once. Imports anyio's backend, which takes some ten milliseconds the first time."""
    setattr(asyncio.tasks, "set", _ordered_set)  # noqa: B010  # adds a module global, see _ordered_set
    asyncio.all_tasks = asyncio.tasks.all_tasks = _all_tasks
    setattr(asyncio.tasks._GatheringFuture, "__hash__", _number_of)  # type: ignore[attr-defined]  # noqa: B010  # private
    try:
        backend = import_module("anyio._backends._asyncio")
    except ImportError:
        return
    _amend_anyio(backend)


def _deterministic() -> Any:
    """The running loop if it is a deterministic one, else None."""
    loop = _get_running_loop()
    return loop if getattr(loop, "is_deterministic", False) else None


def _ordered_set(items: Iterable[Any] | None = None) -> Any:
    """What the name ``set`` means in the module ``asyncio.tasks``.

    ``asyncio.wait`` and ``asyncio.as_completed`` copy their argument with ``set(...)`` and loop over the copy; the
    latter starts coroutines in that order. A dict loops in the order given and is all that both need. Shadowing the
    name in that one module also reaches code that did ``from asyncio import as_completed``.
    """
    if items is None:
        return builtins.set()
    if _deterministic() is not None:
        return dict.fromkeys(items)
    return builtins.set(items)


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """``asyncio.all_tasks``, which for a deterministic loop is filled in the order in which the tasks were created.

    The original goes through the tasks of the whole process, in an order that depends on the other runs.
    """
    of = loop if loop is not None else _get_running_loop()
    if getattr(of, "is_deterministic", False):
        tasks: list[asyncio.Task[Any]] = getattr(of, "tasks")  # noqa: B009  # a deterministic loop has it
        return builtins.set(tasks)
    return _plain_all_tasks(loop)


def _number_of(self: Any) -> int:
    """A hash that is the same in every process for an object first hashed inside a deterministic loop.

    It is chosen once and kept, so that it does not change when the object travels between loops.
    """
    known: int | None = getattr(self, "_durable_hash", None)
    if known is not None:
        return known
    loop = _deterministic()
    number: int = object.__hash__(self) if loop is None else loop.next_number()
    self._durable_hash = number
    return number


class OrderedSet(dict[Any, None]):
    """The part of ``set`` that anyio uses for child scopes, looping in the order of insertion."""

    __slots__ = ()

    def add(self, item: Any) -> None:
        """As ``set.add``; an item already there keeps its place."""
        self[item] = None

    def remove(self, item: Any) -> None:
        """As ``set.remove``."""
        del self[item]

    def discard(self, item: Any) -> None:
        """As ``set.discard``."""
        self.pop(item, None)


def _amend_anyio(backend: Any) -> None:
    """Order the children of cancel scopes (cancelled in a loop) and events (set in a loop by a closing stream)."""
    scope, event = backend.CancelScope, backend.Event
    plain_init = scope.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        plain_init(self, *args, **kwargs)
        if _deterministic() is not None and not self._child_scopes:
            self._child_scopes = OrderedSet()

    def event_hash(self: Any) -> int:
        return _number_of(self._event)

    scope.__init__ = init
    event.__hash__ = event_hash
