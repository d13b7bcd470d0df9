"""The transitions of those who do not own the run: cancels, ends from outside, events, waiting clients."""

from __future__ import annotations

from typing import Any

from durable_async.errors import RunNotFound
from durable_async.store.base import StoreBase, text_of
from durable_async.store.keys import queue_of
from durable_async.store.status import Answer


class OutsideCalls(StoreBase):
    """One method per transition. Keys that depend on the record are read first, and again if they have changed."""

    async def cancel_run(self, id: str, reason: str, token: str, grace_ms: int, *, walk: str = "") -> tuple[bool, str]:
        """Marks a run as cancelled, or ends one that never started; for a `walk`, only while that is to be done.

        Returns: whether this call did it, and the clients that wait for the run if it has ended by this.

        Raises:
            RunNotFound: if there is no such run.
        Redis: cancel_run.lua after one or two reads; again if the owner changed in between.
        """
        while True:
            standing = await self.standing(id)
            keys, parent = self._outside(id, standing)
            told = (id, reason, token, grace_ms, standing.owner, *parent, walk)
            args = (self.given_now, *told, queue_of(standing.queue))
            reply = await self._call("cancel_run", keys, args)
            if reply[0] == Answer.OK:
                return True, text_of(reply[2])
            if reply[0] == Answer.DONE:
                return False, ""
            if reply[0] == Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")

    async def settle_run(
        self, id: str, cause: str, status: str, payload: bytes, *, bound: int = 0, token: str = ""
    ) -> tuple[bool, str]:
        """Ends a run that its owner does not end; `cause` is `terminate`, `grace`, `timeout` or `poison`. A repeat with
        the same token gets the first answer. `bound` is the grace in ms for a timeout, the number of claims for poison.

        Returns: whether this call ended it, and the clients that wait for it.

        Raises:
            RunNotFound: if there is no such run.
        Redis: settle_run.lua after one or two reads; again if the owner changed in between.
        """
        while True:
            standing = await self.standing(id)
            keys, parent = self._outside(id, standing)
            keys[8:8] = (self.keys.inputs, self.keys.questions)
            who = (standing.owner, *parent)
            args = (self.given_now, id, cause, status, payload, *who, bound, token, queue_of(standing.queue))
            reply = await self._call("settle_run", keys, args)
            if reply[0] == Answer.OK:
                return True, text_of(reply[2])
            if reply[0] == Answer.DONE:
                return False, ""
            if reply[0] == Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")

    async def send_event(self, id: str, event_id: str, body: bytes, limit: int) -> Answer:
        """Puts an event into a run's inbox.

        Returns: OK, DONE if the run has ended, FULL if its inbox holds `limit` messages.

        Raises:
            RunNotFound: if there is no such run.
        Redis: send_event.lua after a read; again if the owner changed in between.
        """
        k = self.keys
        while True:
            standing = await self.standing(id)
            keys = (k.run(id), k.inbox(id), k.worker(standing.owner), k.queue(standing.queue))
            args = (self.given_now, id, event_id, body, standing.owner, limit)
            answer = Answer((await self._call("send_event", keys, args))[0])
            if answer is Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")
            if answer is not Answer.RETRY:
                return answer

    async def provide_input(
        self, id: str, name: str, head: str, expires_ms: int | None, token: str, body: bytes, limit: int
    ) -> Answer:
        """Answers the open question of this name and head.

        Returns: OK, DONE if the run has ended or the time is over, STALE if that question is not open, FULL if the
        inbox holds `limit` messages.

        Raises:
            RunNotFound: if there is no such run.
        Redis: provide_input.lua after a read; again if the owner changed in between.
        """
        k = self.keys
        due = "" if expires_ms is None else expires_ms
        while True:
            standing = await self.standing(id)
            keys = (k.run(id), k.inbox(id), k.worker(standing.owner), k.queue(standing.queue), k.inputs, k.questions)
            args = (self.given_now, id, name, head, due, token, body, standing.owner, limit)
            answer = Answer((await self._call("provide_input", keys, args))[0])
            if answer is Answer.GONE:
                raise RunNotFound(f"no run has the id {id!r}")
            if answer is not Answer.RETRY:
                return answer

    async def subscribe_client(self, id: str, client: str) -> list[Any]:
        """Registers a client for a run's end. Returns `[OK]`, `[ENDED, outcome line]` or `[GONE]`."""
        keys = (self.keys.run(id), self.keys.journal(id))
        reply: list[Any] = await self._call("subscribe_client", keys, (client,))
        return reply

    async def open_client(self, client: str, ttl_ms: int) -> None:
        """Makes a client's stream, or keeps it for another while."""
        await self._call("open_client", (self.keys.client(client),), (ttl_ms,))
