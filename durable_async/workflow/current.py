"""Finds the run whose body is executing, through the running loop: each run has a loop of its own."""

from __future__ import annotations

from _thread import get_ident
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from durable_async.engine.loop import DeterministicLoop
from durable_async.engine.spec import StepCall
from durable_async.engine.swapping import STEPPED
from durable_async.errors import DeterminismError, NotInWorkflow

if TYPE_CHECKING:
    from durable_async.engine.run import Run


Scope = tuple[Any, Any, StepCall]
"""Of a step that is executing: whom it asks (`worker.step_calls`), its run in the worker's memory, the attempt."""

step_scope: ContextVar[Scope | None] = ContextVar("durable_async_step_scope", default=None)
"""The step that is executing in this task or thread."""


def find_run() -> Run | None:
    """The run whose body is executing; None outside a body."""
    loop = STEPPED.get(get_ident())
    if type(loop) is DeterministicLoop:
        run: Run | None = loop.owner
        return run
    return None


def current_run(what: str) -> Run:
    """The run whose body is executing.

    Raises:
        NotInWorkflow: outside a body, naming what was called and what to use instead.
        DeterminismError: in a step.
    """
    run = find_run()
    if run is not None:
        return run
    if step_scope.get() is not None:
        raise DeterminismError(f"{what} works in a workflow body, not in a step; call it from the workflow")
    raise NotInWorkflow(f"{what} works in a workflow only; from outside, use durable.start() and the run's handle")
