"""The scripts of those who do not own the run: cancels, ends from outside, events, retries, walks, expiry."""

from __future__ import annotations

from typing import Any

from .family import finish_run
from .keys import add_entry, add_nudge, assign, deliver, drop_entry, is_over, lookup, put, queue_of
from .room import leave_room, open_room
from .store import settled_stream
from .words import Broken, Scene, State

Reply = tuple[str, ...]


def _end_from_outside(scene: Scene, s: State, rid: str, status: str, parents_owner: str, **more: Any) -> None:
    run = s["run:" + rid]
    stream = settled_stream(scene, s, rid)
    room = open_room(s, queue_of(scene, rid), run.entry)
    nudges = run.status == "running" and run.owner and s["worker:" + run.owner] is not None
    finish_run(scene, s, rid, status, parents_owner, **more)
    if stream:
        drop_entry(s, run.entry, stream)
    if nudges:
        add_nudge(s, rid, "worker:" + run.owner)
    if room and scene.has("an end from outside frees the slot"):
        leave_room(scene, s, room, rid)


def cancel_run(
    scene: Scene, s: State, rid: str, token: str, owner: str, parents_owner: str, walk: str = "", cause: Any = None
) -> Reply:
    """Marks a run as cancelled: one that never started ends at once, another is told and ends by itself."""
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    if run.cancel_token == token:
        if walk == "c" + rid and scene.has("a cancel takes its walk out"):
            assign(s, "walks", walk, None)
        return ("OK",)
    if walk and lookup(s["walks"], walk) is None and scene.has("a walk cancels the life it was for"):
        return ("DONE",)
    is_done = is_over(run) or run.cancel_at > 0
    if run.owner != owner and not is_done:
        return ("RETRY",)
    if walk == "c" + rid and scene.has("a cancel takes its walk out"):
        assign(s, "walks", walk, None)
    if is_done:
        return ("DONE",)
    if walk[:1] == "c" and cause[1] < run.asker[0]:
        raise Broken(f"life {run.asker[0]} of {cause[0]} has {rid} cancelled because life {cause[1]} gave it up")
    has_walk = run.kids > 0 and scene.has("the cascade is durable work")
    if not run.started:
        _end_from_outside(
            scene, s, rid, "cancelled", parents_owner, cancel_token=token, cancel_kids=run.kids, cancel_at=0
        )
        if has_walk:
            assign(s, "walks", "x" + rid, 0)
        s["promised"] |= {rid}
        return ("OK",)
    assign(s, "timers", "g" + rid, "grace")
    if has_walk:
        assign(s, "walks", "x" + rid, 0)
    deliver(
        scene, s, rid, run.owner, ("cancel",), cancel_token=token, cancel_at=run.mail + 1, cancel_kids=run.kids,
        grace="grace",
    )  # fmt: skip
    s["promised"] |= {rid}
    return ("OK",)


def settle_run(scene: Scene, s: State, rid: str, cause: str, token: str, owner: str, parents_owner: str) -> Reply:
    """Ends a run that its owner does not end: terminated, or its cancel's grace over."""
    run = s["run:" + rid]
    if run is None or is_over(run):
        if cause == "grace":
            assign(s, "timers", "g" + rid, None)
        if run is not None and token and run.ended_by == token:
            return ("OK",)
        return ("DONE",) if run is not None else ("GONE",)
    if run.owner != owner:
        return ("RETRY",)
    if cause == "grace" and not run.grace:
        assign(s, "timers", "g" + rid, None)
        return ("DONE",)
    _end_from_outside(scene, s, rid, "cancelled", parents_owner, ended_by=token, cancel_kids=run.kids)
    if run.kids > 0:
        assign(s, "walks", ("t" if cause == "terminate" else "x") + rid, 0)
    return ("OK",)


def send_event(scene: Scene, s: State, rid: str, name: str, token: str, owner: str) -> Reply:
    """Puts an event into a run's inbox, once in its life."""
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    if (rid, token) in s["events"]:
        return ("OK",)
    if is_over(run):
        return ("DONE",)
    if run.owner != owner:
        return ("RETRY",)
    s["events"] |= {(rid, token)}
    deliver(scene, s, rid, run.owner, ("event", name))
    return ("OK",)


def retry_run(scene: Scene, s: State, rid: str, token: str) -> Reply:
    """Takes a failed run up again: its failure is void, its journal goes on behind it."""
    run = s["run:" + rid]
    if run is None:
        return ("GONE",)
    if run.retried_by == token:
        return ("OK",)
    if run.status != "failed":
        return ("DONE",)
    s["journal:" + rid] += (("V",),)
    for letter in "exo":
        if letter != "e" or scene.has("a retry keeps the tree"):
            assign(s, "walks", letter + rid, None)
    if run.kids > 0 and scene.has("a retry keeps the tree"):
        assign(s, "walks", "p" + rid, 0)
    s["lives:" + rid] += 1
    s["kids-ttl:" + rid] = False
    put(
        s, rid, status="ready", gen=run.gen + 1, taken=run.mail, retried_by=token, cancel_at=0, cancel_kids=0,
        cancel_token="", ended_by="", grace="", notify=False, started=run.started,
        has_ttl=run.has_ttl and not scene.has("a retry keeps the run"),
        entry=add_entry(s, rid, "Q", "queue:" + queue_of(scene, rid)),
    )  # fmt: skip
    s["promised"] -= {rid}
    return ("OK",)


def advance_walk(scene: Scene, s: State, item: str, cursor: Any, following: Any) -> Reply:
    """Moves a walk on after its chunk has been done, or ends it."""
    found = lookup(s["walks"], item)
    # Of a cancel the cursor is its reason, which is the same for every life.
    if found != cursor and (item[0] != "c" or found is None or found[0] != cursor[0]):
        return ("STALE",)
    assign(s, "walks", item, following)
    return ("OK",)


def expire_children(scene: Scene, s: State, item: str, cursor: Any, following: Any, ids: tuple[str, ...]) -> Reply:
    """One chunk of the walk over an ended run's children: those that have ended get their time to live."""
    if lookup(s["walks"], item) != cursor:
        return ("STALE",)
    run = s["run:" + item[1:]]
    if run is not None and not is_over(run) and scene.has("a walk looks whether its run lives"):
        assign(s, "walks", item, None)
        return ("DONE",)
    for id in ids:
        child = s["run:" + id]
        if child is not None and is_over(child):
            if child.kids > 0:
                assign(s, "walks", "e" + id, 0)
            put(s, id, has_ttl=True)
    if scene.has("what keeps a tree is void when it ends again"):
        assign(s, "walks", "p" + item[1:], None)
    assign(s, "walks", item, following)
    if following is None:
        s["kids-ttl:" + item[1:]] = True
    return ("OK",)


def persist_children(scene: Scene, s: State, item: str, cursor: Any, following: Any, ids: tuple[str, ...]) -> Reply:
    """One chunk of the walk over the children of a run that was taken up again: they lose their time to live."""
    if lookup(s["walks"], item) != cursor:
        return ("STALE",)
    for id in ids:
        child = s["run:" + id]
        assign(s, "walks", "e" + id, None)
        s["kids-ttl:" + id] = False
        if child is not None:
            put(s, id, has_ttl=False)
            if child.kids > 0:
                assign(s, "walks", "p" + id, 0)
    assign(s, "walks", item, following)
    return ("OK",)


def purge_index(scene: Scene, s: State, ids: tuple[str, ...]) -> Reply:
    """Takes the runs out of the index whose records have expired."""
    gone = {id for id in ids if s["run:" + id] is None or not scene.has("a purge looks again")}
    s["index"] -= gone
    return ("OK",)


def close_worker(scene: Scene, s: State, worker: str) -> Reply:
    """Removes the empty stream of a worker that left or died."""
    if s["worker:" + worker] and scene.has("only an empty stream is removed"):
        return ("RETRY",)
    s["worker:" + worker] = None
    return ("OK",)
