"""Small words over a state: records, streams, timers, walks. lib/entry and lib/deliver of the scripts."""

from __future__ import annotations

from typing import Any

from .words import TERMINAL, Item, Message, Run, Scene, State


def put(s: State, rid: str, **changes: Any) -> None:
    """Writes fields of a record."""
    s["run:" + rid] = s["run:" + rid]._replace(**changes)


def lookup(pairs: Any, name: str) -> Any:
    """The value of a name among pairs, or None."""
    for pair in pairs:
        if pair[0] == name:
            return pair[1]
    return None


def assign(s: State, key: str, name: str, value: Any) -> None:
    """Sets the value of a name among pairs; None removes it."""
    rest = frozenset(pair for pair in s[key] if pair[0] != name)
    s[key] = rest if value is None else rest | {(name, value)}


def queue_of(scene: Scene, rid: str) -> str:
    return scene.programs[rid].queue


def is_over(run: Run) -> bool:
    return run.status in TERMINAL


def stream_of(scene: Scene, run: Run, rid: str, entry: str) -> str:
    """The stream in which an entry of a run lies."""
    return "worker:" + run.owner if entry[:1] == "W" else "queue:" + queue_of(scene, rid)


def find_item(s: State, stream: str, entry: str) -> Item | None:
    """The entry that a record names, if it is there."""
    for item in s.get(stream) or ():
        if item.id == entry[1:]:
            return item  # type: ignore[no-any-return]
    return None


def add_entry(s: State, rid: str, letter: str, stream: str) -> str:
    """Adds the one entry that stands for "somebody must work on this run"; what the record must name."""
    number = s["made:" + rid]
    s["made:" + rid] = number + 1
    s[stream] = (*(s[stream] or ()), Item(f"{rid}{number}", "r", rid))
    return f"{letter}{rid}{number}"


def add_nudge(s: State, rid: str, stream: str) -> None:
    """A note to the owner of a running run that a message waits."""
    taken = {item.id for item in s[stream]}
    number = 0
    while f"n{rid}{number}" in taken:
        number += 1
    s[stream] = (*s[stream], Item(f"n{rid}{number}", "n", rid))


def drop_entry(s: State, entry: str, stream: str) -> None:
    """Acks and deletes an entry."""
    if s.get(stream):
        s[stream] = tuple(item for item in s[stream] if item.id != entry[1:])


def find_stream(scene: Scene, s: State, worker: str, rid: str) -> tuple[str, str]:
    """Where a run's next entry goes: to its owner's stream while that exists, else to its queue."""
    if worker and s["worker:" + worker] is not None:
        return "W", "worker:" + worker
    if worker and not scene.has("no stream is made by a wake-up"):
        s["worker:" + worker] = ()
        return "W", "worker:" + worker
    return "Q", "queue:" + queue_of(scene, rid)


def passed_of(s: State, rid: str) -> frozenset[str]:
    """The times of a run that are over."""
    return frozenset(name for run, name in s["passed"] if run == rid)


def deliver(
    scene: Scene,
    s: State,
    rid: str,
    declared: str,
    item: tuple[Any, ...],
    asker: tuple[int, int] = (0, 0),
    **more: Any,
) -> None:
    """Numbers a message into an inbox and, in the same script, wakes a parked run or nudges a running one."""
    run = s["run:" + rid]
    if run.status == "parked" and scene.has("an end wakes in the same script"):
        letter, stream = find_stream(scene, s, declared, rid)
        more |= {"status": "ready", "entry": add_entry(s, rid, letter, stream)}
    elif (
        run.status == "running"
        and declared
        and not run.nudged
        and s["worker:" + declared] is not None
        and scene.has("a message nudges")
    ):
        add_nudge(s, rid, "worker:" + declared)
        more["nudged"] = True
    s["inbox:" + rid] = (*s["inbox:" + rid], Message(run.mail + 1, passed_of(s, rid), item, asker))
    put(s, rid, mail=run.mail + 1, **more)
