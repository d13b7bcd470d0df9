"""`call_workflow` and `start_workflow` in a step."""

from __future__ import annotations

from typing import Any

from durable_async.checking import brief, check_reason, to_ms
from durable_async.engine.children import Child as ChildState
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import NotInWorkflow
from durable_async.types import CHILD_TIMEOUT, Retry
from durable_async.workflow.checks import ON_TIMEOUT, check_value
from durable_async.workflow.current import Scope, step_scope


def scope_of(what: str, ref: str | None) -> tuple[Scope, str]:
    """The step that is executing, and the ref of its child.

    Raises:
        NotInWorkflow: if there is none.
        TypeError: if there is no ref.
    """
    scope = step_scope.get()
    if scope is None:
        raise NotInWorkflow(f"{what} works in a workflow only; from outside, use durable.start() and the run's handle")
    if ref is None:
        raise TypeError(f"{what} in a step takes a ref: the step may run again, and finds its child by it")
    return scope, ref


async def call_in_step(
    spec: WorkflowSpec,
    input: Any,
    *,
    ref: str | None,
    timeout_ms: int | None,
    timeout_value: Any,
    on_timeout: str,
    queue: str | None,
    retry: Retry | None,
) -> Any:
    """`call_workflow` in a step."""
    (calls, resident, call), ref = scope_of("call_workflow()", ref)
    check_value(calls.run_of(resident, call, "call_workflow()"), timeout_value, CHILD_TIMEOUT)
    return await calls.call(
        resident,
        call,
        spec,
        input,
        ref=ref,
        queue=queue,
        timeout_ms=timeout_ms,
        timeout_value=timeout_value,
        on_timeout=on_timeout,
        retry=retry,
    )


class StepChild:
    """What a started child does if it was started in a step: mixed into `Child`."""

    def __init__(self, state: ChildState, spec: WorkflowSpec, scope: Scope) -> None:
        self.state = state
        self.spec = spec
        self.scope = scope

    async def result(self, timeout: Any, timeout_value: Any, on_timeout: str) -> Any:
        """Waits for its end, in the step."""
        calls, resident, call = self.scope
        if on_timeout not in ON_TIMEOUT:
            raise ValueError(f"on_timeout must be one of {ON_TIMEOUT}, got {brief(on_timeout)}")
        check_value(calls.run_of(resident, call, "Child.result()"), timeout_value, CHILD_TIMEOUT)
        return await calls.result(
            resident,
            call,
            self.spec,
            self.state,
            timeout_ms=None if timeout is None else to_ms(timeout, "timeout"),
            timeout_value=timeout_value,
            on_timeout=on_timeout,
        )

    async def cancel(self, reason: str) -> None:
        """Cancels it."""
        calls, resident, call = self.scope
        await calls.cancel(resident, call, self.state, check_reason(reason))
