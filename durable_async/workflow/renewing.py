"""Ending a run's life to begin the next one under the same id."""

from __future__ import annotations

from typing import Any, NoReturn

from durable_async.engine.renewal import continue_with
from durable_async.workflow.current import current_run


def continue_as_new(input: Any = None) -> NoReturn:
    """Ends this journal and goes on under the same id with a new input; never returns. For loops without an end.

    The next life runs the workflow from its start. Refs start afresh: a child met again is run again, after what the
    earlier life started under that ref has ended. Context and events that nobody has consumed stay; timers and awaited
    children end, and started children as `on_parent_close` says. A cancel wins. Who waits for the result goes on
    waiting. `RunInfo.attempt` begins at 1 again.

    What is not guaranteed: that code behind this call in other tasks of the body does nothing more: they are cancelled,
    as at every end, and may clean up.

    Raises:
        TypeError: if the workflow takes no input and one is given.
        InvalidInput: if the input does not fit the annotation.
        NotSerializable, PayloadTooLarge: if it cannot be stored.
        NotInWorkflow: outside a workflow.
    """
    run = current_run("continue_as_new()")
    spec = run.spec
    if input is not None and not spec.takes_input:
        raise TypeError(f"workflow {spec.name!r} takes no input, got {type(input).__name__}")
    payload = b""
    if spec.takes_input and not (input is None and spec.has_default):
        payload = run.codec.encode(input, limit=run.limits.payload, what="input")
        run.decode(payload, spec.input_type, "input")
    continue_with(run, payload)
