"""Waiting: for time to pass, and for events from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload

from durable_async.checking import check_label, to_ms
from durable_async.engine.events import Arrived
from durable_async.engine.run import Run
from durable_async.errors import WaitTimeout
from durable_async.types import RAISE, Duration, RaiseType
from durable_async.workflow.checks import check_value
from durable_async.workflow.current import current_run

V = TypeVar("V")
T = TypeVar("T")


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
    check_value(run, timeout_value, RAISE)
    event = run.events.take(name) or await next_event(run, (name,), timeout_ms)
    if event is None:
        if timeout_value is RAISE:
            raise WaitTimeout(f"event {name!r} did not reach run {run.identity.id} in time")
        return timeout_value
    return run.decode(event.payload, Any if type is None else type, f"event {name!r}")


async def next_event(run: Run, names: Sequence[str], timeout_ms: int | None) -> Arrived | None:
    """The next event of one of these names, of which none is kept; None if the time is over before."""
    future: asyncio.Future[Any] = run.loop.create_future()
    for name in names:
        run.events.wait(name, future)
    handle = None
    if timeout_ms is not None:
        handle = run.loop.call_later(timeout_ms / 1000, time_over, future)
    try:
        event: Arrived | None = await future
        return event
    except asyncio.CancelledError:
        if (event := arrived(future)) is not None:
            # It arrived in the moment of the cancel: the next wait gets it.
            run.events.give_back(event)
        raise
    finally:
        for name in names:
            run.events.forget(name, future)
        if handle is not None:
            handle.cancel()


def arrived(future: asyncio.Future[Any]) -> Arrived | None:
    """What a wait has been given, if anything."""
    event: Arrived | None = future.result() if future.done() and not future.cancelled() else None
    return event


def time_over(*futures: asyncio.Future[Any]) -> None:
    """Ends the waits that have been given nothing."""
    for future in futures:
        if not future.done():
            future.set_result(None)
