"""The transitions of whoever owns a run: it is taken, goes on, parks, ends, or is put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_async.store.keys import queue_of
from durable_async.store.status import Answer

from .base import Above
from .family import NewChild, Siblings
from .keyspace import CHILD_FIELDS, CLAIM_FIELDS, put_fields
from .state import Lines, Run

PAGE_BYTES = 524_288
WANTED = {"go": Answer.OK, "renew": Answer.RENEWED, "park": Answer.PARKED, "block": Answer.PARKED}


@dataclass
class CommitCall:
    """What an owner's commit says."""

    id: str
    epoch: str
    nonce: str
    seq: int
    entry: str
    want: str
    lines: list[tuple[str, bytes]]
    """`R` a record, `T` and `D` the head of a message that is taken or dropped, `N` a line of the next life."""
    page: int
    seen: int
    due: str = ""
    payload: bytes = b""
    sets: list[Any] = field(default_factory=list)
    questions: list[tuple[str, str, bytes, bytes]] = field(default_factory=list)
    children: list[NewChild] = field(default_factory=list)
    shared: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Fingerprint and value of inputs that several of the children have; no value if it is known to be stored."""
    awaits: list[str] = field(default_factory=list)
    walks: list[tuple[str, bytes]] = field(default_factory=list)
    parent: Above | None = None
    lane: str = ""
    slot_of: str | None = None


def page_of(lines: Sequence[bytes], first: int, count: int) -> list[bytes]:
    """So many lines, and beyond the first not more than a budget of bytes."""
    found: list[bytes] = []
    for line in lines[first : first + count]:
        if found and sum(map(len, found)) + len(line) > PAGE_BYTES:
            break
        found.append(line)
    return found


def without(flat: Sequence[Any], *names: bytes) -> list[Any]:
    """Fields in turn, but some: those of a life that a run was not granted."""
    return [x for pair in zip(flat[::2], flat[1::2], strict=True) if pair[0] not in names for x in pair]


class OwnerTransitions(Siblings):
    """Take, resume, commit, release."""

    def claim_runs(
        self, owner: str, nonce: str, limit: int, page: int, entries: Sequence[tuple[str, str]], *, has_entered: bool
    ) -> list[Any]:
        """Each through the entry that its record names."""
        return [self.now, *(self._claim(owner, nonce, limit, page, id, e, has_entered) for id, e in entries)]

    def _claim(
        self, owner: str, nonce: str, limit: int, page: int, id: str, entry: str, has_entered: bool
    ) -> list[Any]:
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if run.status == "ready" and run.entry != entry and run.entry[:1] == "G":
            return [Answer.HELD, run.lane, "l"]
        if run.entry != entry or run.status not in ("ready", "running"):
            return [Answer.STALE]
        gate = self.gate(run.lane)
        if run.status == "ready" and (
            gate == "p" or (gate == "l" and not (has_entered and self._has_slot(run, id, entry)))
        ):
            return [Answer.HELD, run.lane, gate]
        if run.status == "running" and not has_entered and self.is_limited(queue_of(run.lane)):
            return [Answer.HELD, run.lane, "l"]
        answer = Answer.OK
        if not (run.status == "running" and (run.nonce, run.owner) == (nonce, owner)):
            claims = run.claims + (run.owner != owner)
            if run.status == "ready" and claims > limit:
                answer = Answer.POISON
            else:
                run.status, run.owner, run.nonce, run.claims = "running", owner, nonce, claims
                run.epoch, run.seq, run.nudged = run.epoch + 1, 0, False
                run.started_ms = run.started_ms or self.now
        journal, inbox = self.journal(id), self.inbox(id)
        names = (*CLAIM_FIELDS, *CHILD_FIELDS) if "/" in id else CLAIM_FIELDS
        record = {name: getattr(run, name) for name in names}
        return [answer, run.epoch, record, page_of(journal, 0, page), len(journal), page_of(inbox, 0, page)]

    def _has_slot(self, run: Run, id: str, entry: str) -> bool:
        return self.room(queue_of(run.lane)).slots.get(id, ("", ""))[0] == entry

    def resume_runs(
        self, page: int, copies: Sequence[tuple[str, str, str, str, str]], *, has_entered: bool
    ) -> list[Any]:
        """Woken runs that their owner has in memory: id, entry, epoch, nonce, seq of each."""
        return [self.now, *(self._resume(page, *copy, has_entered) for copy in copies)]

    def _resume(self, page: int, id: str, entry: str, epoch: str, nonce: str, seq: str, has_entered: bool) -> list[Any]:
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if run.status == "ready" and run.entry != entry and run.entry[:1] == "G":
            return [Answer.HELD, run.lane, "l"]
        if run.entry != entry or run.status not in ("ready", "running"):
            return [Answer.STALE]
        if (str(run.epoch), run.nonce, str(run.seq)) != (epoch, nonce, seq):
            return [Answer.RELOAD]
        gate = self.gate(run.lane)
        if run.status == "ready" and (
            gate == "p" or (gate == "l" and not (has_entered and self._has_slot(run, id, entry)))
        ):
            return [Answer.HELD, run.lane, gate]
        if run.status == "running" and not has_entered and self.is_limited(queue_of(run.lane)):
            return [Answer.HELD, run.lane, "l"]
        if run.status == "ready":
            run.status, run.nudged = "running", False
        return [Answer.OK, page_of(self.inbox(id), 0, page)]

    def commit_run(self, c: CommitCall) -> list[Any]:
        """What the body saw, in its order; what it asked for; then it goes on, parks, blocks, begins anew or ends."""
        run = self.state.runs.get(c.id)
        if run is None or (str(run.epoch), run.nonce) != (c.epoch, c.nonce):
            return [Answer.FENCED, self.now]
        if run.seq == c.seq:
            rest = self._unseen(c, run.taken, 0) if run.answer == Answer.OK else []
            return [run.answer, self.now, rest, " ".join(run.clients), ""]
        if run.seq + 1 != c.seq or run.status != "running" or run.entry != c.entry:
            return [Answer.FENCED, self.now]
        heads = [head for letter, head in c.lines if letter in "TD"]
        waiting = self.inbox(c.id)
        if len(heads) > len(waiting) or not all(m.startswith(h) for m, h in zip(waiting, heads, strict=False)):
            return [Answer.FENCED, self.now]
        if self.is_short(c.id, c.shared):
            return [Answer.RETRY, self.now]

        taken, consumed = iter(waiting[:]), len(heads)
        listed = [(letter, next(taken) if letter in "TD" else line) for letter, line in c.lines]
        lines = [line for letter, line in listed if letter in "RT"]
        left = self._unseen(c, run.taken, consumed)
        run.seq, run.taken, run.nudged = c.seq, run.taken + consumed, False
        kids_before = run.kids
        tells = self.ask_questions(c.id, run, c.questions)
        plan = self.plan_family(c.id, run, c.children, c.awaits)
        tells += plan.tells

        want = c.want
        has_mail, ends = run.mail > run.taken, want not in ("go", "park", "block", "renew")
        if (want in ("park", "renew") and (has_mail or tells)) or (
            ends and (run.cancel_at > run.taken or plan.has_to_wait)
        ):
            want, ends = "go", False
        put_fields(run, c.sets if want == c.want or c.want != "renew" else without(c.sets, b"gen", b"attempt"))
        run.answer = Answer.ENDED if ends else WANTED[want]
        if not ends and (lines or consumed or run.answer == Answer.PARKED):
            run.claims = 0
        run.kids = kids_before + plan.listed
        del waiting[:consumed]
        elsewhere = self._go(c, run, want, lines, ends=ends)
        self.write_family(c.id, run, plan, kids_before, c.shared)
        self.state.walks.update(c.walks)
        if run.answer != Answer.OK and c.slot_of is not None:
            self.leave_room(c.slot_of, c.id, run.key, "")
        if run.answer != Answer.OK:
            return [run.answer, self.now, [], " ".join(run.clients), elsewhere]
        for told in tells:
            run.mail += 1
            self.inbox(c.id).append(b"M%d %d %s" % (run.mail, self.now, told))
        if tells and len(left) < c.page:
            left += self.inbox(c.id)[-len(tells) :]
        return [run.answer, self.now, left, " ".join(run.clients), ""]

    def _unseen(self, c: CommitCall, taken: int, at_least: int) -> list[bytes]:
        """The messages that the owner has not been told, behind those that this commit takes."""
        return page_of(self.inbox(c.id), max(at_least, c.seen - taken), c.page)

    def _go(self, c: CommitCall, run: Run, want: str, lines: list[bytes], *, ends: bool) -> str:
        """Answers where the parent is to be nudged."""
        if want == "renew":
            self._renew(c, run)
            return ""
        self.journal(c.id).extend(lines)
        if ends:
            return self.finish(c.id, want, c.payload, c.parent)
        if want != "go":
            run.status, run.entry = ("parked" if want == "park" else "blocked"), ""
            run.timer_ms = int(c.due) if c.due and want == "park" else None
            self.disarm(c.id, "w")
            if run.timer_ms is not None:
                self.state.timers["w" + c.id] = run.timer_ms
            if want == "block":
                self.state.blocked[c.id] = run.workflow
        return ""

    def _renew(self, c: CommitCall, run: Run) -> None:
        """Another life: a fresh journal, and for any worker."""
        delay_ms, timeout_ms = map(int, c.due.split())
        self.state.inboxes.pop(c.id, None)
        self.state.journals[c.id] = Lines([c.payload, *(line for letter, line in c.lines if letter == "N")])
        self.disarm(c.id, "wdr")
        run.status, run.entry, run.timer_ms, run.deadline_ms = "ready", "", None, None
        if delay_ms:
            run.status, run.timer_ms = "delayed", self.now + delay_ms
            self.state.timers["d" + c.id] = run.timer_ms
        else:
            run.entry = self.add_entry(c.id, c.lane)
        if timeout_ms:
            run.deadline_ms = self.now + delay_ms + timeout_ms
            self.state.timers["r" + c.id] = run.deadline_ms
        run.claims, run.started_ms = 0, None

    def release_entry(
        self, id: str, source: str, lane: str, entry: str, epoch: str, delay_ms: int, waiting: str, queue: str,
        *, is_crash: bool,
    ) -> list[Any]:  # fmt: skip
        """An entry goes back, for any worker; garbage goes."""
        run = self.state.runs.get(id)
        named = run.entry if run else ""
        is_limited = self.is_limited(queue, named)
        slot = self.room(queue).slots.get(id) if is_limited else None
        if run and slot and slot[0] == entry and run.status == "ready" and named != entry and named[:1] == "G":
            # Let in, and not taken up: it stays so.
            self.room(queue).slots[id] = (self.add_entry(id, queue), run.key)
            self.drop_entry(entry[1:], source)
            return [Answer.OK]
        is_takeable = run is not None and run.status in ("ready", "running")
        if run is None or named != entry or (not epoch and not is_takeable):
            self.drop_entry(entry[1:], source)
            return [Answer.STALE]
        if not is_takeable or (epoch and str(run.epoch) != epoch):
            return [Answer.STALE]
        if run.status == "running":
            run.epoch += 1
            run.claims = run.claims if is_crash else max(run.claims - 1, 0)
            run.owner = run.owner if is_crash else ""
        run.waiting = waiting
        self.drop_entry(entry[1:], source)
        if delay_ms:
            run.status, run.entry, run.timer_ms = "delayed", "", self.now + delay_ms
            self.state.timers["d" + id] = run.timer_ms
            if slot:
                self.leave_room(queue, id, run.key, "")
        else:
            run.status, run.entry = "ready", self.add_entry(id, lane)
            if slot:
                self.room(queue).slots[id] = (run.entry, run.key)
        return [Answer.OK]

    def ack_entries(self, stream: str, entry_ids: Sequence[str]) -> list[Any]:
        """Entries that a script has found settled."""
        for entry_id in entry_ids:
            self.drop_entry(entry_id, stream)
        return [Answer.OK]
