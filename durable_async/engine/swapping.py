"""Puts a deterministic loop in the place of the outer one while a thread steps it, and puts everything back.

It owns what asyncio and Python keep per thread: the running loop, who is told of async generators, and, of our own,
which loop a thread is stepping. It must not know what is done while a loop is stepped.

Up to Python 3.11 every look at the running loop asks the kernel for the process's id, and an audit hook makes a change
of the generators' hooks dear. A one-step run is stepped twice, so here neither is done more often than it has to be.
"""

from __future__ import annotations

import asyncio
from _thread import get_ident
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import AsyncGenerator, Callable
from sys import get_asyncgen_hooks, set_asyncgen_hooks
from typing import Any

from durable_async.engine import guard
from durable_async.engine.asyncgens import AsyncGenerators, Freed, forget
from durable_async.engine.ending import Abandoned
from durable_async.engine.reporting import ReportingLoop

Hook = Callable[[AsyncGenerator[Any, Any]], object]

STEPPED: dict[int, SwappedLoop] = {}
"""By thread: the loop that it is stepping now, which then is asyncio's running loop, too."""


class SwappedLoop(ReportingLoop):
    """The part of a loop that makes it the running one while it is stepped."""

    _budget: int
    _max_callbacks: int

    def __init__(self, around: asyncio.AbstractEventLoop | None = None) -> None:
        """`around` is the loop from whose callbacks this one is always stepped; None if that may be any or none."""
        super().__init__()
        self._around = around
        self._is_stepping = False
        self._thread = 0
        self._asyncgens: AsyncGenerators | None = None

    def is_running(self) -> bool:
        """Whether the loop is being stepped now."""
        return self._is_stepping

    def _step(self, work: Callable[[], None]) -> None:
        """Do `work` with this loop as the running one, in the guard, and put everything back whatever happens."""
        if self._is_closed:
            raise Abandoned("the run was dropped from memory")
        if self._is_stepping:
            raise RuntimeError("the loop is already being stepped")
        self._thread = thread = get_ident()
        within, around = STEPPED.get(thread), self._around
        # A loop that has stopped must not become the running one.
        outer = within or (around if around is not None and around.is_running() else _get_running_loop())
        hooks = get_asyncgen_hooks()
        is_told = type(hooks[0]) is _FirstIterated
        self._is_stepping = True
        self._budget = self._max_callbacks
        try:
            if not is_told:
                set_asyncgen_hooks(_FirstIterated(hooks[0]), Freed(hooks[1]))
            STEPPED[thread] = self
            _set_running_loop(self)
            was_guarded = guard.enter(thread)
            try:
                work()
            finally:
                guard.leave(thread, was_guarded)
        finally:
            _set_running_loop(outer)
            if within is None:
                STEPPED.pop(thread, None)
            else:
                STEPPED[thread] = within
            # Our hooks pass on what is not for a loop of ours, and the outer loop puts its predecessor's back when it
            # ends: they may stay. Without an outer loop nobody would ever remove them.
            if outer is None and not is_told:
                set_asyncgen_hooks(*hooks)
            self._is_stepping = False

    def _asyncgen_first_iterated(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens is None:
            self._asyncgens = AsyncGenerators(self._close_asyncgen)
        self._asyncgens.first_iterated(generator)

    def _close_asyncgen(self, generator: AsyncGenerator[Any, Any]) -> bool:
        if self._is_closed or not self._is_stepping:
            return False
        _ = self.create_task(generator.aclose())  # kept alive and reported by the loop
        return True


class _FirstIterated:
    """The ``firstiter`` hook of a thread: tells the loop that is being stepped, or who was to be told before."""

    __slots__ = ("_outer",)

    def __init__(self, outer: Hook | None) -> None:
        self._outer = outer

    def __call__(self, generator: AsyncGenerator[Any, Any]) -> None:
        loop = STEPPED.get(get_ident())
        if loop is not None:
            loop._asyncgen_first_iterated(generator)
            return
        forget(generator)
        if self._outer is not None:
            self._outer(generator)


guard.boundary(SwappedLoop._step.__code__)
