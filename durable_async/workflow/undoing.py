"""Compensations that a body pushes by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from durable_async.workflow.current import current_run
from durable_async.workflow.definitions import Workflow, as_undo


def compensate(fn: Callable[..., Any], *args: Any) -> None:
    """Has ``fn(*args)`` run if this run fails or is cancelled from here on: newest first, among those of its steps.

    A plain call: nothing is awaited, and nothing runs if the run completes. As for every step, what it does happens at
    least once. It can be taken back by nothing but success.

    Args:
        fn: a step, a plain function (which becomes a step with one attempt), or a workflow, which is run as a child.
        args: what it is called with; of a workflow the input, or nothing. Not stored: a replay makes them again.

    Raises:
        TypeError: if `fn` is none of these, or does not take these arguments.
        ValueError: if a plain function has no name of its own: a lambda.
        NotInWorkflow: outside a workflow.
        DeterminismError: in a step.
    """
    run = current_run("compensate()")
    undo = as_undo(fn)
    try:
        inspect.signature(undo.function).bind(*args)
    except TypeError as error:
        raise TypeError(f"{undo!r} cannot compensate with these arguments: {error}") from None
    except ValueError:
        pass  # a builtin that does not say what it takes
    if isinstance(undo, Workflow) and args:
        # As with every child, what cannot be stored is said at the call.
        run.codec.encode(args[0], limit=run.limits.payload, what="input")
    run.saga.add(undo, args)
