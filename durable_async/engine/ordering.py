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
from typing import Any

_installed = False


def install() -> None:
    """Amend asyncio and anyio, once. Imports anyio's backend, which takes some ten milliseconds the first time."""
    global _installed
    if _installed:
        return
    _installed = True
    setattr(asyncio.tasks, "set", _ordered_set)  # noqa: B010  # adds a module global, see _ordered_set
    setattr(asyncio.tasks._GatheringFuture, "__hash__", _number_of)  # type: ignore[attr-defined]  # noqa: B010  # private
    try:
        from anyio._backends import _asyncio as backend
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


def _number_of(self: Any) -> int:
    """A hash that is the same in every process for an object first hashed inside a deterministic loop.

    It is chosen once and kept, so that it does not change when the object travels between loops.
    """
    number: int | None = getattr(self, "_durable_hash", None)
    if number is None:
        loop = _deterministic()
        number = self._durable_hash = object.__hash__(self) if loop is None else loop.next_number()
    return number


class OrderedSet(dict[Any, None]):
    """The part of ``set`` that anyio uses for child scopes, looping in the order of insertion."""

    __slots__ = ()

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]

    def discard(self, item: Any) -> None:
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
