"""Watching a run: its journal, line by line, and what it is doing now.

The journal is the order of events, and a place in it their id: so whoever comes back with an id, to another process or
after a restart, goes on exactly there. That something has happened is hinted by whoever commits, to those whom the
record lists; nobody else pays for it. A hint that is missed, and what no commit tells (a run is taken up, or is told of
a cancel), is found by a look every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from durable_async.checking import brief
from durable_async.client.reading import history_events, public_status, read_progress
from durable_async.client.session import Session
from durable_async.codec import Codec
from durable_async.engine.records import Kind, parse_record
from durable_async.errors import CorruptPayload, RunNotFound, StoreUnavailable
from durable_async.shapes import Event, HistoryEvent
from durable_async.store.errors import ServerError
from durable_async.store.status import Answer
from durable_async.types import Status

log = logging.getLogger("durable_async.client")

LOOK_S: Final = 2.0
"""How often a watcher looks by itself."""
PAUSE_S: Final = 1.0
"""After the store could not be reached."""
KINDS: Final = {
    **dict.fromkeys(("step", "step_failed", "attempt_failed", "undo_failed"), "step"),
    **dict.fromkeys(("timer", "progress", "context"), ""),
}
"""What the kinds of a history are to a watcher: empty for the same; `child…` are child, all others `event`."""
_ID = re.compile(r"([1-9]\d{0,14})-(\d{1,15})-([a-z_]{1,20})\Z")


class Place:
    """How far somebody has watched a run: the generation, the journal's line, and the status that was told last."""

    def __init__(self, gen: str = "1", position: int = 0, status: str = "") -> None:
        self.gen = gen
        self.position = position
        self.status = status

    @classmethod
    def read(cls, after: object) -> Place:
        """From the id of the last event that was seen; None is the beginning.

        Raises:
            ValueError: if it is no id of an event.
        """
        if after is None:
            return cls()
        found = _ID.match(after) if isinstance(after, str) else None
        if found is None or found[3] not in set(Status):
            raise ValueError(f"after must be the id of an event, unchanged; got {brief(after)}")
        return cls(found[1], int(found[2]), found[3])

    @property
    def id(self) -> str:
        """The id of the event that was told last."""
        return f"{self.gen}-{self.position}-{self.status or Status.PENDING}"


class Teller:
    """Turns what the store answers into events."""

    def __init__(self, id: str, place: Place, codec: Codec, limit: int) -> None:
        self.id = id
        self.place = place
        self._codec = codec
        self._limit = limit
        self.is_over = False
        """Whether the run's end has been told."""

    def tell(self, reply: list[Any]) -> list[Event]:
        """The events of one look.

        Raises:
            CorruptPayload: if the run is damaged.
        """
        try:
            return self._tell(*reply[1:])
        except (CorruptPayload, ValueError, OverflowError, OSError) as error:
            why = str(error) if isinstance(error, CorruptPayload) else "a field of its record cannot be read"
            raise CorruptPayload(f"run {self.id} is damaged: {why}; mend or delete it by hand") from None

    def _tell(self, now_ms: int, f: list[bytes | None], lines: list[bytes], has_more: int, first: int) -> list[Event]:
        place, events = self.place, list[Event]()
        gen = (f[2] or b"1").decode()
        place.gen, place.position = gen, first
        created_ms, started = int(f[3] or 0), f[4]
        internal = (f[0] or b"").decode()
        for raw in lines:
            events += self._begun(started)
            told = history_events([raw], created_ms, self._codec, place.position)[0]
            place.position += 1
            if raw[:1] in (b"S", b"@"):
                begun = told.at if gen == "1" else _at(int(started or now_ms))
                events.append(self._status(Status.PENDING, begun, attempt=int(f[6] or 1)))
            elif raw[:1] == b"Z":
                events.append(self._end(Status(told.kind), told))
            else:
                events.append(self._line(told, raw))
        if has_more or self.is_over:
            return events
        events += self._begun(started)
        status = public_status(internal, int(f[1] or 0), is_compensating=f[7] == b"undoing")
        # Told before, or its outcome was deleted by hand.
        self.is_over = status.is_terminal
        if status != place.status:
            waiting = (f[5] or b"").decode(errors="replace") or None
            more = {"waiting_for": waiting} if status in (Status.WAITING, Status.COMPENSATING) else {}
            events.append(self._status(status, _at(now_ms), **more))
        return events

    def _begun(self, started: bytes | None) -> list[Event]:
        # However late somebody looks: what has been claimed was running once.
        if self.place.status != Status.PENDING or started is None:
            return []
        return [self._status(Status.RUNNING, _at(int(started)))]

    def _status(self, status: Status, at: datetime, **more: Any) -> Event:
        self.place.status = status
        return Event(self.place.id, "status", self.id, at, {"status": status, **more})

    def _end(self, status: Status, told: HistoryEvent) -> Event:
        self.is_over = True
        more = {} if told.error is None else {"error": told.error}
        return self._status(status, told.at, **more, **told.detail)

    def _line(self, told: HistoryEvent, raw: bytes) -> Event:
        kind = KINDS.get(told.kind, "child" if told.kind.startswith("child") else "event") or told.kind
        data: dict[str, Any] = {"what": told.kind}
        if told.name:
            data["name"] = told.name
        for name in ("attempt", "duration", "error"):
            if getattr(told, name) is not None:
                data[name] = getattr(told, name)
        data.update(told.detail)
        if kind in ("progress", "context"):
            data = self._published(parse_record(raw))
        return Event(self.place.id, kind, self.id, told.at, data)

    def _published(self, values: list[Any]) -> dict[str, Any]:
        if values[0] == Kind.CONTEXT:
            return {"key": values[3], "value": self._codec.decode(values[4], limit=self._limit)}
        said = read_progress(self._codec, values[3], self._limit)
        return {} if said is None else {"done": said.done, "total": said.total, "message": said.message}


async def watch(session: Session, teller: Teller) -> AsyncGenerator[Event, None]:
    """The events of a run from a place on, until its end has been told."""
    id, place = teller.id, teller.place
    listener = session.listener
    await listener.ensure()
    hint = listener.watch(id)
    try:
        while True:
            hint.clear()
            reply = await _look(session, id, listener.client_id, place)
            if reply is not None:
                if reply[0] == Answer.GONE:
                    raise RunNotFound(f"no run has the id {id!r}; its retention may be over")
                for event in teller.tell(reply):
                    yield event
                if teller.is_over:
                    return
                if reply[4]:
                    continue
            await _wait(hint, PAUSE_S if reply is None else LOOK_S)
    finally:
        if listener.unwatch(id, hint):
            with suppress(StoreUnavailable):
                session.store.unwatch_run(id, listener.client_id)


async def _look(session: Session, id: str, client: str, place: Place) -> list[Any] | None:
    # Outside of what is tried again: a `Durable` that was closed does not come back.
    store = session.store
    try:
        return await store.watch_run(id, client, place.gen, place.position)
    except StoreUnavailable as error:
        log.warning("watching run %s was interrupted: %s", id, error)
        return None
    except ServerError as error:
        raise CorruptPayload(f"run {id} is damaged: {error}; mend or delete it by hand") from None


async def _wait(hint: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await hint.wait()
    except TimeoutError:
        return


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
