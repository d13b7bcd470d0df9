"""Questions to people, as those who answer see them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from durable_async.checking import brief, check_label, check_run_id
from durable_async.client.base import Base
from durable_async.codec import Opaque, Unreadable
from durable_async.codec.lines import unpack_line
from durable_async.engine.answers import check_answer, read_question
from durable_async.engine.records import LETTERS, MAX_TIME_MS, input_body
from durable_async.errors import CorruptPayload, RunNotWaiting
from durable_async.shapes import InputField, PendingInput
from durable_async.store.base import number_of
from durable_async.store.status import Answer
from durable_async.store.store import Store

log = logging.getLogger("durable_async.client")

CHUNK: Final = 200
MAX_LIMIT: Final = 1_000
TERMINAL: Final = frozenset(letter.encode() for letter in LETTERS.values())


class Inputs(Base):
    """The part of `Durable` that lists and answers questions."""

    async def pending_inputs(
        self, run: str | None = None, name: str | None = None, limit: int = 50
    ) -> list[PendingInput]:
        """The questions that are open, and can be answered now: those that have been open longest come first.

        Args:
            run: those of the run with this id only (its children's are not among them).
            name: those of this name only.
            limit: how many at most, from 1 to 1,000.

        Not guaranteed: that a question asked or answered while the list is read is on it. The list is read in pages of
        200; with `name` all that are open are looked at, if need be.

        Raises:
            ValueError: if the id or name is none, or the limit is out of its range.
            CorruptPayload: if the record of `run` is damaged. A question that is damaged itself is left out.
        """
        if run is not None:
            check_run_id(run, "run")
        if name is not None:
            check_label(name, "input name")
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"limit must be a number from 1 to {MAX_LIMIT}, got {brief(limit)}")
        store = self._session.store
        found: list[PendingInput] = []
        at = 0
        while len(found) < limit:
            members = await _members(store, run, at)
            at += len(members)
            chosen = [m for m in members if name is None or m[1] == name]
            found += await self._open(store, chosen)
            if run is not None or len(members) < CHUNK:
                break
        return found[:limit]

    async def _open(self, store: Store, members: Sequence[tuple[str, str]]) -> list[PendingInput]:
        """Those of these questions that can be answered."""
        if not members:
            return []
        keys = [f"{id}\n{name}" for id, name in members]
        call, deadline_s = store.caller.call, store.deadline_s
        seconds, micros = await call(("TIME",), deadline_s=deadline_s)
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        raws = await call(("HMGET", store.keys.questions, *keys), deadline_s=deadline_s)
        rows = await store.fields([id for id, _ in members], ("status", "workflow", "cancel_at", "taken"))
        found = []
        for (id, name), raw, row in zip(members, raws, rows, strict=True):
            if raw is None or not _takes_answers(row):
                continue
            try:
                pending = self._pending(id, name, raw, row[1] or b"")
            except CorruptPayload as error:
                log.warning("input %r of run %s: %s; it is left out of the list", name, id, error)
                continue
            if pending.expires_at is None or pending.expires_at.timestamp() * 1000 > now_ms:
                found.append(pending)
        return found

    def _pending(self, id: str, name: str, raw: bytes, workflow: bytes) -> PendingInput:
        _, since_ms, expires_ms, payload = _parse(raw)
        question = self.codec.decode(payload, limit=2 * self.limits.payload)
        asked: dict[str, Any] = {"kind": str(question), "prompt": "", "choices": (), "fields": (), "metadata": {}}
        if not isinstance(question, Opaque):
            asked = read_question(question)
        return PendingInput(
            run_id=id,
            workflow=workflow.decode(errors="replace"),
            name=name,
            kind=asked["kind"],
            prompt=asked["prompt"],
            choices=tuple(asked["choices"]),
            fields=tuple(map(_field, asked["fields"])),
            metadata=asked["metadata"],
            since=_time(since_ms),
            expires_at=None if expires_ms is None else _time(expires_ms),
        )

    async def provide_input(self, id: str, name: str, value: Any) -> None:
        """Answers a question; once this returns the answer is the run's.

        Args:
            id: the run that asks.
            name: the question's name.
            value: the answer; its plain data must fit the question's kind, choices and fields.

        Raises:
            RunNotFound: if there is no such run.
            RunNotWaiting: if it does not ask this question now: it has been answered, its time is over, the wait was
                given up, or the run has ended or been cancelled.
            InvalidInput: if the answer does not fit; the question stays open.
            NotSerializable, PayloadTooLarge: if it cannot be stored; the question stays open.
            StoreUnavailable: if the store cannot be reached; the answer may have been accepted.
        """
        check_run_id(id)
        check_label(name, "input name")
        data = self.codec.encode(value, limit=self.limits.payload, what="value")
        plain = self.codec.decode(data, limit=2 * self.limits.payload)
        store = self._session.store
        token = secrets.token_hex(8)
        while True:
            raw = await store.caller.call(("HGET", store.keys.questions, f"{id}\n{name}"), deadline_s=store.deadline_s)
            if raw is None:
                await store.standing(id)
                raise RunNotWaiting(f"run {id} does not ask for the input {name!r}, or it has been answered")
            head, _, expires_ms, payload = _parse(raw)
            question = self.codec.decode(payload, limit=2 * self.limits.payload)
            if isinstance(question, Opaque):
                raise Unreadable(f"the question {name!r} of run {id} is {question}: answer it where its codec is")
            asked = read_question(question)
            answer = check_answer(asked, plain, f"input {name!r} of run {id}")
            body = input_body(head + name, "a", self.codec.encode(answer, limit=self.limits.payload, what="value"))
            reply = await store.provide_input(id, name, head, expires_ms, token, body, self.limits.inbox)
            if reply is Answer.OK:
                return
            if reply is Answer.DONE:
                raise RunNotWaiting(f"the input {name!r} of run {id} is closed: its time, or the run, is over")
            if reply is Answer.FULL:
                raise RunNotWaiting(f"{self.limits.inbox} messages already wait for run {id}; it takes no more for now")


async def _members(store: Store, run: str | None, at: int) -> list[tuple[str, str]]:
    """Run ids and names: a page of all, oldest first, or those that a run's record lists."""
    if run is not None:
        row = (await store.fields([run], ("inputs",)))[0]
        try:
            names = unpack_line(row[0]) if row[0] else []
        except CorruptPayload:
            raise CorruptPayload(f"run {run} is damaged: its questions cannot be read; mend or delete it") from None
        return [(run, name) for name in names if isinstance(name, str)]
    command = ("ZRANGE", store.keys.inputs, at, at + CHUNK - 1)
    raws = await store.caller.call(command, deadline_s=store.deadline_s)
    pairs = [raw.decode(errors="replace").partition("\n") for raw in raws]
    return [(id, name) for id, _, name in pairs]


def _field(asked: Mapping[str, Any]) -> InputField:
    name, kind, prompt, required = asked["name"], asked["kind"], asked["prompt"], asked["required"]
    return InputField(name, kind, prompt, tuple(asked["choices"]), required)


def _takes_answers(row: Sequence[bytes | None]) -> bool:
    status, _, cancel_at, taken = row
    return status is not None and status not in TERMINAL and number_of(cancel_at) <= number_of(taken)


def _parse(raw: bytes) -> tuple[str, int, int | None, bytes]:
    """Of a stored question: its head, when it was asked, when its time is over, and what is asked.

    Raises:
        CorruptPayload: if it is none.
    """
    head, newline, payload = raw.partition(b"\n")
    try:
        _, since, expires = head.decode().split(" ")
        since_ms, expires_ms = int(since), None if expires == "-" else int(expires)
        if not newline or not 0 <= since_ms <= MAX_TIME_MS or not 0 <= (expires_ms or 0) <= MAX_TIME_MS:
            raise ValueError
    except ValueError:
        raise CorruptPayload("a question cannot be read") from None
    return head.decode() + "\n", since_ms, expires_ms, payload


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
