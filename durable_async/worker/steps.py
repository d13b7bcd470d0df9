"""Runs attempts of steps on the worker's loop or in threads.

A cancelled attempt is one whose awaiter is gone or whose worker stops: nothing is ever recorded of it. A thread cannot
be stopped; what it returns after that is ignored.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from durable_async.checking import to_ms
from durable_async.engine.spec import StepCall
from durable_async.errors import StepTimeout
from durable_async.worker.resident import Resident
from durable_async.worker.step_calls import StepCalls
from durable_async.worker.threads import DaemonThreads
from durable_async.workflow.current import step_scope

log = logging.getLogger("durable_async.worker")

Done = Callable[[Resident, StepCall, object, BaseException | None, int], None]
"""Called with resident, call, value, error and duration in ms."""


class StepRunner:
    """Launches and cancels attempts; `on_done` is called for each that was not cancelled."""

    def __init__(self, on_done: Done, threads: int, calls: StepCalls) -> None:
        self.on_done = on_done
        self.calls = calls
        self._threads = threads
        self._pool: DaemonThreads | None = None
        self._loop = asyncio.get_running_loop()

    def launch(self, resident: Resident, call: StepCall) -> None:
        """Starts an attempt."""
        # Not by the loop's task factory: one that starts tasks eagerly would run the step before it is known here, and
        # its outcome would be nobody's.
        task = asyncio.Task(self._attempt(resident, call), loop=self._loop, name=call.identity)
        resident.tasks[call.identity] = (call, task)

    def cancel(self, resident: Resident, call: StepCall) -> None:
        """The awaiter is gone."""
        current = resident.tasks.get(call.identity)
        if current is not None and current[0] is call:
            del resident.tasks[call.identity]
            current[1].cancel()

    def cancel_all(self, resident: Resident) -> None:
        """The run is leaving this worker."""
        if resident.tasks:
            tasks, resident.tasks = resident.tasks, {}
            for _, task in tasks.values():
                task.cancel()

    def close(self) -> None:
        """Threads still at work are abandoned."""
        if self._pool is not None:
            self._pool.shutdown()

    async def _attempt(self, resident: Resident, call: StepCall) -> None:
        started = monotonic()
        value: object = None
        error: BaseException | None = None
        step_scope.set((self.calls, resident, call))
        try:
            spec = call.spec
            if spec.timeout is not None:
                value = await self._bounded(call)
            elif spec.is_async:
                value = await spec.function(*call.args, **call.kwargs)
            else:
                value = await self._in_pool(call)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                return
            error = cancelled  # raised by the step itself
        except Exception as raised:  # noqa: BLE001  # whatever a step raises is its outcome
            error = raised
        except (SystemExit, KeyboardInterrupt) as raised:
            error = raised
        current = resident.tasks.get(call.identity)
        if current is not None and current[0] is call:
            del resident.tasks[call.identity]
            self.on_done(resident, call, value, error, int((monotonic() - started) * 1000))

    async def _in_pool(self, call: StepCall) -> Any:
        if self._pool is None:
            self._pool = DaemonThreads(self._threads, "durable-step")
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _in_thread, call, contextvars.copy_context()
        )

    async def _bounded(self, call: StepCall) -> Any:
        seconds = to_ms(call.spec.timeout) / 1000
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                if call.spec.is_async:
                    return await call.spec.function(*call.args, **call.kwargs)
                return await self._in_pool(call)
        except TimeoutError:
            if scope.expired():
                raise StepTimeout(f"step {call.spec.name!r} took longer than {seconds} s") from None
            raise


def _in_thread(call: StepCall, context: contextvars.Context) -> Any:
    try:
        return context.run(call.spec.function, *call.args, **call.kwargs)
    except StopIteration as error:
        # No future takes it: the attempt would never end. As in a coroutine, it is a RuntimeError.
        raise RuntimeError(f"step {call.spec.name!r} raised StopIteration") from error
