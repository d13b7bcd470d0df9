"""A run in this worker's memory: its engine, its fence, and what is under way for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator

from durable_async.engine.records import Entry
from durable_async.engine.run import Run
from durable_async.engine.spec import StepCall
from durable_async.store.commands import Claimed


class Held:
    """An entry this worker has read and not yet acked."""

    __slots__ = ("entry_id", "has_entered", "letter", "name", "run_id", "stream_key")

    def __init__(self, stream_key: str, letter: str, entry_id: str, run_id: str) -> None:
        self.stream_key = stream_key
        self.letter = letter
        self.entry_id = entry_id
        self.run_id = run_id
        self.has_entered = False
        """Whether it has a slot of a limited queue, or needs none."""
        self.name = letter + entry_id
        """How a record names it."""


class Resident:
    """One run in memory. At most one call of it is outstanding; what happens meanwhile waits for the next."""

    __slots__ = (
        "acks",
        "claimed",
        "deferred",
        "epoch",
        "has_mail",
        "held",
        "id",
        "is_dropped",
        "is_out",
        "is_parked",
        "is_slotless",
        "nonce",
        "run",
        "seq",
        "tasks",
        "timer",
        "trouble",
        "waiting",
    )

    def __init__(self, id: str, run: Run, claimed: Claimed, nonce: str, held: Held) -> None:
        self.id = id
        self.run = run
        self.claimed = claimed
        self.epoch = claimed.epoch
        self.nonce = nonce
        self.seq = 0
        self.held: Held | None = held
        """The entry that counts while the run is running."""
        self.is_out = False
        self.is_parked = False
        self.is_dropped = False
        self.has_mail = False
        """A nudge came: the next commit is due even if there is nothing to say."""
        self.deferred: list[Held] = []
        """Entries read while a call was outstanding: judged after its reply, never by memory."""
        self.tasks: dict[str, tuple[StepCall, asyncio.Future[None]]] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.acks: list[tuple[Entry, asyncio.Future[None]]] | None = None
        """Steps that wait for what they asked for to be committed."""
        self.waiting: dict[str, int] | None = None
        """Attempts that wait for children, and for how many; None until there is one."""
        self.is_slotless = False
        """All its steps wait for children: it has given its slot back."""
        self.trouble = ""
        """Why the run is about to be blocked: the code or the data cannot go on."""


class Residents:
    """The runs in memory, by id; of the parked ones the least recently used make room first."""

    __slots__ = ("_all", "_most", "_on_evict", "_parked")

    def __init__(self, most_parked: int, on_evict: Callable[[Resident], None]) -> None:
        self._all: dict[str, Resident] = {}
        self._parked: OrderedDict[str, Resident] = OrderedDict()
        self._most = most_parked
        self._on_evict = on_evict

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._all.values()))

    def get(self, id: str) -> Resident | None:
        """The copy of a run, if it is here."""
        return self._all.get(id)

    def add(self, resident: Resident) -> None:
        """A run was claimed."""
        self._all[resident.id] = resident

    def remove(self, resident: Resident) -> None:
        """A run has ended or is somebody else's now."""
        if self._all.get(resident.id) is resident:
            del self._all[resident.id]
            if self._parked:
                self._parked.pop(resident.id, None)

    def park(self, resident: Resident) -> None:
        """A run holds no slot any more; it stays in memory as long as there is room."""
        self._parked[resident.id] = resident
        while len(self._parked) > self._most:
            _, oldest = self._parked.popitem(last=False)
            if self._all.get(oldest.id) is oldest:
                del self._all[oldest.id]
            self._on_evict(oldest)

    def unpark(self, resident: Resident) -> None:
        """A run is being taken up again: it cannot be evicted."""
        self._parked.pop(resident.id, None)
