"""What a commit does beside its own run: the children it creates and awaits, the questions it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .base import Base, path_of
from .keyspace import put_fields
from .state import TERMINAL, Family, Lines, Run, Shared


@dataclass
class NewChild:
    """A child as a commit asks for it."""

    id: str
    fields: list[Any]
    """Of its record, that never change: name and value in turn."""
    start: bytes
    delay_ms: int
    timeout_ms: int
    mode: str
    """Letters: `c` asked for by cleanup, `k` keeps what has completed, `v` has a priority."""


@dataclass
class Plan:
    """What becomes of the children that a commit names."""

    gen: int
    """Which life asks; it may be over with this very commit."""
    fates: list[tuple[NewChild, Run, str]] = field(default_factory=list)
    """The child, its record as it would be, and one of `create bury join wait keep refuse`."""
    awaited: list[str] = field(default_factory=list)
    tells: list[bytes] = field(default_factory=list)
    """What is to be told to the run itself, at once."""
    has_to_wait: bool = False
    """An id is occupied by a child of an earlier life."""

    @property
    def listed(self) -> int:
        return sum(fate != "refuse" for _, _, fate in self.fates)


def is_same_digest(one: bytes, other: bytes) -> bool:
    """An encrypting codec makes one piece for each of its keys: a common one is enough."""
    if one == other or (len(one) <= 16 and len(other) <= 16):
        return one == other
    pieces = {other[at : at + 16] for at in range(0, len(other) - 15, 16)}
    return any(one[at : at + 16] in pieces for at in range(0, len(one) - 15, 16))


def told(letter: str, id: str, payload: bytes) -> bytes:
    return b"C%s%s\n%s" % (letter.encode(), id.encode(), payload)


def payload_of(outcome: bytes) -> bytes:
    """What an outcome line says behind its first line."""
    return outcome.partition(b"\n")[2] if outcome[:1] == b"Z" else b""


class Siblings(Base):
    """Children and questions of one commit."""

    def plan_family(self, id: str, run: Run, children: Sequence[NewChild], awaits: Sequence[str]) -> Plan:
        plan = Plan(run.gen)
        for child in children:
            made = Run()
            put_fields(made, child.fields)
            plan.fates.append((child, made, self._fate(run, child, made)))
            plan.has_to_wait |= plan.fates[-1][2] == "wait"
        born = {child.id: made for child, made, _ in plan.fates}
        for child_id in awaits:
            found = self.state.runs.get(child_id)
            if child_id in born:
                born[child_id].notify = True
            elif found is None:
                plan.tells.append(told("x", child_id, f"the record of run {child_id} is gone".encode()))
            elif not found.notify:
                plan.awaited.append(child_id)
                if found.is_over:
                    plan.tells.append(told(TERMINAL[found.status], child_id, payload_of(self.outcome(child_id))))
        for child, made, fate in plan.fates:
            if fate == "wait":
                plan.tells.append(b"O" + child.id.encode())
            elif made.notify and fate == "keep":
                plan.tells.append(told("c", child.id, payload_of(self.outcome(child.id))))
            elif made.notify and fate == "bury":
                plan.tells.append(told("x", child.id, f"parent {id} was cancelled".encode()))
            elif made.notify and fate == "refuse":
                plan.tells.append(told("x", child.id, b"its id belongs to another active run"))
        return plan

    def _fate(self, run: Run, child: NewChild, made: Run) -> str:
        """No id has two lives at once, and nothing of an old life is taken for the new one's."""
        found = self.state.runs.get(child.id)
        is_unborn = run.cancel_at > 0 and "c" not in child.mode
        if found is None:
            return "bury" if is_unborn else "create"
        is_same = found.workflow == made.workflow and is_same_digest(made.digest, found.digest)
        if not found.is_over:
            is_cancelled = found.cancel or "c" + child.id in self.state.walks
            if found.parent_gen == run.gen or ("k" in child.mode and is_same and not is_cancelled):
                return "join" if is_same else "refuse"
            return "refuse" if is_unborn else "wait"
        if found.status == "completed" and "k" in child.mode and is_same:
            return "keep"
        return "bury" if is_unborn else "create"

    def holders(self, id: str) -> list[str]:
        """The run, and those above it, as far as all of them are active and have started the one below in this life."""
        found = [id]
        for up in path_of(id)[1:]:
            run = self.state.runs.get(up)
            if run is None or run.is_over or not 0 < self.children(up).get(found[-1], 0) <= run.kids:
                break
            found.append(up)
        return found

    def is_short(self, id: str, shared: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether an input was not sent that is not stored."""
        inputs = self.state.shared.get(self.holders(id)[-1], Shared()).inputs
        return any(not value and not inputs.get(fingerprint) for fingerprint, value in shared)

    def write_family(self, id: str, run: Run, plan: Plan, kids: int, shared: Sequence[tuple[bytes, bytes]]) -> None:
        *between, holder = self.holders(id) if shared else [id]
        for fingerprint, value in shared:
            for each in between:
                self.state.shared.setdefault(each, Shared()).inputs.setdefault(fingerprint, b"")
            inputs = self.state.shared.setdefault(holder, Shared()).inputs
            inputs[fingerprint] = inputs.get(fingerprint) or value
        for each in [*between, holder] if shared else ():
            self.state.shared[each].ttl_ms = None  # that of an earlier record's is over
        for child, made, fate in plan.fates:
            found = self.state.runs.get(child.id)
            if fate in ("create", "bury") and found:
                # An ended one is run again: its children stay listed, so that none of them is kept for ever.
                made.gen, made.kids = found.gen + 1, found.kids
                self.state.walks.pop("c" + child.id, None)
            if fate == "create":
                self.create(child.id, made, child.start, child.delay_ms, child.timeout_ms)
                if "v" in child.mode:
                    self.state.gates["v" + made.lane] = "1"
            elif fate == "bury":
                made.status, made.created_ms, made.finished_ms = "cancelled", self.now, self.now
                self.state.runs[child.id] = made
                line = b"Z%d cancelled\nparent %s was cancelled" % (self.now, id.encode())
                self.state.journals[child.id] = Lines([child.start, line])
            elif fate in ("join", "keep") and found:
                # An earlier life may have awaited it; this one is to be told when it does.
                found.notify = made.notify and (fate == "join" or found.notify)
            if fate == "join" and found:
                # Its queue and its key stay its own: they say where its entry is, and how it is counted.
                found.parent_lane, found.hint, found.parent_gen = made.parent_lane, made.hint, plan.gen
                found.leaves = found.leaves or made.leaves
                found.attempt = made.attempt if made.attempt > 1 else found.attempt
            if fate == "wait" and found:
                found.notify, found.parent_gen, found.hint = True, plan.gen, run.owner
            if fate != "refuse":
                if kids == 0:
                    # Children listed before its first are those of an earlier life.
                    self.state.families[id] = Family()
                kids += 1
                self.children(id)[child.id] = kids
                self.state.index[child.id] = self.now
        for child_id in plan.awaited:
            found = self.state.runs[child_id]
            found.notify, found.hint = True, run.owner

    # ------------------------------------------------------------------ questions

    def ask_questions(self, id: str, run: Run, questions: Sequence[tuple[str, str, bytes, bytes]]) -> list[bytes]:
        """`a` ask, `c` close, `x` its time is over: name, head, rest. Whoever finds it open closes it."""
        tells = []
        touched = dict.fromkeys(name for _, name, _, _ in questions)
        for letter, name, head, rest in questions:
            member = f"{id}\n{name}"
            if letter == "a":
                self.state.questions[member] = head + rest
                self.state.inputs[member] = int(head.split()[1])
            elif self.state.questions.get(member, b"").startswith(head) and member in self.state.questions:
                self.close_questions(id, [name])
                if letter == "x":
                    tells.append(b"I" + rest)
        for name in touched:
            run.asks = [known for known in run.asks if known != name]
            if f"{id}\n{name}" in self.state.questions:
                run.asks.append(name)
        return tells

    def close_questions(self, id: str, names: Sequence[str]) -> None:
        for name in names:
            self.state.questions.pop(f"{id}\n{name}", None)
            self.state.inputs.pop(f"{id}\n{name}", None)
