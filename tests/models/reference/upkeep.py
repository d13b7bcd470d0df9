"""The transitions that no user asks for: time, walks over children, expiry, workers that go, looks for damage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_async.store.status import Answer

from .base import Base
from .state import TERMINAL, Family, Run, Shared

HOUR_MS = 3_600_000
ORPHAN_MS = 86_400_000
SHOWN_WALKS = 16


class UpkeepTransitions(Base):
    """Each of them may be called by any worker, at any time."""

    def poll_due(self, limit: int, lease_ms: int) -> list[Any]:
        """The timers that are due, each to one caller for a while."""
        due = sorted(self.state.timers.items(), key=lambda item: (item[1], item[0].encode()))[: limit + 1]
        members = [member for member, due_ms in due if due_ms <= self.now][:limit]
        later = [due_ms for member, due_ms in due if member not in members]
        next_due = max(later[0], self.now) if later else ""
        for member in members:
            self.state.timers[member] = self.now + lease_ms
        return [Answer.OK, self.now, members, str(next_due), dict(self.state.walks), dict(self.state.gates)]

    def fire_timer(self, member: str, owner: str, lane: str) -> list[Any]:
        """The run's sleep or delay is over: its owner reads the time in the answer to its claim or resume."""
        letter, id = member[0], member[1:]
        run = self.state.runs.get(id)
        if run is None or run.status != {"d": "delayed"}.get(letter, "parked") or run.timer_ms is None:
            self.state.timers.pop(member, None)
            return [Answer.DONE]
        if run.owner != owner:
            return [Answer.RETRY]
        if run.timer_ms > self.now:
            self.state.timers[member] = run.timer_ms
            return [Answer.DONE]
        self.disarm(id, letter + "w")
        run.status, run.timer_ms = "ready", None
        run.entry = self.add_entry(id, lane, owner if letter == "w" else "")
        run.waiting = "" if letter == "d" else run.waiting
        return [Answer.OK]

    # ------------------------------------------------------------------ walks

    def advance_walk(self, item: str, cursor: bytes, next_cursor: bytes) -> list[Any]:
        if self.state.walks.get(item) != cursor:
            return [Answer.STALE]
        self.state.walks[item] = next_cursor
        if not next_cursor:
            del self.state.walks[item]
        return [Answer.OK]

    def expire_children(
        self, item: str, cursor: bytes, next_cursor: bytes, retention_ms: int, ids: Sequence[str]
    ) -> list[Any]:
        """A chunk of an ended tree gets its time to live."""
        parent, runs = item[1:], self.state.runs
        if self.state.walks.get(item) != cursor:
            return [Answer.STALE]
        if parent in runs and not runs[parent].is_over:
            del self.state.walks[item]
            return [Answer.DONE]
        fallback = retention_ms if retention_ms >= 0 else None
        for id in ids:
            run = runs.get(id)
            if run is None or not run.is_over:
                if run:
                    # What it shares with others has an end now, and so has what those below it do.
                    if start := self.start_of(id, parent):
                        self.journal(id)[0] = start
                    self.hold(id, parent)
                continue
            if run.kids:
                self.state.walks["e" + id] = b"0"
            kept = run.retention_ms if run.retention_ms is not None and run.retention_ms >= 0 else fallback
            if kept is not None:
                self.expire(id, kept)
        holds = fallback is not None and any(self.state.shared.get(parent, Shared()).inputs.values())
        if not next_cursor and holds and any(walk.startswith(f"{item}/") for walk in self.state.walks):
            # Those that are active below it are yet to be given what it holds.
            self.state.walks.pop("p" + parent, None)
            self.state.walks[item] = b"%d" % (int(cursor) + len(ids))
            return [Answer.HELD]
        for kept in (self.state.families, self.state.shared) if not next_cursor else ():
            if fallback == 0:
                kept.pop(parent, None)
            elif fallback is not None and parent in kept:
                kept[parent].ttl_ms = fallback  # type: ignore[index]
        # Taken up again, and ended again: what was to keep the tree meanwhile would come too late.
        self.state.walks.pop("p" + parent, None)
        return self.advance_walk(item, cursor, next_cursor)

    def persist_children(self, item: str, cursor: bytes, next_cursor: bytes, ids: Sequence[str]) -> list[Any]:
        """A chunk of a tree whose root was taken up again loses its time to live."""
        state = self.state
        if state.walks.get(item) != cursor:
            return [Answer.STALE]
        for id in ids:
            for kept in (state.runs, state.journals, state.families, state.shared):
                if id in kept:
                    kept[id].ttl_ms = None  # type: ignore[index]
            state.walks.pop("e" + id, None)
            if id in state.runs and state.runs[id].kids:
                state.walks["p" + id] = b"0"
        return self.advance_walk(item, cursor, next_cursor)

    def purge_index(self, ids: Sequence[str]) -> list[Any]:
        gone = [id for id in ids if id not in self.state.runs]
        for id in gone:
            self.state.index.pop(id, None)
        return [Answer.OK, len(gone)]

    # ------------------------------------------------------------------ workers

    def close_worker(self, worker: str, beat: str) -> list[Any]:
        """Its stream goes, if nothing has come into it since it was judged."""
        stream = self.state.streams.get(f"worker:{worker}")
        if (stream and stream.entries) or (beat and str(self.state.beats.get(worker, "")) != beat):
            return [Answer.RETRY]
        self.state.workers.pop(worker, None)
        self.state.beats.pop(worker, None)
        self.state.streams.pop(f"worker:{worker}", None)
        return [Answer.OK]

    def drop_consumer(self, stream: str, consumer: str) -> list[Any]:
        known = self.state.streams.get(stream)
        is_holding = known is not None and consumer in known.pending.values()
        return [Answer.RETRY if is_holding else Answer.OK]

    # ------------------------------------------------------------------ looks for damage

    def take_sweep(self, pause_ms: int, runs: int, others: int) -> list[Any]:
        """The next chunk of everything, for whoever asks first after the pause."""
        meta = self.state.meta
        if self.now < int(meta.get("sweep_due", 0)) < self.now + HOUR_MS:
            return [Answer.DONE]
        index = sorted(self.state.index.items(), key=lambda item: (item[1], item[0].encode()))
        timers = sorted(self.state.timers.items(), key=lambda item: (item[1], item[0].encode()))
        first, first_timer = int(meta.get("sweep_runs", 0)), int(meta.get("sweep_timers", 0))
        ids = [id for id, _ in index[first : first + runs]]
        members = [member for member, _ in timers[first_timer : first_timer + others]]
        meta["sweep_due"] = str(self.now + pause_ms)
        meta["sweep_timers"] = str(first_timer + len(members) if len(members) == others else 0)
        meta["sweep_blocked"] = "0"
        return [Answer.OK, first, ids, members, sorted(self.state.blocked), meta.get("sweep_keys", "0")]

    def sift_runs(self, ids: Sequence[str], *, looks_at_all: bool) -> list[Any]:
        """Those that are active, and what looks unfinished about ended ones."""
        found: list[list[str]] = []
        for id in ids:
            run = self.state.runs.get(id)
            is_kept = run is not None and run.ttl_ms is None and (run.retention_ms or 0) >= 0
            if not looks_at_all and (run is None or (run.is_over and not is_kept)):
                found.append([])
            else:
                run = run or Run()
                found.append([run.status, run.owner, run.lane, run.parent, run.waiting])
        return [Answer.OK, found]

    def repair_run(self, id: str, owner: str, lane: str, parent: str, awaited: Sequence[tuple[str, bool]]) -> list[Any]:
        """Every state that transitions lead to is sound: it finds nothing, whatever it is asked about, but what an id
        leaves that was used again before its tree had gone: children that end below another life of their parent, and
        the list of them. It asks whether a run that waits for children that have ended has been told; `awaited`: each,
        and if it was not."""
        run = self.state.runs.get(id)
        if run is not None and (run.owner, run.lane, run.parent) != (owner, lane, parent):
            return [Answer.RETRY]
        asks = []
        if run is not None and run.status == "parked":
            for child, is_untold in awaited:
                known = self.state.runs.get(child)
                if (known is None or known.status in TERMINAL) and not is_untold:
                    asks.append(child)
        length = len(self.journal(id))
        if run is not None and self._is_forgotten(id, run):
            if run.kids:
                self.state.walks["e" + id] = b"0"
            self.expire(id, run.retention_ms or 0)
            return [Answer.OK, length, self._mended("ttl_gone"), asks]
        lists = [kept[id] for kept in (self.state.families, self.state.shared) if id in kept]
        if run is None and "e" + id not in self.state.walks and any(each.ttl_ms is None for each in lists):
            for each in lists:
                each.ttl_ms = each.ttl_ms or ORPHAN_MS
            return [Answer.OK, length, self._mended("orphan"), asks]
        return [Answer.OK, length, [], asks]

    def _mended(self, kind: str) -> list[str]:
        fixed = int(self.state.meta.get(f"fixed:{kind}", 0))
        self.state.meta[f"fixed:{kind}"] = str(fixed + 1)
        return [kind]

    def _is_forgotten(self, id: str, run: Run) -> bool:
        """It would be kept for ever: its parent has its time to live, or is gone, and does not list it."""
        above = self.state.runs.get(run.parent)
        is_kept = above is not None and (not above.is_over or above.ttl_ms is None)
        listed = self.state.families.get(run.parent, Family())
        is_listed = above is not None and listed.ttl_ms is None and 0 < listed.numbers.get(id, 0) <= above.kids
        is_done = run.is_over and run.ttl_ms is None and (run.retention_ms or 0) >= 0
        is_walked = "e" + run.parent in self.state.walks
        return is_done and run.parent != "" and not is_kept and not is_listed and not is_walked
