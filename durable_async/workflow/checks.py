"""Checks that several calls of a body share; each refusal comes at the call."""

from __future__ import annotations

from durable_async.checking import brief, check_queue
from durable_async.engine.run import Run
from durable_async.engine.spec import WorkflowSpec
from durable_async.types import RAISE
from durable_async.workflow.definitions import Workflow

ON_TIMEOUT = ("cancel", "leave")


def check_call(workflow: object, input: object, on_timeout: str) -> WorkflowSpec:
    """What is to be called, if it can be.

    Raises:
        TypeError: if it is no workflow, or takes no input and got one.
        ValueError: if `on_timeout` is none of `ON_TIMEOUT`.
    """
    if not isinstance(workflow, Workflow):
        raise TypeError(f"expected a workflow (a function decorated with @workflow), got {type(workflow).__name__}")
    if not isinstance(on_timeout, str) or on_timeout not in ON_TIMEOUT:
        raise ValueError(f"on_timeout must be one of {ON_TIMEOUT}, got {brief(on_timeout)}")
    spec = workflow.spec
    if input is not None and not spec.takes_input:
        raise TypeError(f"workflow {spec.name!r} takes no input, got {type(input).__name__}")
    return spec


def check_value(run: Run, value: object, default: object) -> None:
    """Refuses a `timeout_value` that cannot be stored now, not when the time is over: by then nobody looks."""
    if value is not RAISE and value is not default:
        run.codec.encode(value, limit=run.limits.payload, what="timeout_value")


def check_own_queue(queue: str | None) -> str | None:
    """A queue's name, or None for the workflow's own."""
    return None if queue is None else check_queue(queue)
