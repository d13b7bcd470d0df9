"""Async generators of one loop: which are unfinished, and when they are closed.

An async generator that is dropped half-way has to be closed by running it once more, and that may await. asyncio does
so when the object is freed. By reference count that moment is deterministic, by the cycle collector it is not: so a
generator freed by the collector, or while its loop is not being stepped, is kept and closed when the body ends.
This module owns that registry. It must not know how the loop runs what it is asked to run.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

from durable_async.engine.collector import is_collecting
from durable_async.engine.ending import end_generator

Generator = AsyncGenerator[Any, Any]

_owners: dict[int, AsyncGenerators] = {}
"""By id: the registry of the loop in which a generator was first iterated. Of one that has ended by itself it stays,
until its loop ends or another generator has its id."""


class Freed:
    """The ``finalizer`` hook of a thread, for the generators of all loops: tells the registry of each, or whoever was
    to be told before."""

    __slots__ = ("_outer",)

    def __init__(self, outer: Callable[[Generator], object] | None) -> None:
        self._outer = outer

    def __call__(self, generator: Generator) -> None:
        """Tells of one that nobody holds any more."""
        owner = _owners.pop(id(generator), None) if _owners else None
        if owner is not None:
            owner.freed(generator)
        elif self._outer is not None:
            self._outer(generator)


def forget(generator: Generator) -> None:
    """This one is first iterated outside of any loop of ours: whoever had its id before is gone."""
    if _owners:
        _owners.pop(id(generator), None)


class AsyncGenerators:
    """The unfinished async generators first iterated while one loop was being stepped, in that order."""

    __slots__ = ("_close", "_known", "_purge_at")

    def __init__(self, close: Callable[[Generator], bool]) -> None:
        """`close` starts closing a generator on the loop, or returns False if this is not the time for it."""
        self._close = close
        self._known: dict[int, weakref.ref[Generator] | Generator] = {}
        self._purge_at = 64

    def first_iterated(self, generator: Generator) -> None:
        """The ``firstiter`` hook."""
        if len(self._known) >= self._purge_at:
            self._purge()
            self._purge_at = max(64, 2 * len(self._known))
        # An id may be that of a generator freed since: the new one takes its own place in the order.
        self._known.pop(id(generator), None)
        self._known[id(generator)] = weakref.ref(generator)
        _owners[id(generator)] = self

    def _purge(self) -> None:
        known, self._known = self._known, {}
        self._known = {id(g): known[id(g)] for g in _suspended(known)}
        for number in known.keys() - self._known.keys():
            if _owners.get(number) is self:
                del _owners[number]

    def freed(self, generator: Generator) -> None:
        """Nobody holds it any more: close it now if the moment is deterministic, else keep it until the body ends."""
        if is_collecting() or not self._close(generator):
            self._known[id(generator)] = generator

    def unfinished(self) -> list[Generator]:
        """Those that still have something to run, in the order in which they were first iterated."""
        return _suspended(self._known)

    def abandon(self) -> None:
        """Close all of them on the spot; whatever they await in ``finally`` just ends."""
        for generator in self.unfinished():
            end_generator(generator)
        self._purge()
        self._known.clear()


def _suspended(known: dict[int, weakref.ref[Generator] | Generator]) -> list[Generator]:
    found = (entry() if isinstance(entry, weakref.ref) else entry for entry in known.values())
    return [g for g in found if g is not None and getattr(g, "ag_frame", None) is not None]
