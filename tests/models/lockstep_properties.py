"""P1 to P16 of the hazards list, over every step that is taken and every state that is reached.

The first line of each docstring is its name. What is no matter of single steps is elsewhere: P1 (the state) and P9, P13
in `lockstep`, P12 and P14 in `lockstep_bystanders.Everybody.wind_up`; P9 for keys of wrong types and a full memory in
`tests/lua/test_error_atomicity`, P15 for bodies in `tests/engine`, P16 for values in `tests/codec`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_async.store.status import Answer

from .reference.base import path_of, queue_of
from .reference.state import Run, State
from .reference.wire import Slots


@dataclass
class Step:
    """A script that was called: the store before and after it."""

    slots: Slots
    reply: Any
    before: State
    after: State
    changed: set[str]
    """Keys of which something is different."""
    command: Sequence[Any]
    is_repeat: bool = False
    again: Any = None
    """What the repeat was answered, once there was one."""

    @property
    def name(self) -> str:
        return self.slots.name


FIRST_ANSWER = {"cancel_run", "send_event", "provide_input", "retry_run", "fork_run"}
"""A repeat gets the first answer, whatever that was, if that was OK."""
NEW_LIFE = {"commit_run", "retry_run", "remove_run", "start_run", "tick_schedule"}
LETTERS = ("started_ms", "created_ms", "gen")


def p1_idempotence(step: Step) -> None:
    """P1 idempotence. A call and its repeat are one call: a token, a nonce, a seq gets its first answer."""
    if step.again is None or ("id" in step.slots.args and step.slots.text("id") not in step.after.runs):
        return  # one that is kept for no time at all is gone by its end
    if step.name == "commit_run":
        assert step.again[:4] == step.reply[:4], step.again
    elif step.name in ("claim_runs", "resume_runs") or (step.name in FIRST_ANSWER and step.reply[0] == Answer.OK):
        assert step.again == step.reply, step.again
    elif step.slots.args.get("token") and step.reply[0] == Answer.OK and step.name != "tick_schedule":
        assert step.again[:2] == step.reply[:2], step.again


def p2_fencing(step: Step) -> None:
    """P2 fencing. Whoever has an older fence changes nothing."""
    if step.name not in ("commit_run", "release_entry") or not step.slots.args["epoch"]:
        return
    run = step.before.runs.get(step.slots.text("id"))
    if run is None or str(run.epoch) != step.slots.text("epoch"):
        assert step.reply[0] in (Answer.FENCED, Answer.STALE), step.reply
        assert step.before.runs == step.after.runs and step.before.journals == step.after.journals


def p3_terminal(step: Step) -> None:
    """P3 terminal absorption. Nothing changes how a run has ended, but another life of its id."""
    for id, run in step.before.runs.items():
        if not run.is_over:
            continue
        now = step.after.runs.get(id)
        if now is None:
            assert step.name in ("remove_run", "expire_children", "repair_run"), f"{id} is gone"
        elif (
            now.gen == run.gen
            and now.created_ms == run.created_ms
            and not (step.name == "commit_run" and not now.is_over)
        ):
            assert (now.status, now.finished_ms) == (run.status, run.finished_ms), f"{id} is {now.status}"
            assert step.before.journals.get(id) == step.after.journals.get(id) or now.ttl_ms != run.ttl_ms, id
        else:
            assert step.name in NEW_LIFE, f"{id} lives again"


def p4_settle_once(step: Step) -> None:
    """P4 settle once. A child's end is told once, and as it was."""
    if step.name == "commit_run":
        return  # its own `tells` are answers to what it asks
    for id, inbox in step.after.inboxes.items():
        old = step.before.inboxes.get(id)
        for line in inbox.lines[len(old.lines) if old else 0 :]:
            body = line.split(b" ", 2)[2]
            if body[:1] != b"C":
                continue
            child = body[2:].partition(b"\n")[0].decode()
            was = step.before.runs.get(child)
            assert was is not None and not was.is_over, f"{id} is told of {child} once more"


def p5_no_lost_wake_up(step: Step) -> None:
    """P5 no lost wake-up. Who is parked has no message, and waits for nobody that has ended."""
    for id, run in step.after.runs.items():
        if run.status != "parked":
            continue
        assert run.mail == run.taken and id not in step.after.inboxes, f"{id} is parked, with a message"
        for part in run.waiting.split(", "):
            child = part.removeprefix("child ")
            if child == part:
                continue
            known = step.after.runs.get(child)
            assert known is None or not known.is_over, f"{id} waits for {child}, which is {known.status}"
            assert known is None or (known.notify and known.parent_gen == run.gen), f"{child} would not tell {id}"
        if run.timer_ms is not None:
            assert "w" + id in step.after.timers, f"nothing wakes {id}"


def _stream_of(run: Run, state: State) -> str:
    lane = f"queue:{run.lane}"
    own = run.entry[1:]
    if run.entry[:1] == "W":
        return f"worker:{run.owner}"
    return lane if own in state.streams[lane].entries else f"queue:{queue_of(run.lane)}"


def p6_entries(step: Step) -> None:
    """P6 queue conservation. A ready or running run has the one entry that it names, or a place in a room."""
    state, named = step.after, Counter[tuple[str, str]]()
    for id, run in state.runs.items():
        if run.status not in ("ready", "running"):
            assert run.entry == "", f"{id} is {run.status} and has an entry"
            continue
        entry = run.entry
        if entry[:1] == "G":
            room = state.rooms.get(queue_of(run.lane))
            assert room, f"{id} has no entry, and there is no room"
            waits = (id, run.key) in room.waiting or any(other == id for _, _, other in room.behind)
            assert run.status == "ready" and (id in room.slots) != waits, f"{id} is nowhere"
            if id not in room.slots:
                continue
            entry, stream = room.slots[id][0], f"queue:{queue_of(run.lane)}"
            assert entry[1:] in state.streams[stream].entries, f"{id} was let in, for nobody"
        else:
            stream = _stream_of(run, state)
            assert stream in state.streams and entry[1:] in state.streams[stream].entries, f"{id}: {entry} is gone"
            assert state.streams[stream].entries[entry[1:]] == ("r", id), f"{entry} is not that of {id}"
        named[stream, entry[1:]] += 1
    assert not named or max(named.values()) == 1, f"two runs have one entry: {named}"


def p7_children(step: Step) -> None:
    """P7 child uniqueness. A child is created by a running parent, numbered once, and listed."""
    for id, family in step.after.families.items():
        numbers = list(family.numbers.values())
        assert len(set(numbers)) == len(numbers), f"two children of {id} have one number"
    for id, run in step.after.runs.items():
        if run.parent and id not in step.before.runs:
            above = step.before.runs.get(run.parent)
            assert step.name == "commit_run", f"{id} is created by {step.name}"
            assert above is not None and above.status == "running", f"{id} is created below {run.parent}"
            assert id in step.after.families[run.parent].numbers, f"{id} is not listed"


def p8_monotonic(step: Step) -> None:
    """P8 monotonic. Epoch, messages and life of a run only grow; of one owner, so does seq."""
    for id, run in step.before.runs.items():
        now = step.after.runs.get(id)
        if now is None or now.created_ms != run.created_ms or (run.is_over and step.name == "commit_run"):
            continue
        for name in ("epoch", "mail", "taken", "gen", "kids"):
            assert getattr(now, name) >= getattr(run, name), f"{name} of {id} goes back"
        assert now.taken <= now.mail, f"{id} has taken more than there is"
        if (now.epoch, now.nonce) == (run.epoch, run.nonce):
            assert run.seq <= now.seq <= run.seq + 1, f"seq of {id} jumps"


def p10_keys(step: Step) -> None:
    """P10 key discipline. What is written has been declared, and is below one hash tag."""
    declared = {str(key) for key in step.command[3 : 3 + step.command[2]]}
    assert step.changed <= declared, f"not declared: {step.changed - declared}"
    tags = {key.partition("{")[2].partition("}")[0] for key in declared}
    assert len(tags) <= 1, tags


def p11_bounded(step: Step) -> None:
    """P11 bounded work. A call changes no more than it names, and what it lets in."""
    entries = sum(
        len(stream.entries.keys() - step.before.streams.get(name, stream).entries.keys())
        for name, stream in step.after.streams.items()
        if name in step.before.streams
    )
    assert entries <= 4 + len(step.command), f"{entries} entries were added"


def p15_journal(step: Step) -> None:
    """P15 replay, as far as it is the store's. A journal only grows, but for another life of its run."""
    for id, old in step.before.journals.items():
        run, now = step.before.runs.get(id), step.after.runs.get(id)
        if run is None or now is None or now.created_ms != run.created_ms:
            continue
        if run.is_over and step.name == "commit_run":
            continue  # run again
        if step.reply[0] == Answer.RENEWED:
            continue
        lines = step.after.journals[id].lines
        if old.lines[0][:1] == b"@" and lines[0][:1] == b"S":
            lines = [old.lines[0], *lines[1:]]  # it was given the input that it had shared
        assert lines[: len(old.lines)] == old.lines, f"the journal of {id} was rewritten"


def p12_inputs(step: Step) -> None:
    """P12 retention. What an active run needs does not expire: its record, its journal, the input that it shares."""
    state = step.after
    for id, run in state.runs.items():
        if run.is_over:
            continue
        assert run.ttl_ms is None and state.journals[id].ttl_ms is None, f"{id} is {run.status}, and would expire"
        parent, _, fingerprint = state.journals[id].lines[0].partition(b"\n")
        if parent[:1] == b"@":
            above = [state.shared[each] for each in path_of(parent[1:].decode()) if each in state.shared]
            holders = [each for each in above if each.inputs.get(fingerprint)]
            assert holders, f"the input of {id} is gone"
            assert any(each.ttl_ms is None for each in holders), f"the input of {id} would expire"


def p16_bytes(step: Step) -> None:
    """P16 codec, as far as it is the store's. What people store is kept byte by byte."""
    if step.name != "commit_run" or step.reply[0] in (Answer.FENCED, Answer.RENEWED) or not step.changed:
        return
    id = step.slots.text("id")
    if step.slots.args["payload"] and step.reply[0] == Answer.ENDED and id in step.after.journals:
        assert step.after.journals[id].lines[-1].endswith(b"\n" + step.slots.args["payload"])


PROPERTIES: tuple[Callable[[Step], None], ...] = (
    p1_idempotence,
    p2_fencing,
    p3_terminal,
    p4_settle_once,
    p5_no_lost_wake_up,
    p6_entries,
    p7_children,
    p8_monotonic,
    p10_keys,
    p11_bounded,
    p12_inputs,
    p15_journal,
    p16_bytes,
)
