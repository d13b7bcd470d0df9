"""Children: calling one and waiting for it, starting one and going on."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from durable_async.checking import brief, check_reason, to_ms
from durable_async.engine import calling
from durable_async.engine.children import Child as ChildState
from durable_async.engine.run import Run
from durable_async.errors import DeterminismError
from durable_async.types import CHILD_TIMEOUT, ChildTimeoutType, Duration, RaiseType, Retry, as_retry
from durable_async.workflow.checks import ON_TIMEOUT, check_call, check_own_queue, check_value
from durable_async.workflow.current import current_run, find_run
from durable_async.workflow.definitions import Workflow
from durable_async.workflow.in_steps import StepChild, call_in_step, scope_of

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
V = TypeVar("V")


@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: None = None,
    timeout_value: Any = ...,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT | ChildTimeoutType: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    timeout_value: RaiseType,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    timeout_value: V,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT | V: ...


async def call_workflow(
    workflow: Workflow[Any, Any],
    input: Any = None,
    *,
    ref: str | None = None,
    timeout: Duration | None = None,
    timeout_value: Any = CHILD_TIMEOUT,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> Any:
    """Starts a child, parks until it has ended, and returns its output.

    The parked parent holds no slot, no connection and no polling. The child's id is ``<parent id>/<ref>``: over any
    crash and replay there is one child per ref, and one that has ended answers at once. If the awaiting task is
    cancelled, so is the child (with its last awaiter, if several await one ref).

    Args:
        workflow: what to run.
        input: its input; checked against the annotation when the child starts.
        ref: names the child within its parent; by default the workflow's name, numbered from the second call on. A step
            has to give one: it may run again, and finds its child by it.
        timeout: bounds the wait, as a ``timedelta`` or seconds; by default there is none.
        timeout_value: returned when the time is over; by default the falsy `CHILD_TIMEOUT`. `RAISE` raises instead.
        on_timeout: `cancel` (default) cancels the child's tree, `leave` lets it go on; its late result then stays
            readable on the child and never changes what was returned here.
        queue: where the child runs; by default the workflow's own queue.
        retry: a `Retry`, or a number of attempts: a child that has failed is run again under its id, from a fresh
            journal, as a new attempt; children of its own that had completed with the same input are kept. The
            exception is known as data here, so `retry_on` and `never_on` are compared by class name, and subclasses are
            not recognised. `timeout` bounds all attempts together. A cancelled child is not run again.

    Raises:
        ChildFailed, ChildCancelled: if the child ended without a result.
        ChildTimeout: if the time is over and `timeout_value` is `RAISE`.
        RefConflict: if the ref names a child with another workflow or input, or a spent one.
        WorkflowDepthExceeded: if the child would be deeper than `Limits.depth`.
        NotSerializable, PayloadTooLarge: if the input or `timeout_value` cannot be stored.
        NotInWorkflow: outside a workflow.
    """
    run = find_run()
    spec = check_call(workflow, input, on_timeout)
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    if run is None:
        return await call_in_step(
            spec,
            input,
            ref=ref,
            timeout_ms=timeout_ms,
            timeout_value=timeout_value,
            on_timeout=on_timeout,
            queue=check_own_queue(queue),
            retry=None if retry is None else as_retry(retry),
        )
    check_value(run, timeout_value, CHILD_TIMEOUT)
    child = calling.issue_child(
        run,
        spec,
        input,
        ref=ref,
        queue=check_own_queue(queue),
        awaited=True,
        on_close="cancel",
        retry=None if retry is None else as_retry(retry),
    )
    return await calling.await_child(
        run, child, timeout_ms=timeout_ms, timeout_value=timeout_value, on_timeout=on_timeout, owned=True
    )


async def start_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT | None = None,
    *,
    ref: str | None = None,
    queue: str | None = None,
    delay: Duration | None = None,
    on_parent_close: str | None = None,
) -> Child[OutputT]:
    """Starts a child and goes on. The child's end does not wake this run, unless `Child.result` is awaited.

    Args:
        workflow: what to run.
        input: its input.
        ref: as in `call_workflow`; calls and starts share one name space.
        queue: where the child runs; by default the workflow's own queue.
        delay: how long the child waits before it starts, as a ``timedelta`` or seconds.
        on_parent_close: `leave` or `cancel`: what becomes of the child when this run ends by itself; by default the
            workflow's own policy. A cancel of this run always reaches the child.

    Raises:
        RefConflict, WorkflowDepthExceeded, NotSerializable, PayloadTooLarge, NotInWorkflow: as `call_workflow`.
    """
    run = find_run()
    spec = check_call(workflow, input, "leave")
    policy = on_parent_close if on_parent_close is not None else spec.on_parent_close
    if policy not in ("leave", "cancel"):
        raise ValueError(f"on_parent_close must be 'leave' or 'cancel', got {brief(policy)}")
    queue = check_own_queue(queue)
    delay_ms = 0 if delay is None else to_ms(delay, "delay")
    if run is None:
        (calls, resident, call), ref = scope_of("start_workflow()", ref)
        child = await calls.start(resident, call, spec, input, ref=ref, queue=queue, on_close=policy, delay_ms=delay_ms)
        return Child(child, StepChild(child, spec, (calls, resident, call)))
    child = calling.issue_child(
        run, spec, input, ref=ref, queue=queue, awaited=False, on_close=policy, delay_ms=delay_ms
    )
    return Child(child)


class Child(Generic[OutputT_co]):
    """A started child, as its parent sees it."""

    def __init__(self, state: ChildState, in_step: StepChild | None = None) -> None:
        self._state = state
        self._in_step = in_step

    @property
    def id(self) -> str:
        """The child's id, readable from outside as well."""
        return self._state.id

    @overload
    async def result(self, timeout: None = None, timeout_value: Any = ..., on_timeout: str = "leave") -> OutputT_co: ...
    @overload
    async def result(self, timeout: Duration, *, on_timeout: str = "leave") -> OutputT_co | ChildTimeoutType: ...
    @overload
    async def result(self, timeout: Duration, timeout_value: RaiseType, on_timeout: str = "leave") -> OutputT_co: ...
    @overload
    async def result(self, timeout: Duration, timeout_value: V, on_timeout: str = "leave") -> OutputT_co | V: ...
    async def result(
        self, timeout: Duration | None = None, timeout_value: Any = CHILD_TIMEOUT, on_timeout: str = "leave"
    ) -> Any:
        """Parks until the child has ended and returns its output; arguments and errors as in `call_workflow`.

        Cancelling this wait never cancels the child.
        """
        if self._in_step is not None and find_run() is None:
            return await self._in_step.result(timeout, timeout_value, on_timeout)
        run = self._run("Child.result()")
        if on_timeout not in ON_TIMEOUT:
            raise ValueError(f"on_timeout must be one of {ON_TIMEOUT}, got {brief(on_timeout)}")
        check_value(run, timeout_value, CHILD_TIMEOUT)
        return await calling.await_child(
            run,
            self._state,
            timeout_ms=None if timeout is None else to_ms(timeout, "timeout"),
            timeout_value=timeout_value,
            on_timeout=on_timeout,
            owned=False,
        )

    async def cancel(self, reason: str = "") -> None:
        """Cancels the child's tree; does not wait for it to have ended. Nothing happens if it already has."""
        if self._in_step is not None and find_run() is None:
            await self._in_step.cancel(reason)
            return
        run = self._run("Child.cancel()")
        calling.ask_cancel(run, self._state, check_reason(reason))

    def _run(self, what: str) -> Run:
        run = current_run(what)
        if not run.has_children or run.children.by_id.get(self._state.id) is not self._state:
            raise DeterminismError(
                f"{what} works in the run that started child {self.id} only; hand on child.id, and the result as data"
            )
        return run

    def __repr__(self) -> str:
        return f"<child {self.id}>"
