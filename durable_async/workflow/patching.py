"""Changing the code of workflows that have runs."""

from __future__ import annotations

from durable_async.checking import check_label
from durable_async.engine.patches import is_patched
from durable_async.workflow.current import current_run


def patched(change: str) -> bool:
    """Whether this run goes the new way at a change of its workflow's code; a plain call::

        if patched("ask-the-bank-first"):
            await ask_the_bank(order)
        await charge(order)

    True for runs that get here for the first time with this code, also if they were started or parked before; that is
    recorded. False for runs whose journal shows that they went past this place without it. The answer for one `change`
    is the same wherever and how often a run asks, also in loops, in branches and on replay. A further attempt of the
    run, or its life after `continue_as_new`, has a history of its own: it goes the new way.

    Give children that the new way calls a `ref`: without one they are numbered together with those of the old way.

    Once no run goes the old way any more, the old code and the call can be removed.

    Not guaranteed: that a run goes the old way because it had *begun* a step of it. A step whose worker was killed, and
    that has no outcome, does not count; if nothing else was recorded after this place the run goes the new way.

    Args:
        change: names the change within the workflow, any text of 1 to 128 characters; another change needs another
            name.

    Raises:
        NotInWorkflow: outside a workflow.
        DeterminismError: in a step.
        ValueError: if the name is none.
    """
    run = current_run("patched()")
    return is_patched(run, check_label(change, "change"))
