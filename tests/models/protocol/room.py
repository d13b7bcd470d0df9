"""Limited queues: `enter_queue`, `leave_queue`, `limit_queue`, `resume_queue`, and lib/room."""

from __future__ import annotations

from .keys import add_entry, drop_entry, lookup, put, queue_of, stream_of
from .words import Scene, State

Room = str
"""The queue that it is of."""


def limit_of(s: State, queue: str) -> int | None:
    """How many runs of a queue may run at once: 0 as many as like, None if nothing limits it."""
    return lookup(s["gates"], "l" + queue)  # type: ignore[no-any-return]


def is_paused(s: State, queue: str) -> bool:
    return lookup(s["gates"], "p" + queue) is not None


def gate_of(s: State, queue: str) -> str:
    """What stands in the way of a queue's runs."""
    return "p" if is_paused(s, queue) else "l" if limit_of(s, queue) is not None else ""


def open_room(s: State, queue: str, entry: str) -> Room | None:
    return queue if limit_of(s, queue) is not None or entry[:1] == "G" else None


def slot_of(s: State, room: Room, rid: str) -> str | None:
    return lookup(s["slots:" + room], rid)  # type: ignore[no-any-return]


def put_slot(s: State, room: Room, rid: str, entry: str) -> None:
    rest = tuple(pair for pair in s["slots:" + room] if pair[0] != rid)
    s["slots:" + room] = tuple(sorted((*rest, (rid, entry))))


def has_slot_free(s: State, room: Room) -> bool:
    limit = limit_of(s, room)
    return not is_paused(s, room) and (not limit or len(s["slots:" + room]) < limit)


def let_in(scene: Scene, s: State, room: Room) -> None:
    """Lets in who is next, while there is room."""
    while s["room:" + room] and has_slot_free(s, room):
        (_, rid), *rest = s["room:" + room]
        s["room:" + room] = tuple(rest)
        put_slot(s, room, rid, add_entry(s, rid, "Q", "queue:" + room))
    if limit_of(s, room) == 0 and not s["slots:" + room] and not s["room:" + room]:
        s["gates"] = frozenset(pair for pair in s["gates"] if pair[0] != "l" + room)


def leave_room(scene: Scene, s: State, room: Room, rid: str) -> None:
    """Takes a run out of the room, or its slot away, and lets in who is next."""
    s["slots:" + room] = tuple(pair for pair in s["slots:" + room] if pair[0] != rid)
    s["room:" + room] = tuple(pair for pair in s["room:" + room] if pair[1] != rid)
    if scene.has("leaving lets in"):
        let_in(scene, s, room)


def enter_queue(scene: Scene, s: State, rid: str, entry: str) -> tuple[str, ...]:
    """Gives a run a slot under the entry through which it is about to be taken, or lets it wait in the room."""
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    queue = queue_of(scene, rid)
    room = open_room(s, queue, run.entry)
    if run.status not in ("ready", "running"):
        return ("STALE",)
    slot = slot_of(s, room, rid) if room else None
    if run.entry != entry:
        if not room or slot != entry:
            return ("STALE",)
        if is_paused(s, queue):
            return ("HELD",)
        put(s, rid, entry=entry)
        return ("OK",)
    if run.status == "running" or not room or limit_of(s, room) is None:
        return ("OK",)
    if is_paused(s, queue):
        return ("HELD",)
    if slot and scene.has("entering is repeat-safe"):
        put_slot(s, room, rid, entry)
        return ("OK",)
    score = (run.epoch == 0, sorted(scene.programs).index(rid))
    first = s["room:" + room][0][0] if s["room:" + room] else None
    if (has_slot_free(s, room) or not scene.has("a slot before a run")) and (first is None or score < first):
        put_slot(s, room, rid, entry)
        return ("OK",)
    drop_entry(s, entry, stream_of(scene, run, rid, entry))
    put(s, rid, entry="G")
    s["room:" + room] = tuple(sorted((*s["room:" + room], (score, rid))))
    let_in(scene, s, room)
    return ("STALE",)


def pause_queue(scene: Scene, s: State, queue: str) -> tuple[str, ...]:
    if is_paused(s, queue):
        return ("DONE",)
    s["gates"] |= {("p" + queue, 1)}
    return ("OK",)


def resume_queue(scene: Scene, s: State, queue: str) -> tuple[str, ...]:
    if not is_paused(s, queue):
        return ("DONE",)
    s["gates"] -= {("p" + queue, 1)}
    if limit_of(s, queue) is not None and scene.has("going on lets in"):
        let_in(scene, s, queue)
    return ("OK",)


def limit_queue(scene: Scene, s: State, queue: str, limit: int) -> tuple[str, ...]:
    before = limit_of(s, queue)
    if before == limit or (before is None and limit == 0):
        return ("DONE",)
    s["gates"] = frozenset(pair for pair in s["gates"] if pair[0] != "l" + queue) | {("l" + queue, limit)}
    let_in(scene, s, queue)
    return ("OK",)
