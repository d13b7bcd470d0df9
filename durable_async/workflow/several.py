"""Waiting for events of several names: for the first of them, or for one of each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from durable_async.checking import brief, check_label, to_ms
from durable_async.engine.events import Arrived
from durable_async.engine.run import Run
from durable_async.errors import WaitTimeout
from durable_async.types import RAISE, Duration, RaiseType
from durable_async.workflow.checks import check_value
from durable_async.workflow.current import current_run
from durable_async.workflow.waits import arrived, next_event, time_over

T = TypeVar("T")
V = TypeVar("V")


@overload
async def wait_for_any(
    names: Iterable[str], type: type[V], *, timeout: Duration | None = None, timeout_value: RaiseType = ...
) -> tuple[str, V]: ...
@overload
async def wait_for_any(
    names: Iterable[str], type: type[V], *, timeout: Duration | None = None, timeout_value: T
) -> tuple[str, V] | T: ...
@overload
async def wait_for_any(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: RaiseType = ...
) -> tuple[str, Any]: ...
@overload
async def wait_for_any(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: T
) -> tuple[str, Any] | T: ...


async def wait_for_any(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: Any = RAISE
) -> Any:
    """Name and payload of the first event of any of these names; parks until there is one.

    The first to have arrived, whatever its place in the list: of events that were there before the wait the oldest.
    The others stay unconsumed. With other waits for the same names it takes its turn, as `wait_for_event` does.

    Args:
        names: of the events, each once; each is any text of 1 to 128 characters.
        type: the payload's type, whichever event it is; by default plain data.
        timeout: bounds the wait, as a ``timedelta`` or seconds.
        timeout_value: returned, instead of name and payload, when the time is over; by default `WaitTimeout` is raised.

    Returns:
        ``(name, payload)``.

    Raises:
        WaitTimeout: if the time is over and no `timeout_value` was given.
        InvalidInput: if the payload does not fit `type`; the event is consumed.
        ValueError: if there is no name, one twice, or one that is no event name.
        TypeError: if `names` is a str, a dict or a set, which has no order that a replay knows.
        NotInWorkflow: outside a workflow.
    """
    run = current_run("wait_for_any()")
    wanted = _check_names(names, "wait_for_any")
    if not wanted:
        raise ValueError("wait_for_any takes at least one event name: nothing would ever arrive")
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    check_value(run, timeout_value, RAISE)
    event = run.events.take(*wanted) or await next_event(run, wanted, timeout_ms)
    if event is None:
        if timeout_value is RAISE:
            raise WaitTimeout(f"none of the events {_shown(wanted)} reached run {run.identity.id} in time")
        return timeout_value
    return event.name, _payload(run, event, type)


@overload
async def wait_for_all(
    names: Iterable[str], type: type[V], *, timeout: Duration | None = None, timeout_value: RaiseType = ...
) -> dict[str, V]: ...
@overload
async def wait_for_all(
    names: Iterable[str], type: type[V], *, timeout: Duration | None = None, timeout_value: T
) -> dict[str, V] | T: ...
@overload
async def wait_for_all(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: RaiseType = ...
) -> dict[str, Any]: ...
@overload
async def wait_for_all(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: T
) -> dict[str, Any] | T: ...


async def wait_for_all(
    names: Iterable[str], type: Any = None, *, timeout: Duration | None = None, timeout_value: Any = RAISE
) -> Any:
    """Payloads of the next event of each of these names, in whatever order they arrive; parks until all are there.

    All or nothing: if the time is over, or the wait is cancelled, before the last has arrived, those that have arrived
    are unconsumed again, in their old order.

    Args:
        names: of the events, each once; none is over at once.
        type, timeout: as in `wait_for_any`; the time is that for all of them.
        timeout_value: returned, instead of the dict, when the time is over; by default `WaitTimeout` is raised.

    Returns:
        ``{name: payload}`` in the order of the names.

    Raises:
        WaitTimeout, ValueError, TypeError, NotInWorkflow: as `wait_for_any`.
        InvalidInput: if a payload does not fit `type`; all of the events are consumed.
    """
    run = current_run("wait_for_all()")
    wanted = _check_names(names, "wait_for_all")
    timeout_ms = None if timeout is None else to_ms(timeout, "timeout")
    check_value(run, timeout_value, RAISE)
    found = await _one_of_each(run, wanted, timeout_ms)
    missing = [name for name in wanted if name not in found]
    if missing:
        if timeout_value is RAISE:
            raise WaitTimeout(f"of the events {_shown(missing)} none reached run {run.identity.id} in time")
        return timeout_value
    return {name: _payload(run, found[name], type) for name in wanted}


async def _one_of_each(run: Run, names: list[str], timeout_ms: int | None) -> dict[str, Arrived]:
    """One event of each name, consumed; or, once the time is over, those that were there, not consumed."""
    found: dict[str, Arrived] = {}
    waits: dict[str, asyncio.Future[Any]] = {}
    for name in names:
        event = run.events.take(name)
        if event is not None:
            found[name] = event
        else:
            waits[name] = run.loop.create_future()
            run.events.wait(name, waits[name])
    handle = None
    if waits and timeout_ms is not None:
        handle = run.loop.call_later(timeout_ms / 1000, time_over, *waits.values())
    has_all = False
    try:
        for future in waits.values():
            await future
        has_all = all(future.result() is not None for future in waits.values())
    finally:
        if handle is not None:
            handle.cancel()
        for name, future in waits.items():
            run.events.forget(name, future)
            if (event := arrived(future)) is not None:
                found[name] = event
        if not has_all:
            for event in found.values():
                run.events.give_back(event)
    return found


def _check_names(names: object, what: str) -> list[str]:
    if isinstance(names, str | bytes | Mapping | set | frozenset) or not isinstance(names, Iterable):
        raise TypeError(
            f"{what} takes a list of event names, such as ['paid', 'cancelled'], not {type(names).__name__}"
        )
    wanted: dict[str, None] = {}
    for name in names:
        check_label(name, "event name")
        if name in wanted:
            raise ValueError(f"{what} takes each event name once, got {brief(name)} twice")
        wanted[name] = None
    return list(wanted)


def _payload(run: Run, event: Arrived, annotation: Any) -> Any:
    return run.decode(event.payload, Any if annotation is None else annotation, f"event {event.name!r}")


def _shown(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(repr(name) for name in names[:3]) + (f" and {more} more" if more > 0 else "")
