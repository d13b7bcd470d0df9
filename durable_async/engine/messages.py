"""What others have to say to a run: whether it still concerns anybody, and to whom it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_async.engine.calling import child_ended
from durable_async.engine.closing import end_later
from durable_async.engine.records import Message, Outcome

if TYPE_CHECKING:
    from durable_async.engine.run import Run


def wants(run: Run, message: Message) -> bool:
    """Whether a message has somebody to tell it to; what is late is dropped."""
    kind = message.kind
    if kind == "X":
        return run.cancel_seen is None
    if run.outcome is not None:
        if kind == "E":
            return run.renewal is not None
        return kind == "O" and not run.is_cancelled and run.children.wants("O", message.key)
    if kind == "E":
        return True
    if kind == "I":
        return run.has_questions and run.questions.is_open(message.key)
    return run.has_children and run.children.wants(kind, message.key)


def give(run: Run, message: Message) -> None:
    """Tells a message to whom it concerns, and lets the body go on."""
    kind = message.kind
    run.advance(message.time_ms)
    if kind == "X":
        _cancel(run, message)
    elif kind == "E":
        run.events.put(message.key, message.payload)
    elif kind == "I":
        run.questions.settle(message.key, message.letter, message.payload)
    elif kind == "O":
        run.children.by_id[message.key].is_occupied = True
        if run.outcome is not None:
            ended, run.outcome, run.renewal = (run.outcome, run.renewal), None, None
            run.body = run.loop.create_task(end_later(run, *ended), name="end")
    else:
        child_ended(run, run.children.by_id[message.key], message.letter, message.payload)
    run.loop.run_ready()


def _cancel(run: Run, message: Message) -> None:
    run.cancel_seen, run.cancelled_ms = message.key, message.time_ms
    if run.has_saga:
        run.saga.bound()
    if run.outcome is not None and run.outcome.status != "compensation_failed":
        run.outcome, run.renewal = Outcome("cancelled", message.key.encode()), None
    elif run.body is not None and not run.is_ending:
        # While the body's left-overs end they have been cancelled already; a second cancel would cut them.
        run.body.cancel(message.key)
    if run.has_children:
        run.children.look_again()
