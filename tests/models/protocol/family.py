"""Children of a commit (lib/family), creation (lib/create), the end of a run (lib/finish), a renewal (lib/renew)."""

from __future__ import annotations

from typing import Any, NamedTuple

from .keys import add_entry, assign, deliver, is_over, lookup, put, queue_of
from .words import Broken, Commit, Run, Scene, State


class NewChild(NamedTuple):
    """What becomes of a child that a commit asks for."""

    name: str
    notify: bool
    fate: str
    gen: int
    kids: int
    life: int
    asker: tuple[int, int]
    may_join: bool


def create_run(scene: Scene, s: State, rid: str, life: int, **fields: Any) -> None:
    """Writes a new run: its record, the first line of its journal, its entry."""
    s["run:" + rid] = Run("ready", entry=add_entry(s, rid, "Q", "queue:" + queue_of(scene, rid)), **fields)
    s["journal:" + rid] = (("S", life),)
    s["inbox:" + rid] = ()
    s["passed"] = frozenset(pair for pair in s["passed"] if pair[0] != rid)
    s["promised"] -= {rid}
    s["index"] |= {rid}


def start_run(scene: Scene, s: State, rid: str, token: str) -> tuple[str, ...]:
    if s["run:" + rid] is not None:
        return ("OK",) if s["run:" + rid].ended_by == "start" + token else ("EXISTS", s["run:" + rid].status)
    s["lives:" + rid] += 1
    create_run(scene, s, rid, 0)
    return ("OK",)


def decide_child(scene: Scene, s: State, run: Run, ask: tuple[Any, ...], awaits: tuple[str, ...]) -> NewChild:
    """What becomes of one new child: see lib/family."""
    _, name, creation, notify, mode, life = ask
    found = s["run:" + name]
    asker = (run.gen, creation)
    keeps = "k" in mode
    is_unborn = run.cancel_at > 0 and "c" not in mode and scene.has("a child of a cancelled run is born cancelled")

    notify = notify or name in awaits

    def fate(what: str) -> NewChild:
        gen = found.gen + 1 if found else 1
        kids = found.kids if found and scene.has("a child that is run again keeps its list") else 0
        return NewChild(name, notify, what, gen, kids, life, asker, keeps)

    if found and not is_over(found):
        is_doomed = found.cancel_at > 0 or (
            lookup(s["walks"], "c" + name) is not None and scene.has("a join looks at walks")
        )
        joins = keeps and not is_doomed
        if found.pgen == run.gen or joins or not scene.has("an occupied id is waited for"):
            return fate("join")
        return fate("refuse" if is_unborn else "wait")
    if found and found.status == "completed" and keeps:
        return fate("keep")
    return fate("bury" if is_unborn else "create")


def tells_of(scene: Scene, s: State, run: Run, new: list[NewChild], awaits: tuple[str, ...]) -> list[Any]:
    """What a commit has to say to the run itself: pairs of item and who is answered."""
    tells: list[Any] = []
    for child in awaits:
        record = s["run:" + child]
        if any(one.name == child for one in new):
            continue
        if record is None:
            tells.append((("child", child, "cancelled"), (run.gen, 0)))
        elif not record.notify and is_over(record):
            tells.append((("child", child, record.status), record.asker))
    for one in new:
        if one.fate == "wait":
            tells.append((("occupied", one.name), one.asker))
        elif one.notify and one.fate in ("bury", "refuse"):
            tells.append((("child", one.name, "cancelled"), one.asker))
        elif one.notify and one.fate == "keep":
            tells.append((("child", one.name, "completed"), one.asker))
    return tells


def write_family(
    scene: Scene, s: State, rid: str, worker: str, new: list[NewChild], awaits: tuple[str, ...], kids: int
) -> None:
    """Writes what has been decided."""
    run = s["run:" + rid]
    for one in new:
        fields: dict[str, Any] = {"pgen": run.gen, "notify": one.notify, "hint": worker, "asker": one.asker}
        if one.fate in ("create", "bury"):
            _check_new(s, one, rid)
            if scene.has("a walk is void for a new life"):
                assign(s, "walks", "c" + one.name, None)
        if one.fate == "create":
            create_run(scene, s, one.name, one.life, gen=one.gen, kids=one.kids, **fields)
        elif one.fate == "bury":
            s["run:" + one.name] = Run("cancelled", gen=one.gen, kids=one.kids, **fields)
            s["journal:" + one.name] = (("S", one.life), ("Z", "cancelled"))
            s["inbox:" + one.name] = ()
            s["index"] |= {one.name}
        elif one.fate == "join":
            # What was asked of it by an earlier life is not asked by this one.
            if s["run:" + one.name].pgen != run.gen and not one.may_join:
                del fields["asker"]
            forgets = scene.has("a child adopted forgets who awaited it")
            put(s, one.name, **fields | ({} if forgets or one.notify else {"notify": s["run:" + one.name].notify}))
        elif one.fate == "keep":
            put(s, one.name, asker=one.asker)
            if scene.has("a child adopted forgets who awaited it"):
                put(s, one.name, notify=one.notify)
        elif one.fate == "wait":
            put(s, one.name, notify=True, pgen=run.gen, hint=worker)
        if one.fate != "refuse":
            kids += 1
            if kids == 1:
                s["kids-ttl:" + rid] = False
            old = tuple(pair for pair in s["kids:" + rid] if pair[1] != one.name) if kids > 1 else ()
            s["kids:" + rid] = tuple(sorted((*old, (kids, one.name))))
            s["index"] |= {one.name}
    for child in awaits:
        if s["run:" + child] is not None and not s["run:" + child].notify:
            put(s, child, notify=True, hint=worker)


def _check_new(s: State, one: NewChild, rid: str) -> None:
    if s["run:" + one.name] is not None and not is_over(s["run:" + one.name]):
        raise Broken(f"child {one.name} is created while it lives")
    born = (one.name, s["run:" + rid].gen, one.asker[1], s["lives:" + rid])
    if born in s["born"]:
        raise Broken(f"child {one.name} is created twice by one call")
    s["born"] |= {born}


def finish_run(scene: Scene, s: State, rid: str, status: str, hint: str, **more: Any) -> str:
    """The one way in which a run becomes terminal; whom to nudge elsewhere."""
    run = s["run:" + rid]
    if is_over(run):
        raise Broken(f"second terminal write of {rid}: {status} after {run.status}")
    if rid in s["promised"] and status != "cancelled":
        raise Broken(f"a cancel of {rid} was promised, and it ends {status}")
    parent, elsewhere = scene.parent.get(rid), ""
    told = s["run:" + parent] if parent else None
    expires = told is None or (is_over(told) and told.has_ttl)
    s["journal:" + rid] += (("Z", status),)
    s["inbox:" + rid] = ()
    for letter in "wdg":
        assign(s, "timers", letter + rid, None)
    put(s, rid, status=status, entry="", has_ttl=expires, **more)
    if expires and run.kids > 0:
        assign(s, "walks", "e" + rid, 0)
    is_asked = told is not None and (told.gen == run.pgen or not scene.has("an end tells only the life that asked"))
    if parent and told and run.notify and is_asked and not is_over(told):
        if told.gen != run.pgen:
            raise Broken(f"the end of {rid} is told to another life of {parent} than asked for it")
        is_declared = told.owner != "" and told.owner == hint
        if told.status == "running" and not is_declared and not told.nudged:
            elsewhere = told.owner
        if scene.has("an end tells the parent"):
            deliver(scene, s, parent, hint if is_declared else "", ("child", rid, status), run.asker)
    return elsewhere


def renew_run(scene: Scene, s: State, rid: str, c: Commit, **more: Any) -> None:
    """Begins another life of a run, from a fresh journal."""
    run = s["run:" + rid]
    s["journal:" + rid] = (("S", c.life), *(("R", "carry", name) for name in c.carried))
    s["inbox:" + rid] = ()
    s["lives:" + rid] += 1
    assign(s, "timers", "w" + rid, None)
    if c.want == "retry":
        due = f"d.{c.life}"
        assign(s, "timers", "d" + rid, due)
        put(s, rid, status="delayed", timer=due, entry="", gen=run.gen + 1, started=False, **more)
    else:
        entry = add_entry(s, rid, "Q", "queue:" + queue_of(scene, rid))
        put(s, rid, status="ready", timer="", entry=entry, gen=run.gen + 1, started=False, **more)
