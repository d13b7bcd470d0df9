"""A run, as seen from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durable_async.checking import to_ms
from durable_async.client.listener import Waiter
from durable_async.client.reading import result_of
from durable_async.client.watching import Place, Teller, watch
from durable_async.shapes import Event, RunInfo
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

    def watch(self, after: str | None = None) -> AsyncGenerator[Event, None]:
        """What happens to the run, as it happens, from its beginning or after an event that was seen before; ends with
        the run, after a `status` event that says how.

        ``async for event in handle.watch():`` gives `Event`s: what the run's history records, in its order, each once;
        and between them what the run is doing, as far as it was seen. Nobody pays for it but who watches: the watcher
        is told by whoever commits something for the run, and looks itself every two seconds.

        Args:
            after: the `id` of the last event that was seen, perhaps by another process; by default all are told. Of an
                earlier life of the run (a retry of the workflow, `continue_as_new`) nothing is left to be told: what
                comes next is the beginning of the one that goes on.

        Not guaranteed: that every status is seen, since a run may wait and go on between two looks; that nothing is
        told twice if the store loses what it has acknowledged.

        Raises:
            ValueError: if `after` is no event's id.
            RunNotFound: if there is no such run, or its retention is over meanwhile.
            CorruptPayload: if its history is damaged.
            StoreUnavailable: if the `Durable` is closed. While the store cannot be reached, the watcher goes on trying.
        """
        place = Place.read(after)
        durable = self._durable
        return watch(durable._session, Teller(self.id, place, durable.codec, 2 * durable.limits.payload))

    def __repr__(self) -> str:
        return f"<run {self.id}>"
