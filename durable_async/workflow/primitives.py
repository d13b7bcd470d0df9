"""The calls of a workflow body. Each finds its run through the running loop and hands over to the engine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

from durable_async.engine import calling
from durable_async.engine.children import Child as ChildState
from durable_async.engine.records import Entry, Kind, record
from durable_async.engine.run import Run
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import DeterminismError, WaitTimeout
from durable_async.types import (
    CHILD_TIMEOUT,
    RAISE,
    ChildTimeoutType,
    Duration,
    RaiseType,
    Retry,
    RunInfo,
    Status,
    as_retry,
    brief,
    check_label,
    check_queue,
    check_reason,
    to_ms,
)
from durable_async.workflow.current import current_run
from durable_async.workflow.definitions import Workflow

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
V = TypeVar("V")
T = TypeVar("T")

ON_TIMEOUT = ("cancel", "leave")


@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: None = None,
    timeout_value: Any = ...,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT | ChildTimeoutType: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    timeout_value: RaiseType,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT: ...
@overload
async def call_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT = ...,
    *,
    ref: str | None = None,
    timeout: Duration,
    timeout_value: V,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> OutputT | V: ...


async def call_workflow(
    workflow: Workflow[Any, Any],
    input: Any = None,
    *,
    ref: str | None = None,
    timeout: Duration | None = None,
    timeout_value: Any = CHILD_TIMEOUT,
    on_timeout: str = "cancel",
    queue: str | None = None,
    retry: Retry | int | None = None,
) -> Any:
    """Starts a child, parks until it has ended, and returns its output.

    The parked parent holds no slot, no connection and no polling. The child's id is ``<parent id>/<ref>``: over any
    crash and replay there is one child per ref, and one that has ended answers at once. If the awaiting task is
    cancelled, so is the child (with its last awaiter, if several await one ref).

    Args:
        workflow: what to run.
        input: its input; checked against the annotation when the child starts.
        ref: names the child within its parent; by default the workflow's name, numbered from the second call on.
        timeout: bounds the wait, as a ``timedelta`` or seconds; by default there is none.
        timeout_value: returned when the time is over; by default the falsy `CHILD_TIMEOUT`. `RAISE` raises instead.
        on_timeout: `cancel` (default) cancels the child's tree, `leave` lets it go on; its late result then stays
            readable on the child and never changes what was returned here.
        queue: where the child runs; by default the workflow's own queue.
        retry: a `Retry`, or a number of attempts: a child that has failed is run again under its id, from a fresh
            journal, as a new attempt; children of its own that had completed with the same input are kept. The
            exception is known as data here, so `retry_on` and `never_on` are compared by class name, and subclasses are
            not recognised. `timeout` bounds all attempts together. A cancelled child is not run again.

    Raises:
        ChildFailed, ChildCancelled: if the child ended without a result.
        ChildTimeout: if the time is over and `timeout_value` is `RAISE`.
        RefConflict: if the ref names a child with another workflow or input, or a spent one.
        WorkflowDepthExceeded: if the child would be deeper than `Limits.depth`.
        NotSerializable, PayloadTooLarge: if the input or `timeout_value` cannot be stored.
        NotInWorkflow: outside a workflow.
    """
    run = current_run("call_workflow()")
    spec = _check_call(workflow, input, on_timeout)
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    _check_value(run, timeout_value, CHILD_TIMEOUT)
    child = calling.issue_child(
        run,
        spec,
        input,
        ref=ref,
        queue=_check_queue(queue),
        awaited=True,
        on_close="cancel",
        retry=None if retry is None else as_retry(retry),
    )
    return await calling.await_child(
        run, child, timeout_ms=timeout_ms, timeout_value=timeout_value, on_timeout=on_timeout, owned=True
    )


async def start_workflow(
    workflow: Workflow[InputT, OutputT],
    input: InputT | None = None,
    *,
    ref: str | None = None,
    queue: str | None = None,
    delay: Duration | None = None,
    on_parent_close: str | None = None,
) -> Child[OutputT]:
    """Starts a child and goes on. The child's end does not wake this run, unless `Child.result` is awaited.

    Args:
        workflow: what to run.
        input: its input.
        ref: as in `call_workflow`; calls and starts share one name space.
        queue: where the child runs; by default the workflow's own queue.
        delay: how long the child waits before it starts, as a ``timedelta`` or seconds.
        on_parent_close: `leave` or `cancel`: what becomes of the child when this run ends by itself; by default the
            workflow's own policy. A cancel of this run always reaches the child.

    Raises:
        RefConflict, WorkflowDepthExceeded, NotSerializable, PayloadTooLarge, NotInWorkflow: as `call_workflow`.
    """
    run = current_run("start_workflow()")
    spec = _check_call(workflow, input, "leave")
    policy = on_parent_close if on_parent_close is not None else spec.on_parent_close
    if policy not in ("leave", "cancel"):
        raise ValueError(f"on_parent_close must be 'leave' or 'cancel', got {brief(policy)}")
    child = calling.issue_child(
        run,
        spec,
        input,
        ref=ref,
        queue=_check_queue(queue),
        awaited=False,
        on_close=policy,
        delay_ms=0 if delay is None else to_ms(delay, "delay"),
    )
    return Child(child)


class Child(Generic[OutputT_co]):
    """A started child, as its parent sees it."""

    def __init__(self, state: ChildState) -> None:
        self._state = state

    @property
    def id(self) -> str:
        """The child's id, readable from outside as well."""
        return self._state.id

    @overload
    async def result(self, timeout: None = None, timeout_value: Any = ..., on_timeout: str = "leave") -> OutputT_co: ...
    @overload
    async def result(self, timeout: Duration, *, on_timeout: str = "leave") -> OutputT_co | ChildTimeoutType: ...
    @overload
    async def result(self, timeout: Duration, timeout_value: RaiseType, on_timeout: str = "leave") -> OutputT_co: ...
    @overload
    async def result(self, timeout: Duration, timeout_value: V, on_timeout: str = "leave") -> OutputT_co | V: ...
    async def result(
        self, timeout: Duration | None = None, timeout_value: Any = CHILD_TIMEOUT, on_timeout: str = "leave"
    ) -> Any:
        """Parks until the child has ended and returns its output; arguments and errors as in `call_workflow`.

        Cancelling this wait never cancels the child.
        """
        run = self._run("Child.result()")
        if on_timeout not in ON_TIMEOUT:
            raise ValueError(f"on_timeout must be one of {ON_TIMEOUT}, got {brief(on_timeout)}")
        _check_value(run, timeout_value, CHILD_TIMEOUT)
        return await calling.await_child(
            run,
            self._state,
            timeout_ms=None if timeout is None else to_ms(timeout, "timeout"),
            timeout_value=timeout_value,
            on_timeout=on_timeout,
            owned=False,
        )

    async def cancel(self, reason: str = "") -> None:
        """Cancels the child's tree; does not wait for it to have ended. Nothing happens if it already has."""
        run = self._run("Child.cancel()")
        calling.ask_cancel(run, self._state, check_reason(reason))

    def _run(self, what: str) -> Run:
        run = current_run(what)
        if not run.has_children or run.children.by_id.get(self._state.id) is not self._state:
            raise DeterminismError(
                f"{what} works in the run that started child {self.id} only; hand on child.id, and the result as data"
            )
        return run

    def __repr__(self) -> str:
        return f"<child {self.id}>"


async def sleep(duration: Duration) -> None:
    """A durable timer: the run parks and holds nothing while it sleeps. `asyncio.sleep` does the same.

    Raises:
        ValueError: if the duration is negative, NaN or a bool.
    """
    current_run("sleep()")
    await asyncio.sleep(to_ms(duration) / 1000)


async def sleep_until(when: datetime) -> None:
    """A durable timer until a moment by the server's clock; one that has passed is over at once.

    Raises:
        ValueError: if the datetime is naive, or more than 100 years away.
        TypeError: if it is no datetime.
    """
    run = current_run("sleep_until()")
    if not isinstance(when, datetime):
        raise TypeError(f"sleep_until takes a datetime, not {type(when).__name__}")
    if when.utcoffset() is None:
        raise ValueError(f"sleep_until takes an aware datetime, got {when!r}; add a tzinfo, such as datetime.UTC")
    left = when - datetime.fromtimestamp(run.now_ms / 1000, UTC)
    await asyncio.sleep(to_ms(max(left, timedelta(0))) / 1000)


@overload
async def wait_for_event(
    name: str, type: type[V], *, timeout: Duration | None = None, timeout_value: RaiseType = ...
) -> V: ...
@overload
async def wait_for_event(name: str, type: type[V], *, timeout: Duration | None = None, timeout_value: T) -> V | T: ...
@overload
async def wait_for_event(
    name: str, type: Any = None, *, timeout: Duration | None = None, timeout_value: Any = ...
) -> Any: ...


async def wait_for_event(
    name: str, type: Any = None, *, timeout: Duration | None = None, timeout_value: Any = RAISE
) -> Any:
    """The payload of the next unconsumed event of this name; parks until there is one.

    Events are consumed in the order in which they arrived, each by one wait; one that arrives before the wait is kept.

    Args:
        name: any text of 1 to 128 characters.
        type: the payload's type, to which it is converted; by default plain data.
        timeout: bounds the wait, as a ``timedelta`` or seconds.
        timeout_value: returned when the time is over; by default `WaitTimeout` is raised.

    Raises:
        WaitTimeout: if the time is over and no `timeout_value` was given.
        InvalidInput: if the payload does not fit `type`.
    """
    run = current_run("wait_for_event()")
    check_label(name, "event name")
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    _check_value(run, timeout_value, RAISE)
    payload = run.events.take(name)
    if payload is None:
        payload = await _next_event(run, name, timeout_ms)
    if payload is None:
        if timeout_value is RAISE:
            raise WaitTimeout(f"event {name!r} did not reach run {run.identity.id} in time")
        return timeout_value
    return run.decode(payload, Any if type is None else type, f"event {name!r}")


async def _next_event(run: Run, name: str, timeout_ms: int | None) -> bytes | None:
    future: asyncio.Future[Any] = run.loop.create_future()
    run.events.wait(name, future)
    handle = None
    if timeout_ms is not None:
        handle = run.loop.call_later(timeout_ms / 1000, _time_over, future)
    try:
        payload: bytes | None = await future
        return payload
    except asyncio.CancelledError:
        if future.done() and not future.cancelled() and future.result() is not None:
            # It arrived in the moment of the cancel: the next wait gets it.
            run.events.give_back(name, future.result())
        raise
    finally:
        run.events.forget(name, future)
        if handle is not None:
            handle.cancel()


def _time_over(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)


def put_context(key: str, value: Any) -> None:
    """Publishes a value of the run's state: durable, readable from outside while the run lives.

    Raises:
        NotSerializable, PayloadTooLarge: if the value cannot be stored.
    """
    run = current_run("put_context()")
    check_label(key, "context key")
    data = run.codec.encode(value, limit=run.limits.payload, what=f"context[{key!r}]")
    name = f"context:{key}"
    identity = f"{name}#{run.count(name)}"
    run.context[key] = data
    run.context_dirty = True
    run.issue(identity, Entry("R", record(Kind.CONTEXT, run.now_ms, identity, key, data)))


def get_context(key: str, default: Any = None) -> Any:
    """The value that `put_context` last published under this key in this run, as plain data; else `default`."""
    data = current_run("get_context()").context.get(key)
    if data is None:
        return default
    return current_run("get_context()").decode(data, Any, f"context[{key!r}]")


def now() -> datetime:
    """Durable time, as an aware UTC datetime: the time of the last thing that happened to the run."""
    return datetime.fromtimestamp(current_run("now()").now_ms / 1000, UTC)


def uuid() -> UUID:
    """A UUID that is the same on every replay and differs between calls and runs. Not a secret."""
    run = current_run("uuid()")
    seed = f"{run.identity.id}:{run.identity.created_ms}:{run.count('uuid')}"
    return UUID(bytes=blake2b(seed.encode(), digest_size=16).digest(), version=4)


def random() -> Random:
    """A random number generator with a seed of its own at each call, the same on every replay. Not for secrets."""
    run = current_run("random()")
    return Random(f"{run.identity.id}:{run.identity.created_ms}:{run.count('random')}")


def info() -> RunInfo:
    """What this run is: id, root id, parent id, ref, queue, attempt, created and started times."""
    run = current_run("info()")
    me = run.identity
    return RunInfo(
        id=me.id,
        workflow=run.spec.name,
        queue=me.queue,
        status=Status.RUNNING,
        parent_id=me.parent_id,
        root_id=me.root_id,
        ref=me.ref,
        attempt=me.attempt,
        created_at=datetime.fromtimestamp(me.created_ms / 1000, UTC),
        started_at=datetime.fromtimestamp(me.started_ms / 1000, UTC),
        version=me.version,
    )


def _check_call(workflow: object, input: object, on_timeout: str) -> WorkflowSpec:
    if not isinstance(workflow, Workflow):
        raise TypeError(f"expected a workflow (a function decorated with @workflow), got {type(workflow).__name__}")
    if not isinstance(on_timeout, str) or on_timeout not in ON_TIMEOUT:
        raise ValueError(f"on_timeout must be one of {ON_TIMEOUT}, got {brief(on_timeout)}")
    spec = workflow.spec
    if input is not None and not spec.takes_input:
        raise TypeError(f"workflow {spec.name!r} takes no input, got {type(input).__name__}")
    return spec


def _check_value(run: Run, value: object, default: object) -> None:
    # Now, not when the time is over: by then nobody looks.
    if value is not RAISE and value is not default:
        run.codec.encode(value, limit=run.limits.payload, what="timeout_value")


def _check_queue(queue: str | None) -> str | None:
    return None if queue is None else check_queue(queue)
