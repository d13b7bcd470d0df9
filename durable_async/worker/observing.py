"""How a worker is, for whoever asks from outside of it; what it has done, for whoever counts.

A worker that nobody observes does nothing for it.
"""

from __future__ import annotations

from typing import Protocol

from durable_async.engine.records import Turn
from durable_async.engine.spec import StepCall
from durable_async.worker.resident import Resident
from durable_async.worker.worker import Worker


def trouble_of(worker: Worker) -> str | None:
    """Why a worker takes up nothing new, in a few words without any payload; None while it does.

    It may be asked from any thread. A store that is lost is noticed by the next call or heartbeat, so within a fifth of
    a lease; one that refuses writes (`MISCONF`, `OOM`) by the next heartbeat or commit.
    """
    if worker._is_stopping:
        return "draining"
    caller, heartbeat = getattr(worker, "caller", None), getattr(worker, "_heartbeat", None)
    if caller is None or heartbeat is None or not worker._tasks:
        return "starting"
    trouble: str | None = caller.trouble
    if trouble is not None:
        return f"trouble with the store: {trouble}"
    if heartbeat.has_failed:
        return "trouble with the store: it took no heartbeat"
    if not heartbeat.may_launch():
        return f"no heartbeat for {heartbeat.age_s:.0f} s"
    if any(task.done() for task in list(worker._tasks)):
        return "a loop of the worker has ended"
    return None


class Observer(Protocol):
    """Who counts; called on the worker's loop, and must not raise."""

    def run_ended(self, workflow: str, status: str) -> None:
        """This worker has ended a run."""

    def step_done(self, step: str, *, is_ok: bool, seconds: float) -> None:
        """An attempt of a step has ended by itself; `step` is the name of its function."""


def observe(worker: Worker, observer: Observer) -> None:
    """Tells `observer` what a started worker does from here on."""
    runner = worker.runner

    def ended(resident: Resident, turn: Turn) -> None:
        observer.run_ended(resident.run.spec.name, str(turn.want))

    go_on = runner.steps.on_done

    def done(resident: Resident, call: StepCall, value: object, error: BaseException | None, duration_ms: int) -> None:
        # The function's own name: `options(name=)` may say any number of them, and anything in them.
        name = getattr(call.spec.function, "__name__", "step")
        observer.step_done(name, is_ok=error is None, seconds=duration_ms / 1000)
        go_on(resident, call, value, error, duration_ms)

    runner.on_ended = ended
    runner.steps.on_done = done
