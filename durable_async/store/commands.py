"""What the store's callers hand over and get back: plain values, no Redis in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from durable_async.codec.flat import pack_flat, unpack_flat
from durable_async.errors import CorruptPayload

LAST_MS: Final = 253_402_300_799_000
"""The end of the year 9999."""

NO_PARENT = ("", "", "")
NOBODYS: Final = (None,) * 5
"""What a root's record says of its parent."""


@dataclass(slots=True, eq=False)
class NewRun:
    """A run to be created; what never changes about it. (Frozen it would cost a call per field.)"""

    id: str
    workflow: str
    queue: str
    """Its lane: with a colon and a priority, unless that is 0."""
    digest: bytes
    start: bytes
    """The first line of its journal."""
    retention_ms: int
    delay_ms: int = 0
    client: str = ""
    """The client that is told of its end."""
    version: str | None = None
    parent: str = ""
    ref: str = ""
    hint: str = ""
    """The parent's worker: a child's end wakes it there."""
    parent_queue: str = ""
    depth: int = 0
    notify: bool = False
    leaves: bool = False
    """Whether it goes on when its parent fails."""
    mode: str = ""
    """Of a child: letters; `c` asked for by cleanup, `k` keeps what has completed, `v` has a priority."""
    attempt: int = 1
    timeout_ms: int = 0
    """How long it may take from when it may start to its end; 0 for as long as it likes."""
    parent_gen: int = 1
    """Which life of the parent makes it."""
    key: str = ""
    """With which it is counted in a queue that is limited per key."""
    token: str = ""
    """Whose start it is, if the caller must know: a repeat after a lost reply gets the first answer."""

    def times(self) -> str:
        """The delay and the longest time of a run that has one of them."""
        return f"{self.delay_ms} {self.timeout_ms}" if self.delay_ms or self.timeout_ms else ""

    def fields(self, more: Sequence[str | bytes | int] = ()) -> bytes:
        """The record's unchanging fields, and more of them, packed for the script."""
        values: list[Any] = [
            "workflow", self.workflow, "queue", self.queue, "digest", self.digest, "retention", self.retention_ms
        ]  # fmt: skip
        if self.parent:
            values += ["parent", self.parent, "ref", self.ref, "hint", self.hint, "pqueue", self.parent_queue]
            values += ["depth", self.depth]
            if self.notify:
                values += ["notify", "1"]
            if self.leaves:
                values += ["leave", "1"]
            if self.attempt > 1:
                values += ["attempt", self.attempt]
            if self.parent_gen > 1:
                values += ["pgen", self.parent_gen]
        if self.client:
            values += ["client", self.client]
        if self.version is not None:
            values += ["version", self.version]
        if self.key:
            values += ["key", self.key]
        if self.token:
            values += ["token", self.token]
        return pack_flat([*values, *more] if more else values)


@dataclass(slots=True)
class Claimed:
    """A run taken over: its record, the first page of its journal, and its inbox."""

    epoch: int
    started_ms: int
    workflow: str
    queue: str
    parent: str
    ref: str
    hint: str
    parent_queue: str
    attempt: int
    depth: int
    created_ms: int
    version: str | None
    retention_ms: int
    """Of the root, and so of the whole tree; -1 if it is kept for ever."""
    gen: int
    """Which life of its id."""
    deadline_ms: int | None
    """When it is to have ended, by the server's clock."""
    journal: list[bytes]
    journal_length: int
    inbox: list[bytes]

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> Claimed:
        """Reads a claim's OK or POISON answer.

        Raises:
            CorruptPayload: if a field of the record cannot be read.
        """
        try:
            return cls._from_reply(reply)
        except (ValueError, OverflowError):
            raise CorruptPayload("a field of its record cannot be read") from None

    @classmethod
    def _from_reply(cls, reply: Sequence[Any]) -> Claimed:
        _, epoch, packed, journal, length, inbox = reply
        f = unpack_flat(packed)
        started, workflow, queue, attempt, created, version, kept, gen, late = f[:9]
        parent, ref, hint, parent_queue, depth = f[9:] or NOBODYS
        # In the order of the fields, not by name: this is read for every run, and names cost a microsecond.
        return cls(
            epoch,
            _time_ms(started),
            workflow.decode() if workflow else "",
            queue.decode() if queue else "",
            parent.decode() if parent else "",
            ref.decode() if ref else "",
            hint.decode() if hint else "",
            parent_queue.decode() if parent_queue else "",
            int(attempt) if attempt else 1,
            int(depth) if depth else 0,
            _time_ms(created),
            None if version is False else version.decode(),
            int(kept) if kept else -1,
            int(gen) if gen else 1,
            _time_ms(late) if late else None,
            journal,
            length,
            inbox,
        )


@dataclass(slots=True)
class Commit:
    """One commit of a run's owner."""

    id: str
    epoch: int
    nonce: str
    seq: int
    entry: str
    want: str
    lines: list[tuple[str, bytes]] = field(default_factory=list)
    payload: bytes = b""
    due_ms: int | str | None = None
    """When a parked run is to be woken; of a renewed one, the delay and the longest time of its new life."""
    sets: list[Any] = field(default_factory=list)
    children: list[NewRun] = field(default_factory=list)
    shared: dict[bytes, bytes] = field(default_factory=dict)
    """Inputs that several of the children have, by their fingerprints: stored once."""
    stored: frozenset[bytes] = frozenset()
    """Of them, those that need not be sent: they are stored, as far as the caller knows."""
    awaits: list[str] = field(default_factory=list)
    walks: list[tuple[str, bytes]] = field(default_factory=list)
    questions: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    """What is asked or closed: letter, name, head and rest; see lib/questions.lua."""
    parent: tuple[str, str, str] = NO_PARENT
    """The parent's id, the worker hinted at, and its queue."""
    slot_of: str = ""
    """The limited queue that the run has a slot of."""
    seen: int = 0
    """Number of the last message that the owner has been told: what it has is not answered again."""
    queue: str = ""
    """Of a renewed run: its own."""


@dataclass(slots=True, frozen=True)
class Standing:
    """What a caller must have read of a run before it may speak to it: whose streams to declare."""

    status: str
    owner: str
    queue: str
    parent: str = ""
    parent_owner: str = ""
    parent_queue: str = ""
    reason: str = ""
    cancel_kids: int = 0
    retention_ms: int = 0


def _time_ms(value: bytes | Literal[False]) -> int:
    time_ms = int(value or 0)
    if not 0 <= time_ms <= LAST_MS:
        raise ValueError
    return time_ms
