"""The scripts that runs are driven by: `claim_runs`, `resume_runs`, `commit_run`, `release_entry`, `fire_timer`."""

from __future__ import annotations

from typing import Any

from .bodies import items_of, surviving
from .family import NewChild, decide_child, finish_run, renew_run, tells_of, write_family
from .keys import add_entry, assign, drop_entry, find_item, find_stream, is_over, lookup, put, queue_of, stream_of
from .room import gate_of, is_paused, leave_room, limit_of, open_room, put_slot, slot_of
from .words import Broken, Commit, Held, Message, Run, Scene, State

Reply = tuple[Any, ...]


def _unread(s: State, rid: str, told: int) -> tuple[Message, ...]:
    return tuple(message for message in s["inbox:" + rid] if message.number > told)


def _is_shut(scene: Scene, s: State, rid: str, held: Held) -> str:
    queue = queue_of(scene, rid)
    gate, entered = gate_of(s, queue), held.entered
    if scene.has("who has entered shows its slot"):
        entered = entered and slot_of(s, queue, rid) == held.name
    if gate == "p":
        return "p" if scene.has("a claim looks at the pause") else ""
    return "l" if gate == "l" and not entered and scene.has("a claim asks for the slot") else ""


def _running(s: State, scene: Scene, rid: str) -> None:
    # A law, not a rule: whoever made it run has looked.
    queue = queue_of(scene, rid)
    if is_paused(s, queue):
        raise Broken(f"{rid} of the paused queue {queue} is run")
    if limit_of(s, queue) and slot_of(s, queue, rid) is None:
        raise Broken(f"{rid} of the limited queue {queue} is run without a slot")


def _is_here(scene: Scene, s: State, rid: str, held: Held, worker: str) -> bool:
    item = find_item(s, held.stream, held.name)
    return item is not None and item.by == worker


def claim_runs(scene: Scene, s: State, rid: str, worker: str, nonce: str, held: Held) -> Reply:
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    names_it = run.entry == held.name
    if run.status == "ready" and not names_it and run.entry[:1] == "G":
        return ("HELD", "l")
    if scene.has("a claim is of the entry that counts"):
        if not names_it or run.status not in ("ready", "running"):
            return ("STALE",)
    elif run.status != "ready" and not (run.status == "running" and run.owner == worker and run.nonce == nonce):
        return ("STALE",)
    if run.status == "ready" and (gate := _is_shut(scene, s, rid, held)):
        return ("HELD", gate)
    is_repeat = run.status == "running" and run.nonce == nonce and run.owner == worker
    if is_repeat and scene.has("a claim is repeat-safe"):
        return (
            "OK",
            run.epoch,
            nonce,
            run.gen,
            run.owner_no,
            run.hint,
            s["journal:" + rid],
            _unread(s, rid, run.taken),
        )
    if run.status == "running" and not scene.has("a claim is repeat-safe"):
        return ("STALE",)
    if run.status == "ready":
        _running(s, scene, rid)
    number = s["owners:" + rid]
    s["owners:" + rid] = number + 1
    put(
        s, rid, status="running", owner=worker, epoch=run.epoch + 1, nonce=nonce, seq=0, started=True, nudged=False,
        owner_no=number, **({} if names_it else {"entry": held.name}),
    )  # fmt: skip
    return ("OK", run.epoch + 1, nonce, run.gen, number, run.hint, s["journal:" + rid], _unread(s, rid, run.taken))


def resume_runs(scene: Scene, s: State, rid: str, held: Held, epoch: int, nonce: str, seq: int, owner_no: int) -> Reply:
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    if run.status == "ready" and run.entry[:1] == "G" and run.entry != held.name:
        return ("HELD", "l")
    names_it = run.entry == held.name or not scene.has("a claim is of the entry that counts")
    if not names_it or run.status not in ("ready", "running"):
        return ("STALE",)
    is_nonce = run.nonce == nonce or not scene.has("the fence has a nonce")
    is_seq = run.seq == seq or not scene.has("a resume names the last commit")
    if run.epoch != epoch or not is_nonce or not is_seq:
        return ("RELOAD",)
    if run.status == "ready" and (gate := _is_shut(scene, s, rid, held)):
        return ("HELD", gate)
    if run.status == "ready":
        _running(s, scene, rid)
        if run.owner_no != owner_no or run.seq != seq:
            raise Broken(f"a copy of {rid} is resumed that is not the journal's")
        put(s, rid, status="running", nudged=False, entry=held.name)
    return ("OK", _unread(s, rid, run.taken))


def commit_run(scene: Scene, s: State, rid: str, c: Commit) -> Reply:
    run: Run | None = s["run:" + rid]
    if run is None or run.epoch != c.epoch or (run.nonce != c.nonce and scene.has("the fence has a nonce")):
        return ("FENCED", ())
    if run.seq == c.seq and run.answer and scene.has("a repeat gets the stored answer"):
        return (run.answer, _unread(s, rid, max(run.taken, c.told)) if run.answer == "OK" else ())
    if run.seq + 1 != c.seq and scene.has("a commit is the next one"):
        return ("FENCED", ())
    if (run.status != "running" or run.entry != c.entry) and scene.has("a commit is of a running run"):
        return ("FENCED", ())
    if is_over(run):
        return ("FENCED", ())
    lines, consumed = [], 0
    for line in c.lines:
        if line[0] in "TD":
            message = s["inbox:" + rid][consumed] if consumed < len(s["inbox:" + rid]) else None
            consumed += 1
            is_it = message is not None and (message.number, message.item) == (line[1].number, line[1].item)
            if message is None or (not is_it and scene.has("a take names its message")):
                return ("FENCED", ())
            if line[0] == "T":
                lines.append(("M", message.number, message.item))
        else:
            lines.append(line)
    if run.status != "running" or run.entry != c.entry:
        raise Broken(f"a commit of {rid} is accepted, which is {run.status} under another entry")
    if run.owner_no != c.owner_no:
        raise Broken(f"a commit of a stale owner of {rid} is accepted")
    new = [decide_child(scene, s, run, ask, c.awaits) for ask in c.children]
    return _commit(scene, s, rid, c, lines, consumed, new)


def _commit(scene: Scene, s: State, rid: str, c: Commit, lines: list[Any], consumed: int, new: list[NewChild]) -> Reply:
    run: Run = s["run:" + rid]
    taken = run.taken + consumed
    tells = tells_of(scene, s, run, new, c.awaits)
    kids = run.kids + sum(one.fate != "refuse" for one in new)
    want = c.want
    is_ending, leaves = want in ("completed", "failed", "cancelled"), want in ("park", "renew", "retry")
    if not scene.has("a park looks for messages") and want == "park":
        leaves = False
    if not scene.has("a renewal takes its messages") and want in ("renew", "retry"):
        leaves = False
    stays = run.cancel_at > taken and scene.has("an end looks for a cancel")
    stays = stays or any(one.fate == "wait" for one in new)
    if (leaves and (run.mail > taken or tells)) or (is_ending and stays):
        want, is_ending = "go", False
    _check_journal(s, rid, c, lines)
    s["inbox:" + rid] = s["inbox:" + rid][consumed:]
    fields: dict[str, Any] = {"seq": c.seq, "taken": taken, "nudged": False, "kids": kids}
    awaited = [name for name in c.awaits if all(one.name != name for one in new)]
    answer, elsewhere = "OK", ""
    before = run.kids
    if is_ending:
        s["journal:" + rid] += tuple(lines)
        elsewhere, answer = finish_run(scene, s, rid, want, c.hint, answer="ENDED", **fields), "ENDED"
    elif want in ("renew", "retry"):
        renew_run(scene, s, rid, c, answer="RENEWED", **fields)
        answer = "RENEWED"
    else:
        s["journal:" + rid] += tuple(lines)
        put(s, rid, **fields, answer="OK")
        if want == "park":
            answer = "PARKED"
            put(s, rid, status="parked", entry="", timer=c.due, answer="PARKED")
            assign(s, "timers", "w" + rid, c.due or None)
    write_family(scene, s, rid, c.worker, new, tuple(awaited), before)
    if is_ending and s["run:" + rid].has_ttl and kids > 0:
        assign(s, "walks", "e" + rid, 0)
    for child in c.gives:
        assign(s, "walks", "c" + child, (rid, run.gen))
    frees = answer != "OK" and (answer != "PARKED" or scene.has("a park frees the slot"))
    if frees and c.entered and (room := open_room(s, queue_of(scene, rid), "G")):
        leave_room(scene, s, room, rid)
    if answer != "OK":
        return (answer, (), elsewhere)
    left = [message for message in _unread(s, rid, c.told) if c.want != "go" or scene.has("a commit answers messages")]
    for number, (item, asker) in enumerate(tells, run.mail + 1):
        message = Message(number, frozenset(), item, asker)
        s["inbox:" + rid] += (message,)
        left.append(message)
    put(s, rid, mail=run.mail + len(tells))
    return ("OK", tuple(left), "")


def _check_journal(s: State, rid: str, c: Commit, lines: list[Any]) -> None:
    held, _ = surviving((*s["journal:" + rid], *lines))
    if items_of(held) != c.seen:
        raise Broken(f"the journal of {rid} tells {items_of(held)}, its body saw {c.seen}")


def release_entry(
    scene: Scene, s: State, rid: str, stream: str, name: str, epoch: int | None = None, *, is_crash: bool = False
) -> Reply:
    """Puts an entry back so that any worker may take its run; garbage is acked."""
    run = s["run:" + rid]
    if run is None:
        drop_entry(s, name, stream)
        return ("STALE",)
    queue = queue_of(scene, rid)
    room = open_room(s, queue, run.entry)
    slot = slot_of(s, room, rid) if room else None
    if room and slot == name and run.status == "ready" and run.entry != name and run.entry[:1] == "G":
        put_slot(s, room, rid, add_entry(s, rid, "Q", "queue:" + room))
        drop_entry(s, name, stream)
        return ("OK",)
    is_takeable = run.status in ("ready", "running")
    counts = run.entry == name or (is_takeable and not scene.has("a claim is of the entry that counts"))
    if not counts or (epoch is None and not is_takeable):
        drop_entry(s, name, stream)
        return ("STALE",)
    if (epoch is not None and run.epoch != epoch) or not is_takeable:
        return ("STALE",)
    if run.status == "running" and scene.has("a reap fences at once"):
        put(s, rid, epoch=run.epoch + 1)
    drop_entry(s, name, stream)
    again = add_entry(s, rid, "Q", "queue:" + queue)
    put(s, rid, status="ready", entry=again)
    if slot and room and scene.has("a slot goes with its run"):
        put_slot(s, room, rid, again)
    return ("OK",)


def fire_timer(scene: Scene, s: State, member: str, owner: str) -> Reply:
    """Makes a run ready whose sleep or delay is over."""
    letter, rid = member[0], member[1:]
    run = s["run:" + rid]
    if run is None or run.status != ("delayed" if letter == "d" else "parked") or not run.timer:
        assign(s, "timers", member, None)
        return ("DONE",)
    if run.owner != owner:
        return ("RETRY",)
    if (rid, run.timer) not in s["passed"]:
        assign(s, "timers", member, run.timer)
        return ("DONE",)
    letter, stream = find_stream(scene, s, owner if letter == "w" else "", rid)
    assign(s, "timers", member, None)
    put(s, rid, status="ready", entry=add_entry(s, rid, letter, stream), timer="")
    return ("OK",)


def settled_stream(scene: Scene, s: State, rid: str) -> str | None:
    """The stream in which the entry of a run lies that is ended from outside."""
    run = s["run:" + rid]
    if run.entry[:1] in ("", "G"):
        return None
    stream = stream_of(scene, run, rid, run.entry)
    return stream if find_item(s, stream, run.entry) else None


def walk_value(s: State, item: str) -> Any:
    """How far a walk has come, or None."""
    return lookup(s["walks"], item)
