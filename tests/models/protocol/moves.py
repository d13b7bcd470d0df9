"""Every move that is possible in a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .keys import lookup, passed_of
from .others import Move, callers, has_left, reaper, spend, sweeper, time, walks
from .words import Call, Held, Item, Scene, State
from .workers import Worker

KEPT = (
    "run:", "journal:", "inbox:", "kids", "queue:", "worker:", "timers", "walks", "gates", "room:", "slots:",
    "promised", "born", "events", "index", "lives:",
)  # fmt: skip
"""What a server that comes back without its last writes is without."""


def moves(scene: Scene, s: State) -> Iterator[Move]:
    """What may happen next."""
    for name in scene.workers:
        if s["up:" + name] == "up":
            yield from _worker(scene, s, name)
        elif has_left(s, "late read"):
            yield from _late_reads(scene, s, name)
    yield from callers(scene, s)
    yield from time(scene, s)
    yield from walks(scene, s)
    yield from reaper(scene, s)
    yield from sweeper(scene, s)
    yield from _accidents(scene, s)


# ---------------------------------------------------------------------- workers


def _worker(scene: Scene, s: State, name: str) -> Iterator[Move]:
    yield from _reads(scene, s, name)
    yield from _own_pending(scene, s, name)
    if s["worker:" + name] is None:
        yield f"{name} makes its stream anew", lambda n: _make_stream(scene, n, name), False
    seen = {g for g in s["known:" + name] if isinstance(g, str)}
    if seen != {gate[0] for gate in s["gates"]}:
        yield f"{name} looks at the gates", lambda n: _look(n, name), False
    for at, call in enumerate(s["calls:" + name]):
        yield from _call(scene, s, name, call, at)
    for rid in scene.programs:
        resident = s[f"mem:{name}:{rid}"]
        if resident is None:
            continue
        if resident.out is not None:
            yield from _call(scene, s, name, resident.out, None)
        worker = Worker(scene, s, name)
        for step in sorted(x for x in resident.busy if f"{rid}.{x}" not in scene.hung):
            yield (
                f"{name}: step {step} of {rid} is done",
                lambda n, r=rid, x=step: Worker(scene, n, name).step_done(r, x),
                False,
            )
        timer = "" if resident.parked else worker.body(rid, resident).timer
        if timer in passed_of(s, rid):
            yield f"{name}: {timer} of {rid} is due", lambda n, r=rid: Worker(scene, n, name).tick(r), False
        elif timer and lookup(s["timers"], "w" + rid) != timer:
            yield (
                f"time passes: {timer} of {rid}",
                lambda n, r=rid, t=timer: n.update(passed=n["passed"] | {(r, t)}),
                False,
            )
        if worker.is_in_doubt(rid, resident):
            yield f"{name} looks back at {rid}", lambda n, r=rid: Worker(scene, n, name).nudged(r), False
        if resident.parked and has_left(s, "evict"):
            yield f"{name} FORGETS the parked {rid}", lambda n, r=rid: _drop(n, name, r, "evict"), True
        if not resident.parked and has_left(s, "let go"):
            yield f"{name} LETS {rid} GO: no heartbeat", lambda n, r=rid: _drop(n, name, r, "let go"), True


def _make_stream(scene: Scene, s: State, name: str) -> None:
    s["worker:" + name] = ()
    if scene.has("who had no stream looks for messages"):
        Worker(scene, s, name).missed_nudges()


def _look(s: State, name: str) -> None:
    early = {g for g in s["known:" + name] if not isinstance(g, str)}
    s["known:" + name] = frozenset(early | {gate[0] for gate in s["gates"]})


def _drop(s: State, name: str, rid: str, fault: str) -> None:
    spend(s, fault)
    resident = s[f"mem:{name}:{rid}"]
    if resident.out is not None and resident.out.reply is None:
        s["late"] |= {(name, resident.out)}
    s[f"mem:{name}:{rid}"] = None


def _streams(scene: Scene, s: State, name: str) -> list[str]:
    served = scene.serves.get(name, scene.queues)
    open_queues = [queue for queue in served if "p" + queue not in s["known:" + name]]
    return ["worker:" + name, *("queue:" + queue for queue in open_queues)]


def _first(s: State, stream: str) -> Item | None:
    return next((item for item in s[stream] or () if not item.by), None)


def _deliver(s: State, stream: str, item: Item, name: str) -> None:
    s[stream] = tuple(one._replace(by=name) if one is item or one == item else one for one in s[stream])


def _held(stream: str, item: Item) -> Held:
    return Held(stream, ("W" if stream.startswith("worker") else "Q") + item.id, item.run)


def _is_untouched(scene: Scene, s: State, name: str) -> bool:
    is_idle = not s["calls:" + name] and s["worker:" + name] == () and s["up:" + name] == "up"
    return is_idle and all(s[f"mem:{name}:{rid}"] is None for rid in scene.programs)


def _reads(scene: Scene, s: State, name: str) -> Iterator[Move]:
    others = scene.workers[: scene.workers.index(name)]
    if others and not any(s["owners:" + rid] for rid in scene.programs):
        streams = ["queue:" + queue for queue in scene.queues]
        is_first = not any(item.by for stream in streams for item in s[stream])
        if is_first and all(_is_untouched(scene, s, one) for one in scene.workers):
            return  # workers differ by their names only, until one of them has read something
    for stream in _streams(scene, s, name):
        item = _first(s, stream)
        if item is None:
            continue
        yield (
            f"{name} reads {item.id} from {stream}",
            lambda n, st=stream, it=item: _read(scene, n, name, st, it),
            False,
        )
        if has_left(s, "strand"):
            yield (
                f"{name} reads {item.id} from {stream}, REPLY LOST",
                lambda n, st=stream, it=item: (spend(n, "strand"), _deliver(n, st, it, name))[1],
                True,
            )
        if item.kind == "r" and stream.startswith("worker") and has_left(s, "full"):
            yield (
                f"{name} reads {item.id} from {stream}, HAS NO SLOT",
                lambda n, st=stream, it=item: _read_full(scene, n, name, st, it),
                True,
            )


def _read(scene: Scene, s: State, name: str, stream: str, item: Item) -> None:
    _deliver(s, stream, item, name)
    worker = Worker(scene, s, name)
    if item.kind == "n":
        worker.ack(_held(stream, item))
        worker.nudged(item.run)
    else:
        worker.take(_held(stream, item))


def _read_full(scene: Scene, s: State, name: str, stream: str, item: Item) -> None:
    spend(s, "full")
    _deliver(s, stream, item, name)
    Worker(scene, s, name).give_back(_held(stream, item))


def _own_pending(scene: Scene, s: State, name: str) -> Iterator[Move]:
    if not scene.has("a worker looks after its own pending entries"):
        return
    known = {(held.stream, held.name) for held in _known(scene, s, name)}
    runs = {held.run for held in _known(scene, s, name)} | {
        rid for rid in scene.programs if s[f"mem:{name}:{rid}"] is not None
    }
    for stream in ("worker:" + name, *("queue:" + queue for queue in scene.queues)):
        for item in s[stream] or ():
            held = _held(stream, item)
            by_run = not scene.has("pending entries are compared by entry") and item.run in runs
            if item.by == name and (stream, held.name) not in known and not by_run:
                yield (
                    f"{name} finds {item.id} pending",
                    lambda n, st=stream, it=item: _read(scene, n, name, st, it),
                    False,
                )


def _known(scene: Scene, s: State, name: str) -> Iterator[Held]:
    for call in s["calls:" + name]:
        yield call.args[-1]
    for rid in scene.programs:
        resident = s[f"mem:{name}:{rid}"]
        if resident is not None:
            yield from resident.deferred
            if resident.held is not None:
                yield resident.held


def _call(scene: Scene, s: State, name: str, call: Call, at: int | None) -> Iterator[Move]:
    """What was sent is executed; what was executed is received, or its reply is lost and it is sent again."""
    what = f"{call.script} of {call.run}"
    if call.script == "commit_run":
        what = f"{_named(call.args)} of {call.run}"
    if call.reply is None:
        yield f"server: {what} by {name}", lambda n: _execute(scene, n, name, call, at), False
        if has_left(s, "late"):
            yield f"{name}: {what} IS LATE, sent again", lambda n: _send_late(n, name, call), True
        return
    yield f"{name} receives {what}", lambda n: _receive(scene, n, name, call, at), False
    if has_left(s, "lost"):
        yield f"{name}: {what}, REPLY LOST, sent again", lambda n: _lose(n, name, call, at), True


def _named(commit: Any) -> str:
    told = [
        "take " + " ".join(map(str, line[1].item)) if line[0] == "T"
        else "drop " + " ".join(map(str, line[1].item)) if line[0] == "D"
        else " ".join(map(str, line[2][:3])) if line[1] == "ask"
        else " ".join(map(str, line[1:]))
        for line in commit.lines
    ]  # fmt: skip
    return f"commit_run #{commit.seq} [{'; '.join(told)}] {commit.want}"


def _change(s: State, name: str, call: Call, at: int | None, into: Call) -> None:
    if at is None:
        resident = s[f"mem:{name}:{call.run}"]
        s[f"mem:{name}:{call.run}"] = resident._replace(out=into)
    else:
        calls = s["calls:" + name]
        s["calls:" + name] = (*calls[:at], into, *calls[at + 1 :])


def _execute(scene: Scene, s: State, name: str, call: Call, at: int | None) -> str:
    reply = Worker(scene, s, name).execute(call)
    _change(s, name, call, at, call._replace(reply=reply))
    return " ".join(str(word) for word in reply[:2] if isinstance(word, str | int))


def _send_late(s: State, name: str, call: Call) -> None:
    spend(s, "late")
    s["late"] |= {(name, call)}


def _lose(s: State, name: str, call: Call, at: int | None) -> None:
    spend(s, "lost")
    _change(s, name, call, at, call._replace(reply=None))


def _receive(scene: Scene, s: State, name: str, call: Call, at: int | None) -> None:
    worker = Worker(scene, s, name)
    if at is None:
        worker.receive(call.run)
    else:
        worker.receive_claim(at)


# ---------------------------------------------------------------------- accidents


def _late_reads(scene: Scene, s: State, name: str) -> Iterator[Move]:
    for stream in ("worker:" + name, *("queue:" + queue for queue in scene.queues)):
        item = _first(s, stream)
        if item is not None:
            yield (
                f"the blocked read of the dead {name} is served {item.id} of {stream}",
                lambda n, st=stream, it=item: (spend(n, "late read"), _deliver(n, st, it, name))[1],
                True,
            )


def _accidents(scene: Scene, s: State) -> Iterator[Move]:
    if has_left(s, "crash") and sum(s["up:" + name] == "up" for name in scene.workers) > 1:
        for name in scene.workers:
            if s["up:" + name] == "up":
                yield f"{name} CRASHES", lambda n, w=name: _crash(scene, n, w), True
    for one in sorted(s["late"], key=repr):
        if one[0] != "op":
            yield (
                f"LATE: {one[1].script} of {one[1].run} by {one[0]}",
                lambda n, one=one: _late(scene, n, one),
                False,
            )
    if has_left(s, "tail") and s["kept"] is None:
        yield "the server has written all so far to its disk", lambda n: n.update(kept=_tail(n)), True
    elif has_left(s, "tail"):
        yield "THE SERVER LOSES ITS LAST WRITES", _restore, True


def _crash(scene: Scene, s: State, name: str) -> None:
    spend(s, "crash")
    s["up:" + name] = "dead"
    s["calls:" + name], s["known:" + name] = (), frozenset()
    for rid in scene.programs:
        s[f"mem:{name}:{rid}"] = None


def _late(scene: Scene, s: State, one: Any) -> str:
    s["late"] -= {one}
    return str(Worker(scene, s, one[0]).execute(one[1])[0])


def _tail(s: State) -> tuple[tuple[str, Any], ...]:
    return tuple((key, value) for key, value in s.items() if key.startswith(KEPT) and not key.startswith("walker"))


def _restore(s: State) -> None:
    spend(s, "tail")
    s.update(dict(s["kept"]))
    s["kept"] = None
