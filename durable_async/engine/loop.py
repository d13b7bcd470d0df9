"""The deterministic event loop on which one run's body executes.

It owns a ready queue, a timer heap and the tasks of one run, and steps them when told to. It must not know a clock, a
selector, a thread or a store: time is what its owner says, and whatever waits for the outside waits on a future that
its owner resolves. So "nothing is ready" is the exact moment at which a run is parked, and the same program fed the
same things in the same order does the same again.

How an owner uses it::

    loop = DeterministicLoop(now)
    body = loop.create_task(main())
    loop.run_ready()                      # until nothing is ready
    future.set_result(...)                # an outcome arrives
    loop.run_ready()
    loop.advance(to)                      # time passes; loop.next_due() says when something wants it to
    loop.create_task(loop.wind_up())      # the body is done: cancel and await what it left, as asyncio.run does
    loop.close()                          # or, at any moment: loop.abandon()

The running loop is swapped around stepping, so asyncio and anyio see this loop inside the body and the outer one
outside. Call it from a plain callback of the outer loop; up to Python 3.13 a task of the outer loop will do as well,
later ones refuse to enter a task while another runs.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from itertools import count
from threading import get_ident
from typing import Any, Final, TypeVar, TypeVarTuple

from durable_async.engine import ordering
from durable_async.engine.ending import Abandoned, disconnect, end_coroutine, silence
from durable_async.engine.futures import LoopFuture, LoopHandle, LoopTask, LoopTimer
from durable_async.engine.redelivery import METHOD, Redelivery
from durable_async.engine.reporting import KEPT
from durable_async.engine.swapping import SwappedLoop
from durable_async.errors import DeterminismError

__all__ = ["Abandoned", "DeterministicLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CALLBACKS: Final = 300_000
"""Callbacks in one call of `run_ready` or `advance` after which the body is taken to spin."""

_SEED_SHIFT: Final = 40
"""Tasks hash to ``seed << 40 | number``. Sets are laid out by the low bits first, so within one loop the order follows
the numbers; the high bits keep apart the thousands of equally numbered tasks of other loops in process-wide tables
(asyncio's ``all_tasks``, anyio's task states), which would otherwise degrade to linear search."""
_SEED_MASK: Final = (1 << 20) - 1
_seeds = count(1)

_SWALLOWING: Final[deque[Any]] = deque(maxlen=0)
"""The ready queue of all loops that are closed: what is appended is dropped."""
_new_handle: Final = object.__new__
_is_done: Final = asyncio.Task.done

_KEEP_DONE: Final = 64
"""Finished tasks and cancelled timers that may linger before a purge is worth its cost."""


class DeterministicLoop(SwappedLoop):
    """An event loop without I/O, clock or threads, stepped by its owner.

    Everything in asyncio and anyio that needs no I/O works on it. What does I/O raises `DeterminismError`.
    It may be used by one thread at a time.

    Args:
        now: the loop's time at the start, in seconds of whatever clock the owner lives by.
        seed: keeps the hashes of this loop's tasks apart from those of other loops in the process (see `_SEED_SHIFT`).
            Give the same one on replay, say a checksum of the run's id; by default every loop gets another.
        max_callbacks: how many callbacks one stepping may run before it is refused as endless.
        around: the loop from whose callbacks this one is always stepped; by default any may be, or none.
    """

    is_deterministic: Final = True
    slow_callback_duration = 0.1

    def __init__(
        self,
        now: float = 0.0,
        *,
        seed: int | None = None,
        max_callbacks: int = MAX_CALLBACKS,
        around: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        ordering.install()
        super().__init__(around)
        self.owner: Any = None
        """Whatever the owner wants to find again from inside the body; the loop never looks at it."""
        self._now = now
        self._number = self._base = ((next(_seeds) if seed is None else seed) & _SEED_MASK) << _SEED_SHIFT
        self._ready: deque[LoopHandle | LoopTimer] | None = deque()
        """None while the loop rests: an empty queue takes more than half a kilobyte."""
        self._timers: list[tuple[float, int, LoopTimer]] = []
        self._cancelled_timers = 0
        self._tasks: list[LoopTask[Any]] = []
        self._purge_at = _KEEP_DONE
        self._budget = self._max_callbacks = max_callbacks
        self._redelivery: Redelivery | None = None

    # --- stepping: for the owner ---

    def run_ready(self) -> None:
        """Run callbacks until nothing is ready. Does nothing if nothing is.

        Raises:
            DeterminismError: if the body does not come to rest within `max_callbacks`.
            Abandoned: if the loop was abandoned or closed.
        """
        if self._ready or self._is_closed:
            self._step(self._drain)

    def advance(self, to: float) -> None:
        """Move time to `to`, firing due timers one by one in the order of their time, then of their creation.

        Each fires at its own time, and everything it makes ready runs before the next. Ready callbacks run first.
        A `to` in the past moves nothing, time never goes back.

        Raises:
            DeterminismError: if the body does not come to rest within `max_callbacks`.
            Abandoned: if the loop was abandoned or closed.
        """
        if not self._is_stepping and not self._is_closed and not self._ready:
            due = self.next_due() if self._timers else None
            if due is None or due > to:  # nobody is to notice but the next who asks for the time
                if to > self._now:
                    self._now = to
                return
        self._step(lambda: self._fire(to))

    def next_due(self) -> float | None:
        """When the earliest timer is due, in the loop's time; None if there is no timer."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
            self._cancelled_timers -= 1
        return timers[0][0] if timers else None

    @property
    def is_quiescent(self) -> bool:
        """Whether nothing is ready."""
        return not self._ready

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The unfinished tasks in the order in which they were created."""
        self._tasks = alive = [task for task in self._tasks if not task.done()]
        self._purge_at = max(_KEEP_DONE, 2 * len(alive))
        return list(alive)

    @property
    def is_alone(self) -> bool:
        """Whether `wind_up`, called by the only task there ever was, would find nothing to do."""
        return len(self._tasks) == 1 and self._asyncgens is None

    @property
    def has_timers(self) -> bool:
        """Whether any timer waits for its time, or has been cancelled not long ago."""
        return bool(self._timers)

    async def wind_up(self) -> None:
        """Cancel and await every other task, then close unfinished async generators, as ``asyncio.run`` does.

        Run it as a task once the body is done. Tasks that clean-up code starts are cancelled too. Errors are reported
        to the exception handler.
        """
        if self.is_alone:
            return
        me = asyncio.current_task(self)
        while pending := [task for task in self.tasks if task is not me]:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in pending:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self._report("a task raised while the workflow was ending", error, task=task)
        await self.shutdown_asyncgens()

    def rest(self) -> None:
        """It is likely to stay as it is for a while: let go of what is easily made anew."""
        if not self._ready and not self._is_closed and not self._is_stepping:
            self._ready = None

    def freeze(self) -> None:
        """Never step what is there now again; what is created from here on runs. Call it from a plain callback."""
        if self._ready:
            self._ready.clear()
        self._timers.clear()
        self._redelivery = None
        for task in self._tasks:
            disconnect(task)

    def close(self) -> None:
        """Let go of everything. Tasks that are still pending are abandoned; nothing is awaited. May be repeated."""
        for task in self._tasks:
            if getattr(task, "_log_traceback", False):  # what the destructor asks, but now and not some time later
                self._report("a task of the workflow failed and nobody looked", task.exception(), task=task)
        self.abandon()

    def abandon(self) -> None:
        """Drop the run from memory. May be repeated; not while the loop is being stepped.

        `Abandoned` is thrown into every pending coroutine, newest first, in its own context and with this loop as the
        running one. From here on nothing can be scheduled: futures made by ``finally`` blocks are never resolved and
        each ``await`` in them is answered with `Abandoned` (so code that swallows everything cannot spin), `run_ready`
        and `advance` raise it, callbacks and timers are dropped silently, and nothing is logged.

        Raises:
            KeyboardInterrupt, SystemExit: if a ``finally`` block raised them; the loop is abandoned all the same.
        """
        if self._is_closed:
            return
        if self._is_stepping:
            raise RuntimeError("a loop cannot be abandoned by what runs on it")
        try:
            if self._asyncgens is not None or not all(map(_is_done, self._tasks)):
                self._step(self._close_all)
        finally:
            self._is_closed = True
            self._ready = _SWALLOWING
            self._timers.clear()
            self._tasks.clear()
            if self._redelivery is not None:
                self._redelivery.forget()

    # --- what asyncio and anyio call from inside the body ---

    def time(self) -> float:
        """The loop's time in seconds."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Make a callback ready. Callbacks run in the order in which they became ready."""
        if context is None:
            context = copy_context()
            if getattr(callback, "__name__", None) == METHOD:
                return self._redeliver(callback, args, context)
        handle = _new_handle(LoopHandle)  # without a call of its __init__: asyncio asks for one at every step of a task
        handle._callback = callback
        handle._args = args
        handle._context = context
        handle._cancelled = False
        ready = self._ready
        if ready is None:
            ready = self._ready = deque()
        ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`, from the thread that steps this loop only.

        Raises:
            DeterminismError: if called from another thread: its timing cannot be replayed.
        """
        if self._thread and get_ident() != self._thread:
            raise DeterminismError(
                "loop.call_soon_threadsafe() from another thread cannot be replayed; move the thread into a @step"
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back `delay` seconds from now."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at the loop's time `when`; at once if that is not in the future."""
        if when is None:
            raise TypeError("when must not be None")
        if when != when:
            raise ValueError("a time must not be NaN")
        timer = LoopTimer(when, callback, args, self, copy_context() if context is None else context)
        if when <= self._now:
            timer._scheduled = False
            self._put(timer)
        elif not self._is_closed:
            self._number += 1
            heappush(self._timers, (when, self._number, timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """A future whose place in sets is the same on replay."""
        future: LoopFuture[Any] = LoopFuture(loop=self)
        future._number = self._number = self._number + 1
        return future

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        eager_start: bool | None = None,
    ) -> asyncio.Task[T]:
        """Start a task; never eagerly. Without a name it is ``Task-n``, n counted per loop, but not by tasks alone.

        The loop keeps unfinished tasks alive, so one whose reference is dropped still runs to its end.
        """
        self._number = number = self._number + 1
        if context is None:
            context = copy_context()
        task: LoopTask[T] = LoopTask.__new__(LoopTask)
        task._number = number  # before __init__, which already puts the task into a weak set
        task._home = context
        if name is None:
            name = f"Task-{number - self._base}"
        body: Any = coro  # typeshed takes generators here on 3.11 only
        LoopTask.__init__(task, body, loop=self, name=name, context=context)
        if self._is_closed:  # a finally block of an abandoned body: the task never begins
            silence(task)
            coro.close()
            return task
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) > self._purge_at:
            self._tasks = tasks = [t for t in tasks if not t.done()]
            self._purge_at = max(_KEEP_DONE, 2 * len(tasks))
        return task

    def next_number(self) -> int:
        """The next number of this loop, for an object that needs a deterministic hash."""
        self._number += 1
        return self._number

    async def shutdown_asyncgens(self) -> None:
        """Close unfinished async generators in the order in which they were first iterated."""
        if self._asyncgens is None:
            return
        generators = self._asyncgens.unfinished()
        results = await asyncio.gather(*(g.aclose() for g in generators), return_exceptions=True)
        for generator, result in zip(generators, results, strict=True):
            if isinstance(result, Exception):
                self._report("an async generator raised while it was closed", result, asyncgen=generator)

    # --- inside ---

    def _put(self, handle: LoopHandle | LoopTimer) -> None:
        if self._ready is None:
            self._ready = deque()
        self._ready.append(handle)

    def _drain(self) -> None:
        ready = self._ready
        if ready is None:
            ready = self._ready = deque()
        redelivery = self._redelivery
        if redelivery is not None and ready:
            redelivery.begin()
        while True:
            self._run(ready)
            redelivery = self._redelivery
            if redelivery is None or not redelivery.sweep():
                return

    def _run(self, ready: deque[LoopHandle | LoopTimer]) -> None:
        handle: LoopHandle | LoopTimer | None = None
        for done in range(self._budget):
            if not ready:
                self._budget -= done
                handle = None  # an exception kept by somebody keeps this frame, which must not keep the task
                return
            handle = ready.popleft()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  # as asyncio does: reported, and the others go on
                if len(self.errors) < KEPT:
                    self.errors.append(error)
                self._report(f"{handle!r} raised", error, handle=handle)
        raise DeterminismError(
            f"the workflow body did not come to rest within {self._max_callbacks:,} callbacks; "
            "a loop that only awaits asyncio.sleep(0) never does: wait for an event, a time or a child instead"
        )

    def _fire(self, to: float) -> None:
        self._drain()
        while (due := self.next_due()) is not None and due <= to:
            timer = heappop(self._timers)[2]
            timer._scheduled = False
            self._now = max(self._now, due)
            self._put(timer)
            self._drain()
        self._now = max(self._now, to)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Purge the heap when most of it is cancelled, or a long run that sets many timeouts would grow for ever."""
        self._cancelled_timers += 1
        if self._cancelled_timers > _KEEP_DONE and self._cancelled_timers * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled_timers = 0

    def _redeliver(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> asyncio.Handle:
        if self._redelivery is None:
            self._redelivery = Redelivery(self.call_soon, lambda: [hash(task) for task in self.tasks])
        handle = LoopHandle(self._redelivery.deliver, (callback, *args), context)
        self._put(handle)
        return handle

    def _close_all(self) -> None:
        """Close every pending coroutine and cut the references between tasks and what they wait for."""
        self._is_closed = True
        self._ready = _SWALLOWING
        self._timers.clear()
        tasks = [task for task in self._tasks if not task.done()]
        interrupt: BaseException | None = None
        for task in reversed(tasks):
            try:
                self._close_task(task)
            except (KeyboardInterrupt, SystemExit) as error:
                interrupt = error
        if self._asyncgens is not None:
            self._asyncgens.abandon()
        for task in tasks:
            disconnect(task)
        if interrupt is not None:
            raise interrupt

    def _close_task(self, task: LoopTask[Any]) -> None:
        silence(task)
        _enter_task(self, task)
        try:
            task._home.run(end_coroutine, task.get_coro())
        finally:
            _leave_task(self, task)
