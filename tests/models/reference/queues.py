"""The transitions of queues: paused, limited; who enters, waits and leaves."""

from __future__ import annotations

from typing import Any

from durable_async.store.status import Answer

from .base import FRESH, Base
from .state import Run


class QueueTransitions(Base):
    """A slot is of a running run, or of one that has been let in and is about to be taken."""

    def pause_queue(self, queue: str, last: str, token: str) -> list[Any]:
        return self._turn(queue, last, token, is_to_pause=True)

    def resume_queue(self, queue: str, last: str, token: str) -> list[Any]:
        return self._turn(queue, last, token, is_to_pause=False)

    def _turn(self, queue: str, last: str, token: str, *, is_to_pause: bool) -> list[Any]:
        """`last` is whose the change before this one was, as the caller has read: who comes late changes nothing."""
        meta, gates = self.state.meta, self.state.gates
        latest = meta.get("turn:" + queue, "")
        if latest == token:
            return [Answer.OK]
        if latest != last:
            return [Answer.STALE]
        if ("p" + queue in gates) == is_to_pause:
            return [Answer.DONE]
        meta["turn:" + queue] = token
        if is_to_pause:
            gates["p" + queue] = str(self.now)
        else:
            del gates["p" + queue]
            if self.is_limited(queue):
                self.let_in(queue)
        return [Answer.OK]

    def limit_queue(self, queue: str, limits: str) -> list[Any]:
        before = self.state.gates.get("l" + queue, "")
        if before == limits or (not before and limits == "0 0 0 0"):
            return [Answer.DONE]
        self.state.gates["l" + queue] = limits
        self.let_in(queue)
        return [Answer.OK, before]

    def admit_runs(self, queue: str) -> list[Any]:
        """Time has passed."""
        self.state.timers.pop("q" + queue, None)
        self.let_in(queue)
        return [Answer.OK]

    def order_of(self, run: Run) -> int:
        """Started before fresh, higher priorities first, older runs first."""
        priority = int(run.lane.partition(":")[2] or 0)
        return (0 if run.has_fenced else FRESH) + (10 - priority) * 2**42 + run.created_ms

    def enter_queue(self, id: str, source: str, entry: str, queue: str) -> list[Any]:
        """A slot, under the entry through which a worker is about to take the run; or a place in the room, without."""
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if run.status not in ("ready", "running"):
            return [Answer.STALE]
        is_limited, is_paused = self.is_limited(queue, run.entry), "p" + queue in self.state.gates
        slot = self.room(queue).slots.get(id) if is_limited else None
        if run.entry != entry:
            if slot is None or slot[0] != entry:
                return [Answer.STALE]
            if is_paused:
                return [Answer.HELD]
            run.entry, run.waiting = entry, ""
            return [Answer.OK]
        if run.status == "running" or "l" + queue not in self.state.gates:
            return [Answer.OK]
        if is_paused:
            return [Answer.HELD]
        if slot:
            self.room(queue).slots[id] = (entry, run.key)
            return [Answer.OK]
        return self._arrive(id, run, source, queue)

    def _arrive(self, id: str, run: Run, source: str, queue: str) -> list[Any]:
        room, per_key = self.room(queue), self.limits(queue)[3]
        order, count = self.order_of(run), room.tally.get(run.key, 0)
        is_behind = run.key != "" and per_key > 0 and count >= per_key
        is_first = order < min(room.waiting.values(), default=2**53)
        is_time = run.has_fenced or self.next_start(queue) <= self.now
        if not is_behind and run.key:
            room.tally[run.key] = count + 1
        if not is_behind and self.has_slot_free(queue) and is_time and is_first:
            room.slots[id] = (run.entry, run.key)
            if not run.has_fenced:
                self.note_start(queue)
            return [Answer.OK]
        self.drop_entry(run.entry[1:], source)
        run.entry, run.waiting = f"G{self.now}-{order:016}", f"a place in queue {queue}"
        if is_behind:
            room.behind.add((run.key, order, id))
        else:
            room.waiting[id, run.key] = order
            self.let_in(queue)
        return [Answer.STALE]

    def leave_queue(self, id: str, key: str, queue: str) -> list[Any]:
        """Out with whoever is in the room without right."""
        run, room = self.state.runs.get(id), self.room(queue)
        slot = room.slots.get(id)
        if slot is None and (id, key) not in room.waiting:
            return [Answer.DONE]
        is_alive = run is not None and run.status in ("ready", "running")
        if run and is_alive and (run.entry[:1] == "G" or (slot and run.entry == slot[0])):
            return [Answer.DONE]
        self.leave_room(queue, id, key, "")
        return [Answer.OK]
