"""What a store holds, as values that can be compared. Times are ms; a `ttl_ms` of None is for ever.

What a record does not say has the value it stands for: no epoch is 0, no time None. So what is compared is what the
protocol means, and a field that is written or left out makes no difference as long as that stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ACTIVE = ("delayed", "ready", "running", "parked", "blocked")
TERMINAL = {"completed": "c", "failed": "f", "cancelled": "x", "compensated": "u", "compensation_failed": "v"}
"""The statuses that nothing changes any more but another life; the letters by which a parent is told."""
STATUSES = (*ACTIVE, *TERMINAL)


@dataclass
class Run:
    """The record of a run."""

    status: str = ""
    # What never changes.
    workflow: str = ""
    lane: str = ""
    """Its queue, with its priority."""
    digest: bytes = b""
    retention_ms: int | None = None
    version: str = ""
    key: str = ""
    created_ms: int = 0
    token: str = ""
    # A child's.
    parent: str = ""
    ref: str = ""
    parent_lane: str = ""
    depth: int = 0
    hint: str = ""
    """The worker on which its parent lives, as far as is known."""
    notify: bool = False
    leaves: bool = False
    parent_gen: int = 1
    # Whose it is.
    entry: str = ""
    epoch: int = 0
    nonce: str = ""
    owner: str = ""
    seq: int = 0
    answer: int = 0
    claims: int = 0
    # Its messages.
    mail: int = 0
    taken: int = 0
    nudged: bool = False
    seen: set[str] = field(default_factory=set)
    """`event:` and `answer:` tokens that have been accepted."""
    # Its life.
    gen: int = 1
    attempt: int = 1
    started_ms: int | None = None
    finished_ms: int | None = None
    timer_ms: int | None = None
    deadline_ms: int | None = None
    kids: int = 0
    asks: list[str] = field(default_factory=list)
    """The names of its open questions."""
    saga: str = ""
    # How it is ended or taken up from outside.
    cancel: str = ""
    cancel_token: str = ""
    cancel_at: int = 0
    cancel_kids: int = 0
    grace_ms: int | None = None
    ended_by: str = ""
    retried_by: str = ""
    unblocked: str = ""
    # What people see.
    clients: list[str] = field(default_factory=list)
    waiting: str = ""
    context: bytes = b""
    progress: bytes = b""
    ttl_ms: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing changes about it any more."""
        return self.status in TERMINAL

    @property
    def has_fenced(self) -> bool:
        """Whether it was ever owned."""
        return self.epoch > 0


@dataclass
class Lines:
    """A journal, or an inbox: what is not there has no lines."""

    lines: list[bytes] = field(default_factory=list)
    ttl_ms: int | None = None


@dataclass
class Family:
    """The children that a run lists, by number of creation."""

    numbers: dict[str, int] = field(default_factory=dict)
    ttl_ms: int | None = None


@dataclass
class Shared:
    """Inputs that several children of a run have, by fingerprint."""

    inputs: dict[bytes, bytes] = field(default_factory=dict)
    ttl_ms: int | None = None


@dataclass
class Stream:
    """A queue's, a worker's or a client's: entries in order, `r` a run's, `n` a nudge."""

    entries: dict[str, tuple[str, str]] = field(default_factory=dict)
    has_group: bool = False
    delivered: str = "0-0"
    """The last entry that the group was given."""
    pending: dict[str, str] = field(default_factory=dict)
    """Who has read an entry and not acked it."""
    ttl_ms: int | None = None


@dataclass
class Room:
    """A limited queue: who waits in it, who has a slot."""

    waiting: dict[tuple[str, str], int] = field(default_factory=dict)
    """(run, key) by order."""
    behind: set[tuple[str, int, str]] = field(default_factory=set)
    """(key, order, run) of those that wait until fewer of their key are in the room or have slots."""
    slots: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(entry, key) of whoever may run."""
    tally: dict[str, int] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    starts_ttl_ms: int | None = None


@dataclass
class Schedule:
    """A schedule's record; `fields` are those that its worker's code says."""

    expression: str = ""
    cursor: str = ""
    next: str = ""
    last_at: str = ""
    last_run: str = ""
    is_paused: bool = False
    error: str = ""
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass
class State:
    """Everything that one partition holds."""

    runs: dict[str, Run] = field(default_factory=dict)
    journals: dict[str, Lines] = field(default_factory=dict)
    inboxes: dict[str, Lines] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    shared: dict[str, Shared] = field(default_factory=dict)
    """Lives and goes with the list of children."""
    streams: dict[str, Stream] = field(default_factory=dict)
    """By `queue:<lane>`, `worker:<id>`, `client:<id>`."""
    timers: dict[str, int] = field(default_factory=dict)
    walks: dict[str, bytes] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    gates: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    questions: dict[str, bytes] = field(default_factory=dict)
    """`<run>\\n<name>`: what is asked, and since when."""
    looks: dict[str, int] = field(default_factory=dict)
    """When each schedule is to be looked at."""
    schedules: dict[str, Schedule] = field(default_factory=dict)
    workers: dict[str, bytes] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
