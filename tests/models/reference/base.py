"""What the transitions share: entries, messages, the end of a run, rooms of limited queues."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from .state import TERMINAL, Family, Lines, Room, Run, Shared, State, Stream

FRESH = 2**47
"""Above it, in a room, are runs that have never started: those that have go on first."""
LET_IN = 100
"""As many are let in, or moved up, by one script."""


@dataclass(frozen=True)
class Above:
    """A run's parent as the caller declares it: the worker it was hinted at, and its queue."""

    id: str
    owner: str
    lane: str


def queue_of(lane: str) -> str:
    return lane.partition(":")[0]


def path_of(id: str) -> list[str]:
    """A run and those above it, as far as its id says."""
    parts = id.split("/")
    return ["/".join(parts[: n + 1]) for n in reversed(range(len(parts)))]


class Base:
    """The state, the time, and what several transitions do."""

    def __init__(self, mint: Callable[[str], str] | None = None) -> None:
        numbers = itertools.count(1)
        self.state = State()
        self.now = 0
        self.mint = mint or (lambda _stream: f"{next(numbers)}-0")
        """The id of a new entry of a stream: the one thing that the model cannot know."""

    # ------------------------------------------------------------------ entries

    def has_stream(self, worker: str) -> bool:
        return bool(worker) and f"worker:{worker}" in self.state.streams

    def add(self, stream: str, kind: str, id: str) -> str:
        entry_id = self.mint(stream)
        self.state.streams.setdefault(stream, Stream()).entries[entry_id] = (kind, id)
        return entry_id

    def add_entry(self, id: str, lane: str, worker: str = "") -> str:
        """To the worker's own stream, while it has one: no wake-up creates it. Else to the queue."""
        if self.has_stream(worker):
            return "W" + self.add(f"worker:{worker}", "r", id)
        return "Q" + self.add(f"queue:{lane}", "r", id)

    def nudge(self, worker: str, id: str) -> None:
        self.add(f"worker:{worker}", "n", id)

    def find_entry(self, entry: str, worker: str, lane: str) -> str:
        """The stream in which an entry lies; empty if it is in none of the two that it may be in."""
        stream = f"worker:{worker}" if entry[:1] == "W" and worker else f"queue:{lane}" if entry[:1] != "W" else ""
        known = self.state.streams.get(stream)
        return stream if known and entry[1:] in known.entries else ""

    def drop_entry(self, entry_id: str, stream: str) -> None:
        if known := self.state.streams.get(stream):
            known.entries.pop(entry_id, None)
            known.pending.pop(entry_id, None)

    # ------------------------------------------------------------------ records, journals, inboxes

    def journal(self, id: str) -> list[bytes]:
        return self.state.journals.setdefault(id, Lines()).lines

    def inbox(self, id: str) -> list[bytes]:
        return self.state.inboxes.setdefault(id, Lines()).lines

    def children(self, id: str) -> dict[str, int]:
        return self.state.families.setdefault(id, Family()).numbers

    def input_of(self, id: str, fingerprint: bytes) -> bytes:
        """A shared input, with this run or with one above it."""
        found = (self.state.shared.get(holder, Shared()).inputs.get(fingerprint) for holder in path_of(id))
        return next(filter(None, found), b"")

    def start_of(self, id: str, parent: str) -> bytes:
        """The first line of a journal with the input in it, though that is stored with the parent or above it; empty if
        it has it anyway, or nobody has."""
        line = (self.journal(id) or [b""])[0]
        value = self.input_of(parent, line.partition(b"\n")[2]) if line[:1] == b"@" else b""
        return b"S" + value if value else b""

    def hold(self, id: str, above: str) -> None:
        """A run gets whatever it has a mark of, so that nobody below it needs those above it any more."""
        inputs = self.state.shared.get(id, Shared()).inputs
        for fingerprint in inputs:
            inputs[fingerprint] = inputs[fingerprint] or self.input_of(above, fingerprint)

    def outcome(self, id: str) -> bytes:
        """The last line of a journal."""
        return (self.journal(id) or [b""])[-1]

    def disarm(self, id: str, letters: str = "wdgr") -> None:
        for letter in letters:
            self.state.timers.pop(letter + id, None)

    def expire(self, id: str, ttl_ms: int) -> None:
        """Gives what is left of an ended run its time to live: none is the end of it."""
        for kept in (self.state.runs, self.state.journals):
            if ttl_ms == 0:
                kept.pop(id, None)
            elif id in kept:
                kept[id].ttl_ms = ttl_ms

    def create(self, id: str, run: Run, start: bytes, delay_ms: int, timeout_ms: int) -> None:
        """A new run: ready at once, or after a delay."""
        run.created_ms = self.now
        self.state.journals[id] = Lines([start])
        self.state.runs[id] = run
        if delay_ms:
            run.status, run.timer_ms = "delayed", self.now + delay_ms
            self.state.timers["d" + id] = run.timer_ms
        else:
            run.status, run.entry = "ready", self.add_entry(id, run.lane)
        if timeout_ms:
            run.deadline_ms = self.now + delay_ms + timeout_ms
            self.state.timers["r" + id] = run.deadline_ms

    # ------------------------------------------------------------------ messages

    def deliver(self, id: str, body: bytes, worker: str, lane: str) -> None:
        """A message: it is numbered, and wakes a parked run or nudges a running one. `worker` has the run, as far as
        the caller knows; empty if it does not."""
        run = self.state.runs[id]
        run.mail += 1
        self.inbox(id).append(b"M%d %d %s" % (run.mail, self.now, body))
        if run.status == "parked":
            run.status, run.entry = "ready", self.add_entry(id, lane, worker)
        elif run.status == "running" and not run.nudged and self.has_stream(worker):
            self.nudge(worker, id)
            run.nudged = True

    # ------------------------------------------------------------------ the end

    def finish(self, id: str, status: str, payload: bytes, parent: Above | None) -> str:
        """The one way in which a run ends. Answers on which worker the parent is to be nudged, if not on that which was
        declared."""
        state, run = self.state, self.state.runs[id]
        above = state.runs.get(parent.id) if parent else None
        self.journal(id).append(b"Z%d %s\n%s" % (self.now, status.encode(), payload))
        state.inboxes.pop(id, None)
        self.disarm(id)
        run.status, run.finished_ms, run.entry = status, self.now, ""
        # A child is readable for as long as its parent is kept.
        if above is None or (above.is_over and above.ttl_ms is not None):
            if run.kids:
                state.walks["e" + id] = b"0"
            if run.retention_ms is not None and run.retention_ms >= 0:
                self.expire(id, run.retention_ms)
        if parent is None or above is None or not run.notify or above.gen != run.parent_gen or above.is_over:
            return ""
        is_declared = above.owner == parent.owner
        elsewhere = above.owner if above.status == "running" and not is_declared and not above.nudged else ""
        body = b"C%s%s\n%s" % (TERMINAL[status].encode(), id.encode(), payload)
        self.deliver(parent.id, body, parent.owner if is_declared else "", parent.lane)
        return elsewhere

    def end_from_outside(
        self, id: str, status: str, payload: bytes, parent: Above | None, lane: str, queue: str
    ) -> None:
        """The end of a run that its owner does not end: nothing of it is left in a stream or a room."""
        run = self.state.runs[id]
        entry, is_running, is_limited = run.entry, run.status == "running", self.is_limited(queue, run.entry)
        stream = self.find_entry(entry, run.owner, lane)
        if is_limited:
            stream = stream or self.find_entry(entry, "", queue)
        self.finish(id, status, payload, parent)
        if stream:
            self.drop_entry(entry[1:], stream)
        if is_running and self.has_stream(run.owner):
            self.nudge(run.owner, id)
        if is_limited:
            self.leave_room(queue, id, run.key, entry)

    # ------------------------------------------------------------------ rooms

    def gate(self, lane: str) -> str:
        """What stands in the way of a queue's runs: `p` it is paused, `l` it is limited."""
        queue = queue_of(lane)
        return next((letter for letter in "pl" if letter + queue in self.state.gates), "")

    def is_limited(self, queue: str, entry: str = "") -> bool:
        """Also if it was until just now, and the record says that the run was in its room."""
        return "l" + queue in self.state.gates or entry[:1] == "G"

    def limits(self, queue: str) -> tuple[int, int, int, int]:
        """Runs at once, starts per period, the period, runs at once of a key; 0 is no limit."""
        concurrency, starts, period, per_key = map(int, self.state.gates.get("l" + queue, "0 0 0 0").split())
        return concurrency, starts, period, per_key

    def room(self, queue: str) -> Room:
        return self.state.rooms.setdefault(queue, Room())

    def has_slot_free(self, queue: str) -> bool:
        concurrency = self.limits(queue)[0]
        is_paused = "p" + queue in self.state.gates
        return not is_paused and (concurrency == 0 or len(self.room(queue).slots) < concurrency)

    def next_start(self, queue: str) -> int:
        """When the next run that has never started may be let in."""
        _, starts, period, _ = self.limits(queue)
        known = self.room(queue).starts
        return known[-starts] + period if starts and len(known) >= starts else 0

    def note_start(self, queue: str) -> None:
        _, starts, period, _ = self.limits(queue)
        if starts:
            room = self.room(queue)
            room.starts = [*room.starts, self.now][-starts:]
            room.starts_ttl_ms = period

    def let_in(self, queue: str) -> None:
        """Whoever is next, while there is a slot: the rest, and a start that has to wait, are a timer's."""
        room = self.room(queue)
        for n in itertools.count():
            head = min(room.waiting.items(), key=lambda item: (item[1], "\n".join(item[0]).encode()), default=None)
            if head is None or not self.has_slot_free(queue):
                break
            (id, key), order = head
            due = self.next_start(queue) if order >= FRESH else 0
            if n == LET_IN or due > self.now:
                self.state.timers["q" + queue] = max(due, self.now)
                break
            del room.waiting[id, key]
            room.slots[id] = (self.add_entry(id, queue), key)
            if order >= FRESH:
                self.note_start(queue)
        concurrency, starts, _, per_key = self.limits(queue)
        if concurrency + starts + per_key == 0 and not (room.slots or room.waiting or room.behind):
            self.state.gates.pop("l" + queue, None)

    def leave_room(self, queue: str, id: str, key: str, entry: str) -> None:
        """Whoever has a slot, or waits, gives that back; who is next comes in, first of its key, then of the queue."""
        room, per_key = self.room(queue), self.limits(queue)[3]
        had_slot, was_waiting = room.slots.pop(id, None), room.waiting.pop((id, key), None)
        if had_slot is None and was_waiting is None:
            if entry[:1] == "G":
                room.behind.discard((key, int(entry.rpartition("-")[2]), id))
        elif key:
            count = room.tally.get(key, 0) - 1
            for of_key, order, other in sorted(room.behind)[:]:
                if of_key == key and not (per_key and count >= per_key):
                    room.behind.discard((key, order, other))
                    room.waiting[other, key] = order
                    count += 1
            room.tally[key] = count
            if count <= 0:
                del room.tally[key]
        self.let_in(queue)
