"""A run, as seen from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durable_async.checking import to_ms
from durable_async.client.listener import Waiter
from durable_async.client.reading import result_of
from durable_async.shapes import RunInfo
from durable_async.types import Duration, Status

if TYPE_CHECKING:
    from durable_async.client.durable import Durable

R_co = TypeVar("R_co", covariant=True)


class Handle(Generic[R_co]):
    """Names one run. Making one does no I/O and does not prove that the run exists."""

    def __init__(self, durable: Durable, id: str, annotation: Any, *, waiter: Waiter | None = None) -> None:
        self._durable = durable
        self._annotation = annotation
        self._waiter = waiter
        self._is_registered = False
        self.id = id

    async def result(self, timeout: Duration | None = None) -> R_co:
        """The run's output, once it has ended; pushed by whoever ends it, not polled.

        Cancelling this wait, or letting it time out, never touches the run.

        Args:
            timeout: how long to wait, as a ``timedelta`` or seconds; by default for ever.

        Raises:
            RunFailed, RunCancelled: if the run ended without an output.
            TimeoutError: if the time is over; the run goes on.
            RunNotFound: if there is no such run.
        """
        if timeout is None:
            outcome = await self._durable._outcome(self)
        else:
            seconds = to_ms(timeout, "timeout") / 1000
            try:
                async with asyncio.timeout(seconds):
                    outcome = await self._durable._outcome(self)
            except TimeoutError:
                raise TimeoutError(f"run {self.id} did not end within {seconds} s; it goes on") from None
        result: R_co = result_of(self.id, outcome, self._durable.codec, self._annotation, self._durable._read_limit)
        return result

    def __await__(self) -> Generator[Any, None, R_co]:
        return self.result().__await__()

    async def status(self) -> Status:
        """What the run is doing now."""
        return (await self.info()).status

    async def info(self) -> RunInfo:
        """A snapshot.

        Raises:
            RunNotFound: if there is no such run.
        """
        return await self._durable.get(self.id)

    async def children(self, *, status: Any = None) -> list[RunInfo]:
        """The run's children, oldest first; `status` is one or several."""
        return await self._durable.list_children(self.id, status=status)

    async def cancel(self, reason: str = "") -> bool:
        """As `Durable.cancel`."""
        return await self._durable.cancel(self.id, reason)

    async def send_event(self, name: str, payload: Any = None, *, event_id: str | None = None) -> None:
        """As `Durable.send_event`."""
        await self._durable.send_event(self.id, name, payload, event_id=event_id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
