"""Everybody but the workers' intake and runner: callers from outside, time and timers, walks, the reaper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .family import start_run
from .keys import add_entry, assign, find_item, is_over, lookup, put, queue_of, stream_of
from .outside import (
    advance_walk,
    cancel_run,
    close_worker,
    expire_children,
    persist_children,
    purge_index,
    retry_run,
    send_event,
    settle_run,
)
from .room import limit_queue, pause_queue, resume_queue
from .store import fire_timer, release_entry
from .words import Scene, State

Move = tuple[str, Callable[[State], Any], bool]
"""What is done, how it changes a state, and whether it is an accident."""


EMPTY = "only an empty stream is removed"


def spend(s: State, fault: str) -> None:
    assign(s, "budget", fault, (lookup(s["budget"], fault) or 0) - 1 or None)


def has_left(s: State, fault: str) -> bool:
    return bool(lookup(s["budget"], fault))


def standing(scene: Scene, s: State, rid: str) -> tuple[str, str] | None:
    """What a caller must have read of a run before it may speak to it: its owner's name, and its parent's."""
    run, parent = s["run:" + rid], scene.parent.get(rid)
    above = s["run:" + parent] if parent else None
    return None if run is None else (run.owner, above.owner if above is not None else "")


# ---------------------------------------------------------------------- callers from outside


def callers(scene: Scene, s: State) -> Iterator[Move]:
    """Clients and operators, each with a list of calls to make one after the other."""
    for number, calls in enumerate(scene.calls):
        at, read = s[f"op:{number}"]
        if scene.faults.get("tail") and at == len(calls) and (gone := _lost_event(scene, s, number)) is not None:
            yield (
                f"caller: sends again what was lost, {calls[gone][2]}",
                lambda n, i=number, g=gone: n.update({f"op:{i}": (g, None)}),
                False,
            )
        if at == len(calls) or not _is_time(s, calls[at]):
            continue
        call = calls[at]
        told = " ".join(map(str, call))
        if call[0] in ("cancel", "terminate", "event") and read is None:
            yield f"caller reads for {told}", lambda n, i=number, c=call: _caller_reads(scene, n, i, c), False
            continue
        if call[0] == "purge" and read is None:
            yield "the purger reads the index", lambda n, i=number: _purger_reads(scene, n, i), False
            continue
        yield f"caller: {told}", lambda n, i=number, c=call: _caller_calls(scene, n, i, c), False
        if has_left(s, "lost"):
            yield (
                f"caller: {told}, REPLY LOST",
                lambda n, i=number, c=call: (spend(n, "lost"), _caller_calls(scene, n, i, c, is_lost=True))[1],
                True,
            )
        if has_left(s, "late"):
            yield f"caller: {told} IS LATE, sent again", lambda n, i=number, c=call: _is_late(n, i, c), True
    for one in sorted(s["late"], key=repr):
        if one[0] == "op":
            yield (
                f"LATE: {' '.join(map(str, one[1][1]))}",
                lambda n, one=one: _late_caller(scene, n, one),
                False,
            )


def _lost_event(scene: Scene, s: State, number: int) -> int | None:
    """Which event of this caller the server has lost that had accepted it: whoever needs it sends it again."""
    for at, call in enumerate(scene.calls[number]):
        if call[0] == "event" and (call[1], f"{number}.{at}") not in s["events"]:
            run = s["run:" + call[1]]
            if run is not None and not is_over(run):
                return at
    return None


def _is_time(s: State, call: tuple[Any, ...]) -> bool:
    if call[0] == "retry":
        return s["run:" + call[1]] is not None and s["run:" + call[1]].status == "failed"
    if call[0] == "start":
        return s["run:" + call[1]] is None or is_over(s["run:" + call[1]])
    return True


def _caller_reads(scene: Scene, s: State, number: int, call: tuple[Any, ...]) -> str:
    at, _ = s[f"op:{number}"]
    read = standing(scene, s, call[1])
    if read is None:
        s[f"op:{number}"] = (at + 1, None)
        return "GONE"
    if call[0] == "cancel" and not scene.has("a cascade lists after it has marked"):
        read = (*read, tuple(kid for _, kid in s["kids:" + call[1]]))
    s[f"op:{number}"] = (at, read)
    return ""


def _purger_reads(scene: Scene, s: State, number: int) -> str:
    at, _ = s[f"op:{number}"]
    ids = tuple(sorted(s["index"]))
    if not scene.has("a purge looks again"):
        ids = tuple(id for id in ids if s["run:" + id] is None)
    s[f"op:{number}"] = (at, ids)
    return ""


def _caller_calls(scene: Scene, s: State, number: int, call: tuple[Any, ...], *, is_lost: bool = False) -> str:
    at, read = s[f"op:{number}"]
    answer = call_outside(scene, s, call, f"{number}.{at}", read)
    if not is_lost:
        s[f"op:{number}"] = (at, None) if answer == "RETRY" else (at + 1, None)
    if call[0] == "cancel" and answer == "OK" and not scene.has("the cascade is durable work"):
        kids = tuple(kid for _, kid in s["kids:" + call[1]]) if len(read) == 2 else read[2]
        s["walker"] = ("x" + call[1], 0, kids, None, None)
    return answer


def call_outside(scene: Scene, s: State, call: tuple[Any, ...], token: str, read: Any) -> str:
    """One call from outside; `read` is what its caller had read before."""
    kind, name = call[0], call[1] if len(call) > 1 else ""
    if kind == "cancel":
        return cancel_run(scene, s, name, token, *read[:2])[0]
    if kind == "terminate":
        return settle_run(scene, s, name, "terminate", token, *read)[0]
    if kind == "event":
        return send_event(scene, s, name, call[2], token, read[0])[0]
    if kind == "retry":
        return retry_run(scene, s, name, token)[0]
    if kind == "start":
        return start_run(scene, s, name, token)[0]
    if kind == "pause":
        return pause_queue(scene, s, name)[0]
    if kind == "resume":
        return resume_queue(scene, s, name)[0]
    if kind == "limit":
        return limit_queue(scene, s, name, call[2])[0]
    return purge_index(scene, s, read)[0]


def _is_late(s: State, number: int, call: tuple[Any, ...]) -> None:
    spend(s, "late")
    at, read = s[f"op:{number}"]
    s["late"] |= {("op", (f"{number}.{at}", call, read))}


def _late_caller(scene: Scene, s: State, one: Any) -> str:
    token, call, read = one[1]
    s["late"] -= {one}
    return call_outside(scene, s, call, token, read)


# ---------------------------------------------------------------------- time


def time(scene: Scene, s: State) -> Iterator[Move]:
    """Times pass, timers fire, what has a time to live goes away."""
    pending = {(item[1:], due) for item, due in s["timers"] if item[0] in "wd"} - s["passed"]
    for rid, due in sorted(pending):
        yield f"time passes: {due} of {rid}", lambda n, pair=(rid, due): n.update(passed=n["passed"] | {pair}), False
    if s["runner"] is None:
        for member, due in sorted(s["timers"]):
            if (member[1:], due) in s["passed"] or (member[0] == "g" and scene.grace):
                yield f"timers: {member} is due", lambda n, m=member: _runner_reads(scene, n, m), False
    else:
        yield f"timers: fire {s['runner'][0]}", lambda n: _runner_fires(scene, n), False
        if has_left(s, "lost"):
            yield (
                f"timers: fire {s['runner'][0]}, REPLY LOST",
                lambda n: (spend(n, "lost"), _runner_fires(scene, n, is_lost=True))[1],
                True,
            )
    for rid in scene.programs if scene.expires else ():
        run = s["run:" + rid]
        if run is not None and is_over(run) and run.has_ttl:
            yield f"time passes: {rid} expires", lambda n, id=rid: _expire(n, id), False
        if run is None and s["kids-ttl:" + rid] and s["kids:" + rid]:
            yield (
                f"time passes: the list of children of {rid} expires",
                lambda n, id=rid: n.update({"kids:" + id: (), "kids-ttl:" + id: False}),
                False,
            )


def _expire(s: State, rid: str) -> None:
    s["run:" + rid] = None
    s["journal:" + rid] = ()
    s["events"] = frozenset(pair for pair in s["events"] if pair[0] != rid)
    s["promised"] -= {rid}


def _runner_reads(scene: Scene, s: State, member: str) -> None:
    s["runner"] = (member, standing(scene, s, member[1:]))


def _runner_fires(scene: Scene, s: State, *, is_lost: bool = False) -> str:
    member, read = s["runner"]
    if member[0] == "g" and read is not None:
        answer = settle_run(scene, s, member[1:], "grace", "", *read)[0]
    else:
        answer = fire_timer(scene, s, member, read[0] if read else "")[0]
    if not is_lost:
        s["runner"] = None
    return answer  # type: ignore[no-any-return]


# ---------------------------------------------------------------------- walks


def walks(scene: Scene, s: State) -> Iterator[Move]:
    """Walkers: durable work over children, a chunk at a time."""
    names = ("walker", "walker2") if scene.faults.get("walkers") else ("walker",)
    for name in names:
        walk = s[name]
        if walk is None:
            if name == "walker2" and not has_left(s, "walkers"):
                continue
            for item, cursor in sorted(s["walks"], key=repr):
                yield (
                    f"{name}: looks at walk {item}",
                    lambda n, w=name, i=item, c=cursor: _walker_looks(scene, n, w, i, c),
                    name == "walker2",
                )
            continue
        yield f"{name}: {_said(walk)}", lambda n, w=name: _walker_goes(scene, n, w), False
        if has_left(s, "walker dies"):
            yield (
                f"{name} DIES over walk {walk[0]}",
                lambda n, w=name: (spend(n, "walker dies"), n.update({w: None}))[1],
                True,
            )
        if walk[0][0] == "x" and has_left(s, "caller dies") and not scene.has("the cascade is durable work"):
            yield "THE CALLER DIES", lambda n, w=name: (spend(n, "caller dies"), n.update({w: None}))[1], True


def _said(walk: Any) -> str:
    item, _, todo, _, read = walk
    if todo and item[0] not in "ep":
        return f"walk {item}: {'cancel' if read else 'read'} {todo[0]}"
    return f"walk {item}: on"


def _walker_looks(scene: Scene, s: State, name: str, item: str, cursor: Any) -> None:
    if name == "walker2":
        spend(s, "walkers")
    letter, rid = item[0], item[1:]
    run = s["run:" + rid]
    if letter == "c":
        s[name] = (item, cursor, (rid,), None, None)
    elif letter in "ep":
        ids = tuple(kid for _, kid in s["kids:" + rid][cursor : cursor + scene.chunk])
        s[name] = (item, cursor, ids, cursor + scene.chunk if len(ids) == scene.chunk else None, None)
    elif run is None or (letter == "t" and run.status != "cancelled"):
        s[name] = (item, cursor, (), None, None)
    else:
        last = min(cursor + scene.chunk, run.cancel_kids)
        ids = tuple(kid for number, kid in s["kids:" + rid] if cursor < number <= last)
        s[name] = (item, cursor, ids, last if last < run.cancel_kids else None, None)


def _walker_goes(scene: Scene, s: State, name: str) -> str:
    item, cursor, todo, following, read = s[name]
    if item[0] in "ep":
        s[name] = None
        act = expire_children if item[0] == "e" else persist_children
        return act(scene, s, item, cursor, following, todo)[0]
    if not todo:
        s[name] = None
        return advance_walk(scene, s, item, cursor, following)[0]
    if read is None:
        read = standing(scene, s, todo[0])
        s[name] = (item, cursor, todo if read else todo[1:], following, read)
        return "" if read else "GONE"
    if item[0] == "t":
        answer = settle_run(scene, s, todo[0], "terminate", "walk:" + item, *read)[0]
    else:
        walk = item if scene.has("the cascade is durable work") or item[0] == "c" else ""
        answer = cancel_run(scene, s, todo[0], "walk:" + item, *read, walk=walk, cause=cursor)[0]
    s[name] = (item, cursor, todo if answer == "RETRY" else todo[1:], following, None)
    if item[0] == "c" and answer in ("OK", "DONE") and scene.has("a cancel takes its walk out"):
        s[name] = None
    return answer


# ---------------------------------------------------------------------- the reaper


def reaper(scene: Scene, s: State) -> Iterator[Move]:
    """Puts back what a dead worker holds; by mistake also what a frozen one holds."""
    for worker in scene.workers:
        state = s["up:" + worker]
        is_mistake = state == "up"
        if state == "cleared" and not scene.has("dead workers are looked for at every sweep"):
            continue
        if is_mistake and not has_left(s, "freeze"):
            if has_left(s, "closed alive") and s["worker:" + worker] == ():
                yield (
                    f"reaper: removes the stream of {worker}, WHICH LIVES",
                    lambda n, w=worker: (spend(n, "closed alive"), close_worker(scene, n, w))[1][0],
                    True,
                )
            continue
        # One that was cleared away has no heartbeat any more: its consumers are still found, its stream is not.
        own = [] if state == "cleared" else ["worker:" + worker]
        streams = [*own, *("queue:" + queue for queue in scene.queues)]
        found = [
            (stream, item)
            for stream in streams
            for item in s[stream] or ()
            if item.by == worker or (stream in own and not is_mistake)
        ]
        for stream, item in found:
            yield (
                f"reaper: {item.id} of {worker}{', WHICH LIVES' if is_mistake else ''}",
                lambda n, st=stream, it=item, bad=is_mistake: _reap(scene, n, st, it, bad),
                is_mistake,
            )
        if state == "dead" and s["worker:" + worker] is not None and not (found and scene.has(EMPTY)):
            yield f"reaper: removes the stream of {worker}", lambda n, w=worker: _clear(scene, n, w), False


def _reap(scene: Scene, s: State, stream: str, item: Any, is_mistake: bool) -> str:
    if is_mistake:
        spend(s, "freeze")
    name = ("W" if stream.startswith("worker") else "Q") + item.id
    return release_entry(scene, s, item.run, stream, name, is_crash=item.kind == "r")[0]  # type: ignore[no-any-return]


def _clear(scene: Scene, s: State, worker: str) -> str:
    answer = close_worker(scene, s, worker)[0]
    if answer == "OK":
        s["up:" + worker] = "cleared"
    return answer


# ---------------------------------------------------------------------- the sweeper


def sweeper(scene: Scene, s: State) -> Iterator[Move]:
    """Mends what a server leaves behind that came back without its last writes: the ack of a write that is lost takes
    away the entry that counts. Only then: everything else must be right without it."""
    for rid in scene.programs if scene.faults.get("tail") else ():
        run = s["run:" + rid]
        if run is None or run.status not in ("ready", "running") or run.entry == "G":
            continue
        if find_item(s, stream_of(scene, run, rid, run.entry), run.entry) is None:
            yield f"sweeper: the entry of {rid} is gone, it gets another", lambda n, r=rid: _mend(scene, n, r), False


def _mend(scene: Scene, s: State, rid: str) -> None:
    run = s["run:" + rid]
    entry = add_entry(s, rid, "Q", "queue:" + queue_of(scene, rid))
    put(s, rid, status="ready", entry=entry, epoch=run.epoch + (run.status == "running"))
