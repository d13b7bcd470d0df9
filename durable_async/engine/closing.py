"""How a run's life goes to its end: the body, what it leaves behind, and what becomes of its outcome.

The order is that of every end: the body is over; what it left pending is cancelled and awaited; children are closed; a
run that did not end well undoes what is to be undone; then it has an outcome, or begins another life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_async.checking import to_ms
from durable_async.engine.asking import close_questions
from durable_async.engine.calling import close_children, until_started
from durable_async.engine.failures import outcome_of, pack_error
from durable_async.engine.records import Kind, Outcome, Want, record
from durable_async.engine.renewal import Renewal, attempt_again, continued
from durable_async.errors import ErrorInfo, RunTimeout

if TYPE_CHECKING:
    from durable_async.engine.run import Run


async def live(run: Run, payload: bytes) -> None:
    """The whole life of a run, as a task of its loop."""
    # As asyncio.run does: what the body left behind is cancelled and awaited before the run ends.
    status, data, error = await outcome_of(run, payload)
    run.is_ending = True
    if not run.loop.is_alone:
        await run.loop.wind_up()
    await _end(run, status, data, error)


async def _end(run: Run, status: str, data: bytes, error: BaseException | None) -> None:
    if run.has_children:
        await until_started(run)
        close_children(run)
    if run.has_questions:
        close_questions(run)
    if run.is_cancelled:
        status, data = "cancelled", run.cancel_reason.encode()
    elif run.overrun:
        info = ErrorInfo("JournalLimitExceeded", run.overrun)
        status, data, error = "failed", pack_error(info, run.codec), None
    elif run.late:
        info = ErrorInfo("RunTimeout", run.late)
        error = RunTimeout(run.late, id=run.identity.id, error=info)
        status, data = "failed", pack_error(info, run.codec)
    elif run.continuation is not None:
        status, run.renewal = "completed", continued(run.continuation)
    failure, run.failure = data, error
    if run.has_saga and status != "completed":
        status, data = await run.saga.unwind(status, data)
    if status == "failed" or status == "compensated":
        run.renewal = attempt_again(run, error, failure)
    run.outcome = Outcome(status, data) if run.renewal is None else Outcome(Want.RENEW, run.renewal.start)


async def end_later(run: Run, outcome: Outcome, renewal: Renewal | None) -> None:
    """The commit that was to be the last one found that a child asked for just before cannot be started yet."""
    await until_started(run)
    if run.is_cancelled:
        run.outcome = Outcome("cancelled", run.cancel_reason.encode())
    else:
        run.outcome, run.renewal = outcome, renewal


def time_out(run: Run) -> None:
    """The run's own time is over: like a cancel, with the same grace for cleanup, but the end is a failure."""
    if run.outcome is not None or run.is_cancelled or run.body is None or _is_undoing(run):
        return
    run.late = f"run {run.identity.id} did not end within its timeout"
    if not run.is_ending:
        run.body.cancel(run.late)
    run.loop.call_later(to_ms(run.limits.cancel_grace) / 1000, _cut_short, run)


def _cut_short(run: Run) -> None:
    if run.outcome is not None or run.is_cancelled or _is_undoing(run):
        return
    if run.is_replaying:
        # The grace may have been another one: the record says when it was.
        run.loop.call_later(0.001, _cut_short, run)
    else:
        run.append(record(Kind.CUT, run.now_ms, ""))
        cut(run)


def cut(run: Run) -> None:
    """The cleanup of a cancelled or late run has had its time: what is left of the body stays where it is, for good."""
    run.is_ending = True
    run.loop.freeze()
    run.steps.give_up_all()
    if run.has_children:
        run.children.give_up_waiting()
    run.body = run.loop.create_task(_end(run, "cancelled", b"", None), name="body")


def _is_undoing(run: Run) -> bool:
    return run.has_saga and run.saga.is_begun
