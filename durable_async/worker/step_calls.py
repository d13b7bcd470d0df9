"""What a step asks of its run: children. Runs on the worker's loop, in the step's own task.

The run stays where it is while its step waits for a child: running, owned by this worker, its entry held. But it gives
its slot back as soon as all of its steps wait, or the child could not begin where slots are few, and takes one again
before the step goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from durable_async.codec import convert
from durable_async.engine.children import Child
from durable_async.engine.failures import child_error, unpack_error
from durable_async.engine.records import Entry, Turn
from durable_async.engine.run import Run
from durable_async.engine.spawning import REASON, drop_child, join_child, leave_child, spawn_again, spawn_child
from durable_async.engine.spec import StepCall, WorkflowSpec
from durable_async.errors import ChildCancelled, ChildTimeout, DeterminismError
from durable_async.types import RAISE, Retry
from durable_async.worker.resident import Resident
from durable_async.worker.slots import Slots


class StepCalls:
    """The calls of all steps of one worker."""

    def __init__(self, slots: Slots, on_news: Callable[[Resident], None]) -> None:
        self._slots = slots
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------ what a step calls

    def run_of(self, resident: Resident, call: StepCall, what: str) -> Run:
        """The run of a step that is executing now.

        Raises:
            DeterminismError: if the step is over, or was called from another thread or loop.
        """
        if self._loop is not asyncio.get_running_loop():
            raise DeterminismError(
                f"{what} works on the worker's own loop only, in an `async def` step; make the step async, and put "
                "what blocks into asyncio.to_thread()"
            )
        if not self._is_alive(resident, call):
            raise DeterminismError(f"{what}: step {call.spec.name!r} of run {call.run_id} is over, or was cancelled")
        return resident.run

    async def start(
        self,
        resident: Resident,
        call: StepCall,
        spec: WorkflowSpec,
        value: object,
        *,
        ref: str,
        queue: str | None,
        on_close: str,
        delay_ms: int,
    ) -> Child:
        """Starts a child; it is there when this returns."""
        run = self.run_of(resident, call, "start_workflow()")
        child, entry = spawn_child(
            run, spec, value, ref=ref, queue=queue, awaited=False, on_close=on_close, delay_ms=delay_ms
        )
        await self._committed(resident, entry)
        while child.is_occupied or child.is_vacant:
            # What an earlier life of the run has started has to end first.
            if child.is_occupied:
                await self._settled(resident, call, child)
            if child.is_vacant:
                again = spawn_again(run, child, spec, value, queue, delay_ms=delay_ms, is_attempt=False)
                await self._committed(resident, again)
        return child

    async def call(
        self,
        resident: Resident,
        call: StepCall,
        spec: WorkflowSpec,
        value: object,
        *,
        ref: str,
        queue: str | None,
        timeout_ms: int | None,
        timeout_value: Any,
        on_timeout: str,
        retry: Retry | None,
    ) -> Any:
        """Starts a child and waits for it, again and again if its policy says so."""
        run = self.run_of(resident, call, "call_workflow()")
        child, _ = spawn_child(
            run, spec, value, ref=ref, queue=queue, awaited=True, on_close="cancel", by=call.identity
        )
        self._tell(resident)

        async def ended() -> Any:
            while True:
                if not child.is_vacant:
                    await self._settled(resident, call, child)
                if child.is_vacant:
                    spawn_again(run, child, spec, value, queue, is_attempt=False)
                    self._tell(resident)
                    continue
                delay_ms = _delay_ms(run, child, retry)
                if delay_ms is None:
                    return _outcome(run, child, spec)
                await self._idle(resident, call, asyncio.sleep(delay_ms / 1000))
                if child.letter and self.run_of(resident, call, "call_workflow()") is run:
                    spawn_again(run, child, spec, value, queue, is_attempt=True)
                    self._tell(resident)

        return await self._bounded(resident, call, run, child, ended, timeout_ms, timeout_value, on_timeout, owned=True)

    async def result(
        self,
        resident: Resident,
        call: StepCall,
        spec: WorkflowSpec,
        child: Child,
        *,
        timeout_ms: int | None,
        timeout_value: Any,
        on_timeout: str,
    ) -> Any:
        """Waits for a child that this step has started."""
        run = self.run_of(resident, call, "Child.result()")
        if join_child(run, child) is not None:
            self._tell(resident)

        async def ended() -> Any:
            await self._settled(resident, call, child)
            return _outcome(run, child, spec)

        return await self._bounded(
            resident, call, run, child, ended, timeout_ms, timeout_value, on_timeout, owned=False
        )

    async def cancel(self, resident: Resident, call: StepCall, child: Child, reason: str) -> None:
        """Cancels a child that this step has started; asked for durably when this returns."""
        run = self.run_of(resident, call, "Child.cancel()")
        await self._committed(resident, drop_child(run, child, reason or "cancelled by its parent", spends=False))

    # ------------------------------------------------------------------ waiting

    async def _bounded(
        self,
        resident: Resident,
        call: StepCall,
        run: Run,
        child: Child,
        ended: Callable[[], Any],
        timeout_ms: int | None,
        timeout_value: Any,
        on_timeout: str,
        *,
        owned: bool,
    ) -> Any:
        scope = asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000)
        try:
            async with scope:
                return await ended()
        except TimeoutError:
            if not scope.expired():
                raise
            await self._take_slot(resident)
        except asyncio.CancelledError:
            if owned:
                self._drop(resident, call, child, REASON.format(run.identity.id))
            raise
        if on_timeout == "cancel":
            self._drop(resident, call, child, f"the call in {run.identity.id} timed out")
        elif owned and self._is_alive(resident, call):
            leave_child(run, child)
            self._tell(resident)
        if timeout_value is RAISE:
            raise ChildTimeout(f"child {child.id} did not end in time", child_id=child.id, workflow=child.workflow)
        return timeout_value

    def _drop(self, resident: Resident, call: StepCall, child: Child, reason: str) -> None:
        # A step that ends because its run leaves this worker is run again elsewhere, and finds its child; with one that
        # the body has given up, its children were.
        if self._is_alive(resident, call) and drop_child(resident.run, child, reason, spends=True) is not None:
            self._tell(resident)

    @staticmethod
    def _is_alive(resident: Resident, call: StepCall) -> bool:
        current = resident.tasks.get(call.identity)
        return not resident.is_dropped and current is not None and current[0] is call

    async def _settled(self, resident: Resident, call: StepCall, child: Child) -> None:
        if child.is_settled or child.given_up:
            return
        future = asyncio.get_running_loop().create_future()
        child.listen(future)
        try:
            await self._idle(resident, call, future)
        finally:
            child.listeners.remove(future)

    async def _idle(self, resident: Resident, call: StepCall, awaitable: Awaitable[None]) -> None:
        """Waits without a slot, if all other steps of the run do as well."""
        waiting = resident.waiting
        if waiting is None:
            waiting = resident.waiting = {}
        waiting[call.identity] = waiting.get(call.identity, 0) + 1
        self.lend_slot(resident)
        try:
            await awaitable
        finally:
            waiting[call.identity] -= 1
            if not waiting[call.identity]:
                del waiting[call.identity]
        await self._take_slot(resident)

    async def _committed(self, resident: Resident, entry: Entry | None) -> None:
        if entry is not None:
            future = asyncio.get_running_loop().create_future()
            resident.acks = [*(resident.acks or ()), (entry, future)]
            self._tell(resident)
            await future

    @staticmethod
    def committed(resident: Resident, turn: Turn) -> None:
        """A commit was acknowledged: who waited for what it holds goes on."""
        sent = {id(entry) for entry in turn.entries}
        waiting = resident.acks or []
        resident.acks = [(entry, future) for entry, future in waiting if id(entry) not in sent] or None
        for entry, future in waiting:
            if id(entry) in sent and not future.done():
                future.set_result(None)

    def _tell(self, resident: Resident) -> None:
        asyncio.get_running_loop().call_soon(self._on_news, resident)

    # ------------------------------------------------------------------ slots

    def lend_slot(self, resident: Resident) -> None:
        """Gives a run's slot back if all its steps wait for children."""
        waiting = resident.waiting
        if not waiting or resident.is_slotless or resident.is_dropped or resident.run.steps.launches:
            return
        if all(identity in waiting for identity in resident.tasks):
            resident.is_slotless = True
            self._slots.free()

    async def _take_slot(self, resident: Resident) -> None:
        while resident.is_slotless and not resident.is_dropped:
            await self._slots.next()
            if resident.is_slotless and not resident.is_dropped:
                resident.is_slotless = False
            else:
                self._slots.free()  # another one of its steps was faster


def _outcome(run: Run, child: Child, spec: WorkflowSpec) -> Any:
    if child.letter == "c":
        what = f"output of child {child.id}"
        return convert(run.codec.decode(child.payload, limit=2 * run.limits.payload), spec.output_type, what)
    if not child.letter:
        raise ChildCancelled(
            f"child {child.id} was cancelled: {child.cancel_asked}",
            child_id=child.id,
            workflow=child.workflow,
            reason=child.cancel_asked,
        )
    raise child_error(child, run.codec)


def _delay_ms(run: Run, child: Child, policy: Retry | None) -> int | None:
    """How long until a failed child is run again; None if it is not."""
    if policy is None or child.letter not in ("f", "u") or child.attempt >= policy.max_attempts:
        return None
    if not policy.allows_named(unpack_error(child.payload, run.codec).type):
        return None
    return policy.delay_ms(child.attempt, 0.5)
