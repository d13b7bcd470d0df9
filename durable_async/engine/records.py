"""The vocabulary of the whole system: journal records, inbox messages, and what a commit carries.

A journal is a list of byte strings; the first byte says who wrote each:

* ``S`` start: the encoded input. Always the first; in its place ``@`` and where the input is, see `store.shared`.
* ``R`` record: a msgpack list `[kind, time_ms, identity, ...]`, written by the owner's commit.
* ``M`` message: what somebody else had to say (`M<number> <time_ms> <body>`), moved here from the inbox.
* ``Z`` outcome: `Z<time_ms> <status>\\n<payload>`. The last, unless
* ``V`` void: the failure before it is, the run was taken up again.

A message's body begins with its kind: ``C<letter><child id>\\n<payload>`` a child settled, ``E`` an event,
``I`` a question answered or its time over, ``X<reason>`` a cancel, ``O<child id>`` a child's id is still occupied by
what an earlier life of this run started.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

from durable_async.codec.lines import pack_line, unpack_line
from durable_async.errors import CorruptPayload

LETTERS: Final = {
    "c": "completed",
    "f": "failed",
    "x": "cancelled",
    "u": "compensated",
    "v": "compensation_failed",
}
"""The letters that scripts use for terminal statuses in messages."""


class Kind:
    """The kinds of ``R`` records."""

    STEP: Final = "step"  # [STEP, t, identity, attempt, duration_ms, ok, payload]
    ATTEMPT: Final = "attempt"  # [ATTEMPT, t, identity, attempt, duration_ms, due_ms, failure]
    CHILD: Final = "child"  # [CHILD, t, identity, child id, workflow, awaited]
    AWAIT: Final = "await"  # [AWAIT, t, identity, child id]
    CANCEL: Final = "cancel"  # [CANCEL, t, identity, child id, reason]
    CONTEXT: Final = "context"  # [CONTEXT, t, identity, key, payload]
    LAUNCH: Final = "launch"  # [LAUNCH, t, identity, step identity, attempt; 0: taken back]
    PROGRESS: Final = "progress"  # [PROGRESS, t, identity, payload]
    SPAWN: Final = "spawn"  # [SPAWN, t, identity, child id, ref, workflow, digest, awaited, on_close, attempt, by]
    JOIN: Final = "join"  # [JOIN, t, identity, child id]
    DROP: Final = "drop"  # [DROP, t, identity, child id, reason, spent; no reason: left to go on]
    CUT: Final = "cut"  # [CUT, t, '']
    SAGA: Final = "saga"  # [SAGA, t, identity, status, payload]
    UNDO_FAILED: Final = "undo_failed"  # [UNDO_FAILED, t, identity, failure]
    INPUT: Final = "input"  # [INPUT, t, identity, name, the question's kind]
    CLOSE: Final = "close"  # [CLOSE, t, identity, name, why]
    TICK: Final = "tick"  # [TICK, t, '']
    PATCH: Final = "patch"  # [PATCH, t, identity]
    REVIVE: Final = "revive"  # [REVIVE, t, '', which lines are void]: a failed run was taken up again
    PAST: Final = "past"  # [PAST, t, '', attempt, first_ms, failure]: an attempt of the run that failed
    CARRY: Final = "carry"  # [CARRY, t, '', what, name, payload]: an event or a context value of an earlier life


SHAPES: Final[dict[str, tuple[type, ...]]] = {
    Kind.STEP: (int, int, int, bytes),
    Kind.ATTEMPT: (int, int, int, bytes),
    Kind.CHILD: (str, str, bytes, int),
    Kind.AWAIT: (str,),
    Kind.CANCEL: (str, str),
    Kind.CONTEXT: (str, bytes),
    Kind.LAUNCH: (str, int),
    Kind.PROGRESS: (bytes,),
    Kind.SPAWN: (str, str, str, bytes, int, str, int, str),
    Kind.JOIN: (str,),
    Kind.DROP: (str, str, int),
    Kind.CUT: (),
    Kind.SAGA: (str, bytes),
    Kind.UNDO_FAILED: (bytes,),
    Kind.INPUT: (str, str),
    Kind.CLOSE: (str, str),
    Kind.TICK: (),
    Kind.PATCH: (),
    Kind.REVIVE: (str,),
    Kind.PAST: (int, int, bytes),
    Kind.CARRY: (str, str, bytes),
}
"""The types behind kind, time and identity."""

AS_RECORDED: Final = frozenset({Kind.SAGA, Kind.UNDO_FAILED})
"""Kinds that hold errors: a replay takes them as they are, since a traceback is never the same twice."""


@dataclass(slots=True)
class Message:
    """One inbox message: its number, when it was delivered, and its kind-specific parts."""

    number: int
    time_ms: int
    kind: str
    """`C` a child settled, `E` an event, `I` a question settled, `X` a cancel, `O` a child's id is occupied."""
    key: str
    """The child id, the event name, the question's mark, or the cancel's reason."""
    letter: str
    """Of a settled child: its terminal status, a key of `LETTERS`. Of a question: `a` answered, `t` time over."""
    payload: bytes
    head: bytes
    """What names this very message to a script: number and time."""


MAX_TIME_MS: Final = 253_402_300_799_000
"""The end of the year 9999: nothing that the store tells is later."""


UNKNOWN: Final = object()
"""Stands for a value of which only the stored form is at hand."""


def parse_message(raw: bytes) -> Message:
    """Reads an inbox message.

    Raises:
        CorruptPayload: if it is none.
    """
    try:
        numbered, at, body = raw[1:].split(b" ", 2)
        head = raw[: len(raw) - len(body)]
        kind = chr(body[0])
        number, time_ms = int(numbered), int(at)
        if raw[0] != 0x4D or not (0 < number < 2**53 and 0 <= time_ms <= MAX_TIME_MS):
            raise ValueError
        if kind == "C":
            id, _, payload = body[2:].partition(b"\n")
            letter = chr(body[1])
            if letter not in LETTERS:
                raise ValueError
            return Message(number, time_ms, kind, id.decode(), letter, payload, head)
        if kind == "X" or kind == "O":
            return Message(number, time_ms, kind, body[1:].decode(), "", b"", head)
        if kind == "E":
            name, payload = unpack_line(body[1:])
            if not isinstance(name, str) or not isinstance(payload, bytes):
                raise ValueError
            return Message(number, time_ms, kind, name, "", payload, head)
        if kind == "I":
            mark, letter, payload = unpack_line(body[1:])
            if not isinstance(mark, str) or letter not in ("a", "t") or not isinstance(payload, bytes):
                raise ValueError
            return Message(number, time_ms, kind, mark, letter, payload, head)
    except (ValueError, IndexError, UnicodeDecodeError):
        raise CorruptPayload("an inbox message cannot be read") from None
    raise CorruptPayload("an inbox message is of an unknown kind")


def event_body(name: str, payload: bytes) -> bytes:
    """The body of an event message, without its leading ``E``."""
    return pack_line([name, payload])


def input_body(mark: str, letter: str, payload: bytes) -> bytes:
    """The body of a message about a question, without its leading ``I``; `mark` is its head and its name."""
    return pack_line([mark, letter, payload])


def start_record(payload: bytes) -> bytes:
    """The first line of a journal."""
    return b"S" + payload


def record(kind: str, time_ms: int, identity: str, *rest: Any) -> bytes:
    """One ``R`` line of a journal."""
    return b"R" + pack_line([kind, time_ms, identity, *rest])


def parse_record(raw: bytes) -> list[Any]:
    """The list in an ``R`` line.

    Raises:
        CorruptPayload: if it is none.
    """
    values = unpack_line(raw[1:])
    kinds = tuple(map(type, values))
    if kinds[:3] != (str, int, str) or not 0 <= values[1] <= MAX_TIME_MS:
        raise CorruptPayload("a journal record cannot be read")
    # A record of an unknown kind is one of newer code: whoever asks for it says so.
    if kinds[3:] != SHAPES.get(values[0], kinds[3:]) or any(type(v) is int and not 0 <= v < 2**53 for v in values):
        raise CorruptPayload(f"a journal record of kind {values[0]!r} cannot be read")
    if values[0] == Kind.ATTEMPT and values[5] > MAX_TIME_MS:
        raise CorruptPayload("a journal record of kind 'attempt' cannot be read")
    return values


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    status: str
    payload: bytes
    """The encoded output of a completed run, the packed error of a failed one, the reason's text of a cancelled one."""
    time_ms: int = 0


def parse_outcome(raw: bytes) -> Outcome:
    """Reads the last line of an ended run's journal.

    Raises:
        CorruptPayload: if it is none.
    """
    head, newline, payload = raw.partition(b"\n")
    try:
        time_ms, status = head[1:].decode().split(" ")
        at = int(time_ms)
        if raw[:1] != b"Z" or not newline or status not in LETTERS.values() or not 0 <= at <= MAX_TIME_MS:
            raise ValueError
        return Outcome(status, payload, at)
    except (ValueError, UnicodeDecodeError):
        raise CorruptPayload("a run's outcome cannot be read") from None


def parse_retried(raw: bytes) -> int:
    """Reads the line behind a failure that is void: when the run was taken up again.

    Raises:
        CorruptPayload: if it is none.
    """
    try:
        at = int(raw[1:])
        if raw[:1] != b"V" or not 0 <= at <= MAX_TIME_MS:
            raise ValueError
        return at
    except ValueError:
        raise CorruptPayload("the line of a retry cannot be read") from None


@dataclass(slots=True)
class NewChild:
    """A child that a commit creates."""

    id: str
    workflow: str
    queue: str
    ref: str
    start: bytes
    """The first line of its journal."""
    digest: bytes
    depth: int
    notify: bool
    """Whether its end is told to the parent: it is awaited."""
    delay_ms: int = 0
    mode: str = ""
    """Letters: `c` asked for by code that had seen its run's cancel, so not born cancelled; `k` the parent is a further
    attempt and keeps what has completed."""
    attempt: int = 1
    timeout_ms: int = 0
    leaves: bool = False
    """Whether it goes on when its parent fails."""
    key: str = ""
    """Whose it is, in a queue that is limited per key."""


@dataclass(slots=True)
class Entry:
    """One element of a commit's list, with the effect that belongs to it."""

    letter: str
    """`R` a record to append, `T` a message to take, `D` a message to drop, `N` a line of a renewed run's journal."""
    value: bytes
    """The line, or the message's head."""
    create: NewChild | None = None
    await_child: str = ""
    cancel_child: tuple[str, str] | None = None
    """Child id and reason."""
    question: tuple[str, str, str, bytes] | None = None
    """What is asked or closed: letter, name, head and rest; see `asking`."""

    @property
    def has_effect(self) -> bool:
        """Whether a commit with it does anything but append, take or drop."""
        return bool(self.create is not None or self.await_child or self.cancel_child or self.question)


class Want(enum.StrEnum):
    """What an owner asks of its commit beside the list; a terminal status asks for the end."""

    GO = "go"
    PARK = "park"
    BLOCK = "block"
    RENEW = "renew"


@dataclass(slots=True)
class Turn:
    """What a run wants done now: one commit, and the steps to launch once it is acknowledged."""

    entries: list[Entry]
    want: str
    payload: bytes = b""
    due_ms: int | str | None = None
    """When a parked run wants to be woken, by the server's clock; of a renewed one, its delay and longest time."""
    sets: list[Any] = field(default_factory=list)
    """Fields of the record to overwrite: name and value in turn."""
