"""Every key name, built here and nowhere else.

All keys of one run tree carry one hash tag, `{namespace.partition}`, so that every transition is one script on one
shard. The type of a key follows from its prefix: see `lua/README.md`.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

SLOTS: Final = 4
"""Which of the keys of a room are its slots."""


class Keys:
    """Key names of one partition of one namespace."""

    __slots__ = (
        "base",
        "beats",
        "blocked",
        "children_prefix",
        "client_prefix",
        "gates",
        "inbox_prefix",
        "index",
        "inputs",
        "journal_prefix",
        "meta",
        "questions",
        "queue_prefix",
        "run_prefix",
        "schedule_prefix",
        "schedules",
        "shared_prefix",
        "timers",
        "walks",
        "worker_prefix",
        "workers",
    )

    def __init__(self, namespace: str, partition: int = 0) -> None:
        base = self.base = f"durable:{{{namespace}.{partition}}}:"
        self.run_prefix = base + "run:"
        self.journal_prefix = base + "journal:"
        self.inbox_prefix = base + "inbox:"
        self.children_prefix = base + "children:"
        self.shared_prefix = base + "shared:"
        self.queue_prefix = base + "queue:"
        self.worker_prefix = base + "worker:"
        self.client_prefix = base + "client:"
        self.schedule_prefix = base + "schedule:"
        self.schedules = base + "schedules"
        self.timers = base + "timers"
        self.walks = base + "walks"
        self.index = base + "index"
        self.blocked = base + "blocked"
        self.gates = base + "gates"
        self.inputs = base + "inputs"
        self.questions = base + "questions"
        self.workers = base + "workers"
        self.beats = base + "beats"
        self.meta = base + "meta"

    def run(self, id: str) -> str:
        """hash: the record."""
        return self.run_prefix + id

    def journal(self, id: str) -> str:
        """list: the history, in order."""
        return self.journal_prefix + id

    def inbox(self, id: str) -> str:
        """list: messages not yet taken; absent while there are none."""
        return self.inbox_prefix + id

    def children(self, id: str) -> str:
        """sorted set: child ids by number of creation."""
        return self.children_prefix + id

    def shared(self, id: str) -> str:
        """hash: inputs that several children of a run have, by their fingerprints; absent if there are none."""
        return self.shared_prefix + id

    def queue(self, name: str) -> str:
        """stream, group `workers`: runs that are ready."""
        return self.queue_prefix + name

    def worker(self, id: str) -> str:
        """stream, group `workers`: wake-ups and nudges for the runs resident on one worker."""
        return self.worker_prefix + id

    def client(self, id: str) -> str:
        """stream with a short time to live: results for a waiting client."""
        return self.client_prefix + id

    def schedule(self, name: str) -> str:
        """hash: a schedule, what it was last and when it is next."""
        return self.schedule_prefix + name

    def room(self, queue: str) -> list[str]:
        """The eight keys of a limited queue's room, in the order of `lib/room.lua`."""
        base = self.base
        own = [f"{base}{kind}:{queue}" for kind in ("room", "behind", "slots", "tally", "starts")]
        return [self.gates, self.timers, *own, self.queue_prefix + queue]

    def permanent(self) -> tuple[str, ...]:
        """The keys that stay when every run is over; queue streams and schedules stay too."""
        lists = (self.timers, self.schedules, self.walks, self.index, self.blocked, self.gates)
        return (*lists, self.inputs, self.questions, self.workers, self.beats, self.meta)


def lane_of(queue: str, priority: int) -> str:
    """A queue's runs of one priority, which have a stream of their own: the queue itself for 0."""
    return f"{queue}:{priority}" if priority else queue


def queue_of(lane: str) -> str:
    """The queue of a lane, as users know it: the name of a queue holds no colon."""
    return lane.partition(":")[0]


def priority_of(lane: str) -> int:
    """The priority of a lane; 0 if it says none of ours."""
    text = lane.partition(":")[2]
    return int(text) if text.removeprefix("-").isdigit() and len(text) < 4 else 0


def above(id: str) -> list[str]:
    """The runs above a run, its parent first, as far as its id tells: that of one with a long path tells nothing."""
    found: list[str] = []
    while True:
        id, _, ref = id.rpartition("/")
        if not id or ref[:1] == "~":
            return found
        found.append(id)


def partition_of(id: str, partitions: int) -> int:
    """The partition of a run: its root's, so that a tree stays together."""
    return crc32(id.partition("/")[0].encode()) % partitions if partitions > 1 else 0
