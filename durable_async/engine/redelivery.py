"""Keeps anyio's repeated cancellation from spinning a loop that has nothing else to do.

A cancelled anyio scope cancels the tasks in it again on every turn of the loop until they have left. On an ordinary
loop a task that cannot leave yet (say an ``asyncio.TaskGroup`` in the scope, waiting for a child that cleans up) only
costs CPU. Here it would mean that the loop is never quiescent, so that the run could not park and the child's durable
clean-up never be done.

So a scope that has delivered many times in a row without any task having begun or ended is parked: it delivers again as
soon as anything else is ready. That depends on nothing but the order of events, so a replay parks at the same places.
This module owns the counting. It must not know anything else about anyio than the name of one method.

Source: anyio ``_backends/_asyncio.py``, ``CancelScope._deliver_cancellation``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

METHOD: Final = "_deliver_cancellation"
"""The method that anyio schedules with ``call_soon``, without a context."""

PATIENCE: Final = 500
"""Deliveries by one scope without progress before it is parked. Code that swallows more cancellations than twice this
in a row, without a task ending meanwhile, is cancelled further only when something else happens to the run."""


class Redelivery:
    """The cancelled scopes of one loop that deliver repeatedly."""

    __slots__ = ("_call_soon", "_counts", "_parked", "_progress", "_seen", "_swept")

    def __init__(self, call_soon: Callable[..., object], progress: Callable[[], object]) -> None:
        """`progress` returns a value that differs from an earlier one if other tasks are unfinished now."""
        self._call_soon = call_soon
        self._progress = progress
        self._counts: dict[object, int] = {}
        self._seen: dict[object, object] = {}
        self._parked: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._swept = False

    def begin(self) -> None:
        """Something else is ready: every scope gets its patience back, parked ones deliver again."""
        self._counts.clear()
        self._seen.clear()
        self._swept = False
        self._resume()

    def sweep(self) -> bool:
        """Nothing is ready: let parked scopes deliver one last time, to what came to rest since they were parked.

        Returns whether anything is ready now.
        """
        if self._swept or not self._parked:
            return False
        self._swept = True
        for callback, _ in self._parked:
            self._counts[_scope_of(callback)] = PATIENCE - 2
        self._resume()
        return True

    def deliver(self, callback: Callable[..., object], *args: Any) -> None:
        """Run one delivery, or park it."""
        scope = _scope_of(callback)
        spins = self._counts.get(scope, 0) + 1
        if spins > PATIENCE:
            progress = self._progress()
            if self._seen.get(scope) == progress:
                self._parked.append((callback, args))
                return
            self._seen[scope] = progress
            spins = 1
        self._counts[scope] = spins
        callback(*args)

    def forget(self) -> None:
        """Drop everything."""
        self._counts.clear()
        self._seen.clear()
        self._parked.clear()

    def _resume(self) -> None:
        parked, self._parked = self._parked, []
        for callback, args in parked:
            self._call_soon(callback, *args)


def _scope_of(callback: Callable[..., object]) -> object:
    """The scope itself, not its id: a count must not pass to the next scope that happens to get the same address."""
    return getattr(callback, "__self__", callback)
