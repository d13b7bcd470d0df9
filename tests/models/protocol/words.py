"""The values of a state. A state is a dict whose names are those of the store's keys, and of the actors.

`run:P` record or None, `journal:P`, `inbox:P` and `kids:P` tuples, `queue:q` and `worker:A` streams, `timers` and
`walks` pairs of member and value, `gates`, `room:m`, `slots:m`; `made:P` counts entries, so that each has a name of
its own; `passed` the times that are over; `promised` the runs of which somebody was told that they are cancelled. That
was the server. `up:A` is a worker, `mem:A:P` a run in its memory, `calls:A` its claims under way; `op:0` a caller from
outside, `runner` who fires a timer, `walker` who walks; `late` requests that arrive after their own retry; `budget` the
accidents that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

State = dict[str, Any]
TERMINAL = ("completed", "failed", "cancelled")
SERVER = ("run", "journal", "inbox", "kids", "queue", "worker", "timers", "walks", "gates", "room", "slots", "promised")
"""The parts of a state that a server keeps, and loses."""


class Broken(Exception):
    """A law does not hold."""


class Run(NamedTuple):
    """A record. `owner_no` and `asker` are not stored: they let the laws see who is who."""

    status: str
    entry: str = ""
    epoch: int = 0
    nonce: str = ""
    owner: str = ""
    seq: int = 0
    answer: str = ""
    mail: int = 0
    taken: int = 0
    nudged: bool = False
    timer: str = ""
    gen: int = 1
    pgen: int = 1
    notify: bool = False
    hint: str = ""
    kids: int = 0
    cancel_at: int = 0
    cancel_kids: int = 0
    cancel_token: str = ""
    grace: str = ""
    started: bool = False
    ended_by: str = ""
    retried_by: str = ""
    has_ttl: bool = False
    owner_no: int = 0
    asker: tuple[int, int] = (1, 1)
    """Which life of the parent, and which of its creations, this life is the answer to."""


class Item(NamedTuple):
    """An entry of a stream: kind `r` an entry of a run, `n` a nudge; `by` whom it was delivered to."""

    id: str
    kind: str
    run: str
    by: str = ""


class Held(NamedTuple):
    """An entry as a worker knows it."""

    stream: str
    name: str
    """As a record names it."""
    run: str
    entered: bool = False


class Message(NamedTuple):
    """A message in an inbox: what was over when it came decides whether a timer fires before it is fed."""

    number: int
    passed: frozenset[str]
    item: tuple[Any, ...]
    asker: tuple[int, int] = (0, 0)


class Call(NamedTuple):
    """A call of a worker: sent, then (with a reply) executed, then received."""

    script: str
    run: str
    args: Any
    reply: Any = None


class Commit(NamedTuple):
    """What an owner commits."""

    epoch: int
    nonce: str
    seq: int
    entry: str
    want: str
    lines: tuple[Any, ...]
    due: str
    told: int
    children: tuple[Any, ...]
    awaits: tuple[str, ...]
    gives: tuple[str, ...]
    life: int
    carried: tuple[str, ...]
    hint: str
    entered: bool
    worker: str
    seen: tuple[Any, ...]
    owner_no: int


class Resident(NamedTuple):
    """A run in a worker's memory."""

    epoch: int
    nonce: str
    gen: int
    life: int
    hint: str
    owner_no: int
    held: Held | None
    seq: int = 0
    seen: tuple[Any, ...] = ()
    lines: tuple[Any, ...] = ()
    asked: frozenset[Any] = frozenset()
    busy: frozenset[str] = frozenset()
    """Steps in flight."""
    out: Call | None = None
    parked: bool = False
    has_mail: bool = False
    deferred: tuple[Held, ...] = ()
    fed: int = 0


@dataclass(frozen=True)
class Life:
    """One life of a workflow: statements, and how it ends (`completed`, `failed`, `renew`, `retry`)."""

    statements: tuple[tuple[str, tuple[str, ...]], ...] = ()
    end: str = "completed"


@dataclass(frozen=True)
class Program:
    """A workflow: its lives, its queue, whether a cancel makes it clean up, how often a call of it is tried."""

    lives: tuple[Life, ...]
    queue: str = "q"
    cleans_up: bool = False
    attempts: int = 1


@dataclass
class Scene:
    """A small world: programs, who calls from outside, what may go wrong and how often, which rules are off."""

    programs: dict[str, Program]
    faults: dict[str, int] = field(default_factory=dict)
    calls: tuple[tuple[tuple[Any, ...], ...], ...] = ()
    off: frozenset[str] = frozenset()
    hung: frozenset[str] = frozenset()
    """Steps that do not end by themselves."""
    limits: dict[str, int] = field(default_factory=dict)
    expires: bool = False
    """Whether what has a time to live goes away."""
    grace: bool = False
    """Whether the grace of a cancel is over before the cleanup is."""
    workers: tuple[str, ...] = ("A", "B")
    serves: dict[str, list[str]] = field(default_factory=dict)
    """The queues of a worker, if not all."""
    chunk: int = 2

    def __post_init__(self) -> None:
        self.parent = {
            id[1:]: run
            for run, program in self.programs.items()
            for life in program.lives
            for _, ids in life.statements
            for id in ids
            if id[0] in "cf"
        }
        self.queues = sorted({program.queue for program in self.programs.values()})

    def has(self, rule: str) -> bool:
        """Whether a rule is kept."""
        return rule not in self.off


def once(*ids: str, kind: str = "all") -> tuple[str, tuple[str, ...]]:
    """A statement."""
    return kind, ids
