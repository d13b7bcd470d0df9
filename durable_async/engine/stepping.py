"""The steps of one run: which attempt is current, what is to be launched, what was given up.

An attempt that fails and may be repeated is recorded with the time of the next one, so a back-off is nothing but a
timer of the run: it holds no slot and survives a restart.

An attempt of an at-most-once step is marked by a record that is committed before its launch. A run that is rebuilt and
finds the mark without an outcome does not know what the step has done: the attempt is not launched, it has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from durable_async.checking import to_ms
from durable_async.engine.failures import mark_line, step_error, step_failure
from durable_async.engine.records import UNKNOWN, Entry, Kind, record
from durable_async.engine.spawning import step_given_up
from durable_async.engine.spec import StepCall, StepSpec
from durable_async.errors import DurableError, PayloadError, StepInterrupted
from durable_async.types import Retry

if TYPE_CHECKING:
    from durable_async.engine.run import Run


@dataclass(slots=True)
class _Live:
    """A step the body waits for."""

    call: StepCall
    future: asyncio.Future[Any]
    first_s: float
    """When it was called, by the run's loop."""
    is_backing_off: bool = False
    is_marked: bool = False
    """The mark of an at-most-once attempt was found in the journal."""
    is_taken_back: bool = False
    """The mark was taken back: the attempt was not launched."""
    interrupted: StepSpec | None = None
    """The step itself, while its current attempt is one that only says that it was interrupted."""


class Steps:
    """The steps of one run that have neither an outcome nor been given up."""

    __slots__ = ("_live", "_run", "aborts", "launches")

    def __init__(self, run: Run) -> None:
        self._run: Run = run
        self._live: dict[str, _Live] = {}
        self.launches: list[StepCall] = []
        self.aborts: list[StepCall] = []

    async def call(self, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any], prefix: str = "step:") -> Any:
        """A step called in the body: returns or raises its first recorded outcome."""
        run = self._run
        name = prefix + spec.name
        identity = f"{name}#{run.count(name)}"
        call = StepCall(identity, spec, args, kwargs, 1, run.identity.id)
        live = self._live[identity] = _Live(call, run.loop.create_future(), run.loop.time())
        self.launches.append(call)
        if spec.at_most_once:
            self._mark(call)
        try:
            return await live.future
        finally:
            # Still live means given up: the awaiting task was cancelled. A late outcome is dropped.
            if self._live.get(identity) is live:
                del self._live[identity]
                if not live.is_backing_off:
                    self.aborts.append(live.call)
                if run.has_children and run.children.has_called:
                    step_given_up(run, identity)

    def _mark(self, call: StepCall) -> None:
        run = self._run
        identity = f"launch:{call.identity}#{call.attempt}"
        run.issue(identity, Entry("R", record(Kind.LAUNCH, run.now_ms, identity, call.identity, call.attempt)))

    def take_back_marks(self) -> bool:
        """Marked attempts that this owner will not launch: the next one is to know. False if there are none."""
        run, found = self._run, False
        for call in self.launches:
            live = self._live.get(call.identity)
            if call.spec.at_most_once and live is not None and self.is_current(call) and not live.is_taken_back:
                found = live.is_taken_back = True
                identity = f"launch:{call.identity}#{call.attempt}"
                run.append(record(Kind.LAUNCH, run.now_ms, identity, call.identity, 0))
        return found

    def launched(self, identity: str, attempt: int) -> None:
        """A replay has come to the mark of an at-most-once attempt."""
        live = self._live.get(identity)
        if live is not None:
            live.is_marked = attempt > 0 and live.call.spec.at_most_once
            live.is_taken_back = attempt == 0 and live.call.spec.at_most_once

    def replayed(self) -> None:
        """The journal is over: an attempt that was marked and has no outcome was cut off, and is not made again."""
        for live in self._live.values():
            if live.is_marked:
                call = live.call
                live.interrupted = call.spec
                spec = replace(call.spec, function=_interrupted(call), is_async=True, timeout=None, at_most_once=False)
                live.call = replace(call, spec=spec)
                self.launches.append(live.call)
            elif live.is_taken_back:
                live.is_taken_back = False
                self._mark(live.call)

    def give_up_all(self) -> None:
        """Nobody waits for any step any more."""
        self.aborts += [live.call for live in self._live.values() if not live.is_backing_off]
        self._live.clear()

    def is_current(self, call: StepCall) -> bool:
        """Whether an outcome of this very attempt still counts."""
        live = self._live.get(call.identity)
        return live is not None and live.call is call and not live.is_backing_off

    def knows(self, identity: str) -> bool:
        """Whether the body waits for this step."""
        return identity in self._live

    def open(self) -> list[str]:
        """The steps the body waits for."""
        return list(self._live)

    def is_busy(self) -> bool:
        """Whether an attempt is to be launched or is running."""
        for live in self._live.values():  # noqa: SIM110  # asked several times per step; a generator is dear
            if not live.is_backing_off:
                return True
        return False

    def backing_off(self) -> list[str]:
        """The names of the steps whose next attempt waits for its time."""
        return [live.call.spec.name for live in self._live.values() if live.is_backing_off]

    def disconnect(self) -> None:
        """The run has left memory: nothing is asked of its steps any more."""
        self._run = None  # type: ignore[assignment]

    def take_launches(self) -> list[StepCall]:
        """The attempts to start now; those settled or given up meanwhile are left out."""
        launches, self.launches = self.launches, []
        return [call for call in launches if self.is_current(call)]

    def take_aborts(self) -> list[StepCall]:
        """The running attempts whose awaiter is gone."""
        aborts = self.aborts
        if aborts:
            self.aborts = []
        return aborts

    def returned(self, call: StepCall, value: object, now_ms: int, duration_ms: int) -> None:
        """Records a result. One that cannot be stored is the step's failure, and is not retried."""
        run = self._run
        try:
            data = run.codec.encode(value, limit=run.limits.payload, what=f"result of step {call.spec.name!r}")
        except PayloadError as error:
            self._settle_failed(call, error, now_ms, duration_ms)
            return
        run.append(record(Kind.STEP, now_ms, call.identity, call.attempt, duration_ms, 1, data))
        run.advance(now_ms)
        self._resolve(call.identity, data, value)

    def failed(self, call: StepCall, error: BaseException, now_ms: int, duration_ms: int, spread: float) -> None:
        """Records a failed attempt, or the failure if there will be no other attempt."""
        policy = call.spec.retry
        delay = policy.delay_ms(call.attempt, spread)
        live = self._live[call.identity]
        late = policy.max_elapsed is not None and now_ms + delay - round(live.first_s * 1000) > to_ms(
            policy.max_elapsed
        )
        # An effect that may have happened is repeated only for those who say so by name.
        is_unknown = live.interrupted is not None and not _names_interruption(policy)
        if late or is_unknown or not policy.allows(error, call.attempt):
            self._settle_failed(call, error, now_ms, duration_ms)
            return
        run = self._run
        due_ms = now_ms + delay
        failure = step_failure(error, self._run.codec)
        run.append(record(Kind.ATTEMPT, now_ms, call.identity, call.attempt, duration_ms, due_ms, failure))
        run.advance(now_ms)
        self._back_off(live, due_ms)

    def replay(self, kind: str, values: list[Any]) -> None:
        """Feeds a recorded outcome or failed attempt."""
        identity = values[2]
        if kind == Kind.ATTEMPT:
            live = self._live[identity]
            live.call = self._attempt(live.call, values[3])
            self._back_off(live, values[5])
        elif values[5]:
            self._resolve(identity, values[6])
        else:
            self._reject(identity, values[6], None)

    def _settle_failed(self, call: StepCall, error: BaseException, now_ms: int, duration_ms: int) -> None:
        failure = step_failure(error, self._run.codec)
        run = self._run
        run.append(record(Kind.STEP, now_ms, call.identity, call.attempt, duration_ms, 0, failure))
        run.advance(now_ms)
        self._reject(call.identity, failure, error)

    def _resolve(self, identity: str, data: bytes, was: object = UNKNOWN) -> None:
        live = self._live.pop(identity)
        spec = live.call.spec
        if spec.compensate is not None:
            self._run.saga.add_step(spec, data)  # also if nobody waits for it any more: it has happened
        if live.future.done():
            return
        try:
            value = self._run.decode(data, spec.output_type, f"result of step {spec.name!r}", was)
        except DurableError as error:
            live.future.set_exception(error)
        else:
            live.future.set_result(value)

    def _reject(self, identity: str, failure: bytes, error: BaseException | None) -> None:
        live = self._live.pop(identity)
        if not live.future.done():
            raised = step_error(live.call.spec, failure, error, self._run.codec)
            if self._run.is_replaying:
                mark_line(raised, self._run.position)
            live.future.set_exception(raised)

    def _back_off(self, live: _Live, due_ms: int) -> None:
        live.is_backing_off, live.is_marked = True, False
        self._run.loop.call_at(due_ms / 1000, self._relaunch, live)

    def _relaunch(self, live: _Live) -> None:
        if self._live.get(live.call.identity) is live:
            live.is_backing_off = False
            live.call = self._attempt(live.call, live.call.attempt + 1)
            if live.interrupted is not None:
                live.call.spec, live.interrupted = live.interrupted, None
            self.launches.append(live.call)
            if live.call.spec.at_most_once:
                self._mark(live.call)

    def _attempt(self, call: StepCall, number: int) -> StepCall:
        return StepCall(call.identity, call.spec, call.args, call.kwargs, number, call.run_id)


def _interrupted(call: StepCall) -> Callable[..., Any]:
    async def interrupted(*args: Any, **kwargs: Any) -> None:
        raise StepInterrupted(
            f"step {call.spec.name!r} of run {call.run_id} was launched, and its worker died before it recorded an "
            "outcome; it may run at most once: find out whether its effect has happened, and go on accordingly"
        )

    return interrupted


def _names_interruption(policy: Retry) -> bool:
    kinds = policy.retry_on if isinstance(policy.retry_on, tuple) else (policy.retry_on,)
    return StepInterrupted in kinds
