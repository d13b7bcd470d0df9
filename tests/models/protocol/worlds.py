"""Which worlds are explored: the small ones each time, all of them when there is time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .scenes import scene
from .words import Scene

ONE = ("A",)
FAULTS: dict[str, dict[str, int]] = {
    "nothing": {},
    "a crash": {"crash": 1},
    "a lost reply": {"lost": 1},
    "a late request": {"late": 1},
    "a crash and a lost reply": {"crash": 1, "lost": 1},
    "a frozen worker": {"freeze": 1},
    "a frozen worker and a lost reply": {"freeze": 1, "lost": 1},
    "a late request of a frozen worker": {"freeze": 1, "late": 1},
    "a stranded read and an eviction": {"strand": 1, "evict": 1},
    "a read served after the crash": {"crash": 1, "late read": 1},
    "the stream of a living worker removed": {"closed alive": 1, "evict": 1},
    "runs let go": {"let go": 1},
    "no slot for a wake-up": {"full": 1},
    "the last writes lost": {"tail": 1},
}


def _calls(*calls: Any) -> dict[str, Any]:
    return {"calls": tuple((call,) for call in calls)}


CANCEL, RETRY, EVENT = _calls(("cancel", "P")), _calls(("retry", "P")), _calls(("event", "P", "e1"))
PAUSE: dict[str, Any] = {"calls": ((("pause", "m"), ("resume", "m")),)}
HUNG = frozenset({"P.s1", "C.s1", "D.s1"})

CORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("bare call", {}), ("call", {}), ("gather", {}), ("timeout", {}), ("two", {}), ("sleep", {}), ("event", EVENT),
    ("raced by an event", {**EVENT, "hung": HUNG}), ("nest", {}), ("leave", {}), ("start, await", {}),
    ("bare call", CANCEL), ("leave", {**CANCEL, "hung": HUNG}), ("nest", CANCEL), ("call", CANCEL),
    ("cleans up", {**CANCEL, "hung": HUNG}),
)  # fmt: skip
"""Calls, steps, sleeps, events, cancels: with every fault."""

FURTHER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("two left", {**CANCEL, "chunk": 1, "hung": HUNG}),
    ("two left", {**_calls(("terminate", "P")), "chunk": 1, "hung": HUNG}),
    ("leave", {**CANCEL, "hung": HUNG, "faults": {"walkers": 1, "walker dies": 1}}),
    ("cleans up", {**CANCEL, "hung": HUNG | {"P.k"}, "grace": True}),
    ("call again", {}), ("call again", CANCEL),
    ("another attempt", {"hung": frozenset({"P.s1"})}), ("another attempt", {}),
    ("another attempt, started", {}), ("another attempt", CANCEL),
    ("continue", {}), ("continue", CANCEL), ("continue, call", {}), ("continue, left", {}),
    ("continue, event", EVENT), ("continue, event", CANCEL),
    ("given up twice", {"hung": frozenset({"C.s1"})}),
    ("retried alone", RETRY), ("retried", RETRY), ("retried, started", RETRY),
    ("leave", {"expires": True}), ("leave", {**_calls(("start", "P")), "expires": True}),
    ("sleep", {**_calls(("purge",), ("start", "P")), "expires": True}),
    ("call a tree again", {"expires": True}),
    ("retried, started", {**RETRY, "expires": True}), ("retried alone", {**RETRY, "expires": True}),
    ("two roots", {"limits": {"m": 1}}), ("two sleepers", {"limits": {"m": 1}}),
    ("child in its queue", {"limits": {"m": 1}}),
    ("two roots", {"limits": {"m": 1}, **_calls(("cancel", "P"))}),
    ("two roots", {"limits": {"m": 1}, **_calls(("terminate", "Q"))}),
    ("two sleepers", {"limits": {"m": 1}, **_calls(("terminate", "P"))}),
    ("two roots", {"calls": ((("limit", "m", 1), ("limit", "m", 0)),)}),
    ("two roots", {"limits": {"m": 1}, **PAUSE}), ("two sleepers", {"limits": {"m": 1}, **PAUSE}),
    ("two sleepers", PAUSE), ("sleep", {"calls": ((("pause", "q"), ("resume", "q")),)}),
)  # fmt: skip
"""Walks, further lives, retention, limited and paused queues: with nothing, a crash, a lost reply, a late request."""


def _named(programs: str, more: dict[str, Any], fault: str) -> str:
    told = [" ".join(map(str, call)) for calls in more.get("calls", ()) for call in calls]
    told += [name for name in ("expires", "grace") if more.get(name)]
    told += [f"limit {limit}" for limit in more.get("limits", {}).values()]
    told += ["one worker"] if more.get("workers") == ONE else []
    told += list(more.get("faults", ()))
    return f"{programs}{' (' + ', '.join(told) + ')' if told else ''}, {fault}"


def _world(programs: str, more: dict[str, Any], fault: str) -> tuple[str, Scene]:
    faults = {**FAULTS[fault], **more.get("faults", {})}
    return _named(programs, more, fault), scene(programs, **{**more, "faults": faults})


def all_worlds() -> Iterator[tuple[str, Scene]]:
    """Every world, by name."""
    for programs, more in CORE:
        for fault in FAULTS:
            yield _world(programs, more, fault)
    for programs, more in FURTHER:
        for fault in ("nothing", "a crash", "a lost reply", "a late request", "the last writes lost"):
            if fault == "the last writes lost" and more.get("expires"):
                continue  # what has expired would come back
            yield _world(programs, more, fault)


def one_worker(programs: str, more: dict[str, Any], fault: str) -> tuple[str, Scene]:
    """The same with one worker, which is much less."""
    return _world(programs, {**more, "workers": ONE}, fault)


TOO_LARGE = (
    "cleans up (cancel P, grace, one worker), nothing",
    "another attempt (cancel P, one worker), nothing",
    "retried (retry P, one worker), nothing",
    "two sleepers (pause m, resume m, limit 1, one worker), nothing",
)
LARGE = {
    "bare call": ("the last writes lost",),
    "gather": ("the last writes lost", "a late request of a frozen worker", "a frozen worker and a lost reply"),
}


def small_worlds() -> Iterator[tuple[str, Scene]]:
    """What is explored each time: a few seconds in all."""
    for programs, more in CORE:
        for fault in FAULTS if programs in ("bare call", "gather", "sleep") else ("nothing", "a lost reply"):
            is_large = fault in LARGE.get(programs, ()) or (
                more is CANCEL and (fault != "nothing" or programs == "nest")
            )
            if "crash" in fault or "removed" in fault or is_large:
                continue
            yield one_worker(programs, more, fault)
    for programs in ("bare call", "sleep", "gather"):
        for fault in ("a crash", "a read served after the crash", "the stream of a living worker removed"):
            yield _world(programs, {}, fault)
    for programs, more in FURTHER:
        name, world = one_worker(programs, more, "nothing")
        if name not in TOO_LARGE:
            yield name, world
