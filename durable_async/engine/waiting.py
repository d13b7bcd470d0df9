"""What a parked run waits for, in words a person understands."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable_async.engine.run import Run

SHOWN = 3


def describe(run: Run) -> str:
    """For example ``child order_1/payment``, ``event truck_ready``, ``input size``,
    ``timer until 2026-01-01T09:00:00Z``."""
    awaited = run.children.awaited if run.has_children else {}
    things = [f"child {id}" for id in islice(awaited, SHOWN)]
    things += [f"event {name}" for name in run.events.waiting()]
    if run.has_questions:
        things += [f"input {name}" for name in run.questions.waiting()]
    if not things:
        due = run.next_due_ms()
        backing_off = run.steps.backing_off()
        if due is None:
            return "nothing: the workflow waits for something that cannot happen"
        until = datetime.fromtimestamp(due / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        until = until.replace(".000Z", "Z")
        if backing_off:
            return f"retry of step {backing_off[0]} at {until}"
        return f"timer until {until}"
    more = len(things) - SHOWN + max(0, len(awaited) - SHOWN)
    return ", ".join(things[:SHOWN]) + (f" and {more} more" if more > 0 else "")
