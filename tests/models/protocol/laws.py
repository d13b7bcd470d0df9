"""What must hold in every state, and when all is over. Laws about single transitions are where these are."""

from __future__ import annotations

from .bodies import items_of, surviving
from .keys import find_item, is_over, lookup, queue_of, stream_of
from .room import is_paused, limit_of, slot_of
from .words import Broken, Run, Scene, State
from .workers import body_of

MOST_COMMITS = 30
"""Of one owner of a small run: more of them lead nowhere."""


def check(scene: Scene, s: State) -> None:
    """Raises what is broken."""
    for rid in scene.programs:
        run = s["run:" + rid]
        if run is None:
            continue
        _check_entry(scene, s, rid, run)
        if run.has_ttl and not is_over(run):
            raise Broken(f"{rid} is {run.status} and has a time to live")
        _check_kept(scene, s, rid, run)
        if run.seq > MOST_COMMITS:
            raise Broken(f"{rid} commits without end")
        if run.status == "parked":
            _check_parked(scene, s, rid, run)
        if rid not in s["index"]:
            raise Broken(f"{rid} is not listed")
    for queue in scene.queues:
        if limit_of(s, queue) is not None or s["slots:" + queue] or s["room:" + queue]:
            _check_slots(scene, s, queue)


def _check_kept(scene: Scene, s: State, rid: str, run: Run) -> None:
    parent = scene.parent.get(rid)
    if parent is None or not run.has_ttl or all(kid != rid for _, kid in s["kids:" + parent]):
        return
    above = s["run:" + parent]
    if above is None or above.kids == 0:
        return  # what is listed under its id are the children of a run that has expired
    if not is_over(above) and lookup(s["walks"], "p" + parent) is None:
        raise Broken(f"{rid} has a time to live, its parent is {above.status}, and nobody is to keep it")


def _check_entry(scene: Scene, s: State, rid: str, run: Run) -> None:
    if run.status not in ("ready", "running"):
        if run.entry:
            raise Broken(f"{rid} is {run.status} and names entry {run.entry}")
        return
    if scene.faults.get("tail") or not scene.has("a claim is of the entry that counts"):
        return  # the sweeper mends it: that it does is a matter of coming to the end
    if run.entry == "G":
        queue = queue_of(scene, rid)
        slot = slot_of(s, queue, rid)
        waits = any(pair[1] == rid for pair in s["room:" + queue])
        if waits == (slot is not None):
            raise Broken(f"{rid} is {'twice' if waits else 'not'} in the room that it waits in")
        if slot is not None and find_item(s, "queue:" + queue, slot) is None:
            raise Broken(f"{rid} was let in under {slot}, which is in no stream")
        return
    item = find_item(s, stream_of(scene, run, rid, run.entry), run.entry)
    if item is None:
        raise Broken(f"{rid} is {run.status}, and its entry {run.entry} is in no stream")
    if run.status == "running" and not item.by:
        raise Broken(f"{rid} is running, and its entry {run.entry} is nobody's")


def _check_parked(scene: Scene, s: State, rid: str, run: Run) -> None:
    if run.mail > run.taken or s["inbox:" + rid]:
        raise Broken(f"{rid} is parked, and a message for it waits")
    lines, is_pending = surviving(s["journal:" + rid])
    if is_pending:
        return
    body = body_of(scene.programs[rid], s["journal:" + rid][0][1], items_of(lines))
    for child in body.kids:
        if body.waits_for(child):
            record = s["run:" + child]
            if record is None or is_over(record):
                raise Broken(f"{rid} is parked on {child}, which has ended, and was not told")
            if not record.notify or record.pgen != run.gen:
                raise Broken(f"{rid} is parked on {child}, which would not tell it")
    if body.timer and lookup(s["timers"], "w" + rid) is None:
        raise Broken(f"{rid} is parked until {body.timer}, and no timer would wake it")


def _check_slots(scene: Scene, s: State, queue: str) -> None:
    slots, limit = s["slots:" + queue], scene.limits.get(queue)
    is_steady = all(call[0] != "limit" for calls in scene.calls for call in calls)
    if limit and is_steady and len(slots) > limit:
        raise Broken(f"queue {queue} has {limit} slots, and {len(slots)} are given")
    for rid, entry in slots:
        run = s["run:" + rid]
        if run is None or run.status not in ("ready", "running"):
            raise Broken(f"{rid} is {run.status if run else 'gone'} and has a slot of queue {queue}")
        # Who got another entry by a repair has its slot under the old one until it enters again.
        is_mended = scene.faults.get("tail") and run.status == "ready"
        if run.entry not in (entry, "G") and not is_mended:
            raise Broken(f"{rid} has a slot under {entry}, and its record names {run.entry}")
    for rid in scene.programs:
        run = s["run:" + rid]
        if run is None or queue_of(scene, rid) != queue or run.status != "running":
            continue
        if limit and is_steady and slot_of(s, queue, rid) is None:
            raise Broken(f"{rid} is running without a slot of queue {queue}")


def is_over_all(scene: Scene, s: State) -> bool:
    """Whether everything has come to its end, and nothing is left over."""
    if any(s["run:" + rid] is not None and not is_over(s["run:" + rid]) for rid in scene.programs):
        return False
    streams = [*("queue:" + queue for queue in scene.queues), *("worker:" + name for name in scene.workers)]
    if any(s[stream] for stream in streams) or s["walks"] or s["timers"] or s["late"]:
        return False
    if any(s["room:" + queue] or s["slots:" + queue] or is_paused(s, queue) for queue in scene.queues):
        return False
    return s["runner"] is None and s["walker"] is None and s["walker2"] is None and _is_tidy(scene, s)


def _is_tidy(scene: Scene, s: State) -> bool:
    if not scene.expires:
        return True
    return all(s["run:" + rid] is None and not s["kids:" + rid] for rid in scene.programs)
