"""One worker as the business of a process: from its start to the end of its drain, and the signals that ask for it.

`Durable.run_worker` and the command line share this; neither knows how the other is told to leave.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from durable_async.worker.settings import WorkerSettings
from durable_async.worker.worker import Worker

if TYPE_CHECKING:
    from durable_async.client.serving import Serving

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether this process has been asked to leave: by a signal, or by `request`.

    While it is entered, the first signal sets `requested`, and the second ends the process on the spot with the exit
    code 128 + its number. Outside the main thread, where Python has no signals, only `request` works.

    Args:
        signals: what counts as asking.
        at_once: called in the signal handler right before the process is ended by the second signal.
    """

    def __init__(
        self, signals: Sequence[signal.Signals] = STOP_SIGNALS, *, at_once: Callable[[], None] | None = None
    ) -> None:
        self.requested = asyncio.Event()
        self.signal: int | None = None
        """The first signal that came."""
        self._signals = signals
        self._at_once = at_once
        self._before: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                # Not `loop.add_signal_handler`: the second signal must get through a loop that user code blocks, too.
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            # None is a handler that was not set by Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before.clear()

    def request(self) -> None:
        """Asks to leave, as the first signal does. For the loop's own thread."""
        self.requested.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if self._at_once is not None:
                self._at_once()
            os._exit(128 + number)
        self.signal = number
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.requested.set)


async def serve(
    durable: Serving,
    settings: WorkerSettings,
    stop: Stop,
    *,
    lifespan: Any = None,
    burst: bool = False,
    on_ready: Callable[[Worker], None] | None = None,
) -> bool:
    """Runs a worker until it is asked to stop, or with `burst` until nothing is runnable; then drains it.

    Returns: whether the drain was clean. A stop during the start ends the start, which is clean.

    Raises:
        ConfigurationError, StoreUnavailable, IncompatibleServer: if it cannot start.
    """
    start = await _start(durable, settings, stop, lifespan)
    if start is None:
        return True
    opened, worker = start
    async with opened:
        try:
            if burst:
                worker.hurry()
            if on_ready is not None:
                on_ready(worker)
            await _until_asked(worker, stop, burst)
        finally:
            is_clean = await worker.stop()
    return is_clean


async def _start(
    durable: Serving, settings: WorkerSettings, stop: Stop, lifespan: Any
) -> tuple[AsyncExitStack, Worker] | None:
    """The started worker and what is to be closed after it; None if the stop came first."""
    patience = asyncio.timeout(None)
    try:
        # A stop is turned into the end of a time-out: all is entered in this very task, as cancel scopes demand.
        async with patience, AsyncExitStack() as opening:
            watch = asyncio.get_running_loop().create_task(_expire(patience, stop))
            try:
                await opening.enter_async_context(durable)
                worker = durable.make_worker(settings)
                await opening.enter_async_context(entered(lifespan, durable))
                await worker.start()
            finally:
                watch.cancel()
            return opening.pop_all(), worker
    except TimeoutError:
        if patience.expired():
            return None
        raise


async def _expire(patience: asyncio.Timeout, stop: Stop) -> None:
    await stop.requested.wait()
    patience.reschedule(asyncio.get_running_loop().time())


async def _until_asked(worker: Worker, stop: Stop, burst: bool) -> None:
    loop = asyncio.get_running_loop()
    reasons = [loop.create_task(stop.requested.wait()), loop.create_task(worker.failed())]
    if burst:
        reasons.append(loop.create_task(worker.until_idle()))
    try:
        done, _ = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in reasons:
            task.cancel()
    for task in done:
        task.result()


@asynccontextmanager
async def watched(worker: Worker) -> AsyncIterator[None]:
    """Cancels the body when one of the worker's loops dies, and raises what it died of; else the body's own error."""
    raised: Exception | None = None
    try:
        # Whose cancel it was is the group's business: somebody else's must not be taken for its own.
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(worker.failed())
            try:
                yield
            except Exception as error:  # noqa: BLE001  # raised below, and not as one of a group
                raised = error
            finally:
                watch.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from raised
    if raised is not None:
        raise raised


@asynccontextmanager
async def entered(lifespan: Any, durable: Serving) -> AsyncIterator[None]:
    """The context of `Durable(lifespan=...)`, if there is one."""
    if lifespan is None:
        yield
        return
    context: AbstractAsyncContextManager[Any] = lifespan(durable)
    async with context:
        yield
