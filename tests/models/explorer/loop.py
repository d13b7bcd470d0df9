"""An asyncio loop that never waits: it runs what is ready when it is told to, and its time is what the world says."""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable, Coroutine
from heapq import heappop
from typing import Any

TURNS = 10_000
"""Turns of a loop after which what runs on it is taken to spin."""


class Clock:
    """The time of everybody, in seconds; it stands still while anybody runs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def ms(self) -> int:
        """The same as the server tells it."""
        return 1_800_000_000_000 + round(self.now * 1000)


class _Nothing:
    """In place of a selector: there is nothing outside to wait for."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def close(self) -> None:
        return


class SimLoop(asyncio.BaseEventLoop):
    """The loop of one actor. What it calls in a thread is called at once."""

    def __init__(self, clock: Clock, actor: Any) -> None:
        super().__init__()
        self._clock = clock
        self._selector = _Nothing()
        self._clock_resolution = 1e-6
        self.actor = actor
        self.errors: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(self._note)

    def _note(self, loop: Any, context: dict[str, Any]) -> None:
        if "was destroyed" not in context["message"]:
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    def time(self) -> float:
        return self._clock.now

    def _process_events(self, events: Any) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def is_due(self) -> bool:
        """Whether there is anything to run now."""
        if self._ready:
            return True
        due = self.next_due()
        return due is not None and due <= self._clock.now

    def run_ready(self) -> None:
        """Runs what is ready, and what is due by now, until nothing is."""
        outer = _get_running_loop()
        _set_running_loop(self)
        try:
            turns = 0
            while self.is_due():
                self._run_once()
                turns += 1
                if turns > TURNS:
                    raise AssertionError(f"{self.actor.name} spins")
        finally:
            _set_running_loop(outer)

    def next_due(self) -> float | None:
        """When its next timer is due."""
        heap = self._scheduled
        while heap and heap[0]._cancelled:
            handle = heappop(heap)
            handle._scheduled = False
            self._timer_cancelled_count -= 1
        return heap[0]._when if heap else None

    def create_task(self, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coroutine, **options)
        # `asyncio.all_tasks` looks at those of every schedule that was not yet cleared away.
        self._tasks.append(task)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task, from outside of the loop."""
        return self.create_task(coroutine)

    def end(self) -> None:
        """Cancels every task, as the end of a process does away with them."""
        for task in [task for task in self._tasks if not task.done()]:
            task._log_destroy_pending = False
            task.cancel()
        self.run_ready()
        self.close()
