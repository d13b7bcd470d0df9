"""Runs the branches of `parallel` and `map_workflow`: which have begun, which wait, what becomes of each.

Nothing here is durable by itself: branches are tasks on the run's deterministic loop, so a replay begins, ends and
cancels them in the same order. It must not know what a branch does.

The states of a branch: waiting, running, ended. Once the call is aborting no further branch begins, those running are
cancelled once, and what they still raise is dropped; the call is over when the last of them has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """A branch that returned."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Err:
    """A branch that raised. An exception cannot be stored: put what you need of it into the workflow's output."""

    error: BaseException
    """The exception itself: an `Exception`, or the ``CancelledError`` of a branch that was cancelled by itself."""


Outcome = Ok[Any] | Err


@dataclass(frozen=True, slots=True)
class Interrupt:
    """What a branch returns that was left by ``SystemExit`` or ``KeyboardInterrupt``: raised by a task, it would stop
    the worker's own loop."""

    error: BaseException


class Branches:
    """The branches of one call.

    Args:
        keys: names of the branches, in the order in which they are to begin.
        begin: starts one; its future is this call's own from here on.
        discard: told of a branch that is not to begin, or was cancelled, perhaps before its task ran at all; may return
            a future that has to be cancelled and awaited nevertheless.
        limit: how many run at a time; None for all.
        tolerated: how many may fail before the others are cancelled; None for all.
    """

    __slots__ = (
        "_begin",
        "_discard",
        "_error",
        "_is_aborting",
        "_limit",
        "_outcomes",
        "_over",
        "_rest",
        "_running",
        "_tolerated",
    )

    def __init__(
        self,
        keys: Iterable[Any],
        begin: Callable[[Any], asyncio.Future[Any]],
        discard: Callable[[Any], asyncio.Future[Any] | None],
        *,
        limit: int | None,
        tolerated: int | None,
    ) -> None:
        self._rest: Iterator[Any] = iter(keys)
        self._begin = begin
        self._discard = discard
        self._limit = limit
        self._tolerated = tolerated
        self._running: dict[Any, asyncio.Future[Any]] = {}
        self._outcomes: dict[Any, Outcome] = {}
        self._error: BaseException | None = None
        self._is_aborting = False
        self._over: asyncio.Future[None] | None = None

    async def run(self) -> dict[Any, Outcome]:
        """Waits until every branch has ended; what came of each by key, in the order of their ends.

        Raises:
            CancelledError: if whoever awaits this was cancelled; the branches were, too, and have ended.
            BaseException: the failure that was one too many, or what is no business of a branch; likewise.
        """
        loop = asyncio.get_running_loop()
        error: BaseException | None = None
        try:
            self._fill()
            while self._running:
                self._over = loop.create_future()
                try:
                    await self._over
                except asyncio.CancelledError as cancelled:
                    # A further one does not cut the clean-up of the branches; the first one goes on after it.
                    error = error or cancelled
                    self._abort()
        finally:
            for key in self._rest:  # dropped from memory
                self._discard(key)
        error, self._error = error or self._error, None
        if error is None:
            return self._outcomes
        try:
            raise error
        finally:
            del error  # or the exception and this frame hold each other

    def _fill(self) -> None:
        while self._limit is None or len(self._running) < self._limit:
            for key in self._rest:
                self._watch(key, self._begin(key))
                break
            else:
                return

    def _watch(self, key: Any, future: asyncio.Future[Any]) -> None:
        self._running[key] = future
        future.add_done_callback(partial(self._ended, key))

    def _ended(self, key: Any, future: asyncio.Future[Any]) -> None:
        del self._running[key]
        if future.cancelled():
            self._discard(key)
            self._failed(key, asyncio.CancelledError("the branch was cancelled"))
        elif (error := future.exception()) is not None:
            self._failed(key, error)
        elif isinstance(value := future.result(), Interrupt):
            self._failed(key, value.error)
        else:
            self._outcomes[key] = Ok(value)
        if not self._is_aborting:
            self._fill()
        if not self._running and self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _failed(self, key: Any, error: BaseException) -> None:
        if not isinstance(error, Exception | asyncio.CancelledError):
            # What ends the run: no outcome of a branch, also if the call is failing for another reason already.
            self._error = error
            self._abort()
        elif not self._is_aborting:
            self._outcomes[key] = Err(error)
            if self._tolerated is not None:
                self._tolerated -= 1
                if self._tolerated < 0:
                    self._error = error
                    self._abort()

    def _abort(self) -> None:
        if self._is_aborting:
            return
        self._is_aborting = True
        for key in self._rest:
            future = self._discard(key)
            if future is not None:
                self._watch(key, future)
        for future in list(self._running.values()):
            future.cancel()
