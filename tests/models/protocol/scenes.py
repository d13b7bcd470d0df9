"""Small worlds."""

from __future__ import annotations

from typing import Any

from .words import Life, Program, Scene, once

STEP = Life((once("s1"),))
LEAF = Program((STEP,))


def program(*statements: Any, end: str = "completed", **more: Any) -> Program:
    """A workflow of one life."""
    return Program((Life(tuple(statements), end),), **more)


PROGRAMS: dict[str, dict[str, Program]] = {
    "call": {"P": program(once("s1"), once("cC"), once("s2")), "C": LEAF},
    "bare call": {"P": program(once("cC")), "C": LEAF},
    "timeout": {"P": program(once("cC", "t1", kind="any"), once("s2")), "C": LEAF},
    "gather": {"P": program(once("cC", "s1")), "C": LEAF},
    "two": {"P": program(once("cC", "cD")), "C": LEAF, "D": program()},
    "event": {"P": program(once("e1", "t1", kind="any"), once("s1"))},
    "sleep": {"P": program(once("t1"), once("s1"))},
    "nest": {"P": program(once("cC")), "C": program(once("cG")), "G": LEAF},
    "leave": {"P": program(once("fC", kind="start"), once("s1")), "C": LEAF},
    "start, await": {"P": program(once("fC", kind="start"), once("s1"), once("cC")), "C": LEAF},
    "call again": {
        "P": program(once("cC"), attempts=2),
        "C": Program((Life((once("s1"),), "failed"), STEP)),
    },
    "another attempt": {"P": Program((Life((once("cC", "s1", kind="any"),), "retry"), Life((once("cC"),)))), "C": LEAF},
    "another attempt, started": {
        "P": Program(
            (
                Life((once("fC", kind="start"), once("s1"), once("cC")), "retry"),
                Life((once("fC", kind="start"), once("s1"), once("cC"))),
            )
        ),
        "C": LEAF,
    },
    "continue": {
        "P": Program((Life((once("fC", kind="start"), once("s1")), "renew"), Life((once("fC", kind="start"),)))),
        "C": LEAF,
    },
    "continue, call": {
        "P": Program((Life((once("fC", kind="start"), once("s1")), "renew"), Life((once("cC"),)))),
        "C": LEAF,
    },
    "continue, event": {"P": Program((Life((once("s1"),), "renew"), Life((once("e1"),))))},
    "retried": {"P": program(once("cC", "x1")), "C": LEAF},
    "retried, started": {"P": program(once("fC", kind="start"), once("x1"), once("cC")), "C": LEAF},
    "two roots": {"P": program(once("s1"), queue="m"), "Q": program(once("s1"), queue="m")},
    "two sleepers": {"P": program(once("t1"), once("s1"), queue="m"), "Q": program(once("s1"), queue="m")},
    "child in its queue": {"P": program(once("cC"), queue="m"), "C": Program((STEP,), queue="m")},
    "two sleeps": {"P": program(once("t1"), once("t2"))},
    "either event": {"P": program(once("e1", "e2", kind="any"))},
    "two steps": {"P": program(once("s1", "s2"))},
    "continue, left": {
        "P": Program((Life((once("cC", "s1", kind="any"),), "renew"), Life((once("cC"),)))),
        "C": LEAF,
    },
    "given up twice": {
        "P": Program((Life((once("cC", "s1", kind="any"),), "renew"), Life((once("cC", "s1", kind="any"),)))),
        "C": LEAF,
    },
    "cleans up": {"P": program(once("fC", kind="start"), once("s1"), cleans_up=True), "C": LEAF},
    "raced by an event": {"P": program(once("e1", "s1", kind="any"))},
    "call a tree again": {
        "P": program(once("cC"), attempts=2),
        "C": Program((Life((once("fG", kind="start"),), "failed"), STEP)),
        "G": LEAF,
    },
    "retried alone": {"P": program(once("x1"))},
    "two left": {"P": program(once("fC", "fD", kind="start"), once("s1")), "C": LEAF, "D": LEAF},
}


def scene(name: str, **more: Any) -> Scene:
    """A world of these programs."""
    return Scene(PROGRAMS[name], **more)
