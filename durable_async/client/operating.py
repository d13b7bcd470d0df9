"""The part of a `Durable` for those who operate it: queues and workers."""

from __future__ import annotations

from durable_async.checking import check_queue
from durable_async.client.base import Base
from durable_async.client.overview import Overview
from durable_async.shapes import QueueInfo, WorkerInfo


class Operating(Base):
    """Queues and workers of one namespace."""

    async def pause_queue(self, name: str) -> None:
        """Pauses a queue, on all workers and at once: when this returns, none of its runs is started any more, and none
        that waits goes on, until `resume_queue`.

        Runs that are running go on until they wait or end, with all their steps. What is started, sent and cancelled
        meanwhile is kept. A run that never started is cancelled at once; another one when the queue goes on or,
        without its cleanup, when the grace of its cancel is over. Times pass, so a timeout may be over when the run
        goes on. Children in other queues go on. Pausing a paused queue changes nothing.

        Raises:
            ValueError: if no queue can have this name.
            StoreUnavailable: if the store cannot be reached; the queue may have been paused: ask again.
        """
        await self._session.store.pause_queue(check_queue(name, "name"))

    async def resume_queue(self, name: str) -> None:
        """Lets a paused queue go on; one that is not paused is left alone. Workers notice it within a fraction of
        a second.

        Raises:
            ValueError: if no queue can have this name.
            StoreUnavailable: if the store cannot be reached; ask again.
        """
        await self._session.store.resume_queue(check_queue(name, "name"))

    async def queues(self) -> list[QueueInfo]:
        """How busy each queue is, by name: those that have runs which have not ended, that workers serve, or
        that are paused.

        `ready` runs could go on at once if a worker had room, `running` ones are in a worker's hands, `waiting` ones
        wait for a time, a message or new code. `workers` are those whose last sign of life is not older than their
        lease. `oldest_ready_age` is how long one of the ready runs has been so, the longest; None if none is ready.

        Not guaranteed: that the numbers are of one moment. They are counted by looking at every run that is kept, so a
        call takes about a second per 200,000 of them.

        Raises:
            StoreUnavailable: if the store cannot be reached.
        """
        return await Overview(self._session.store).queues()

    async def workers(self) -> list[WorkerInfo]:
        """The workers as they last described themselves, by id, a few times per lease.

        One that died is listed until another one has cleared it away, after a lease; without another one it stays, and
        `last_seen` says so. Times are the server's, as far as the worker knows them.

        Raises:
            StoreUnavailable: if the store cannot be reached.
        """
        return await Overview(self._session.store).workers()
