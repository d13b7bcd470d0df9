"""Known-bad variants of the protocol: one rule left out, or two that stand in for each other; and where that shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .scenes import scene
from .words import Scene

CANCEL = ((("cancel", "P"),),)
EVENT = ((("event", "P", "e1"),),)
EVENTS = ((("event", "P", "e1"),), (("event", "P", "e2"),))
ONE = ("A",)
HUNG = frozenset({"P.s1", "C.s1"})
RETRY = ((("retry", "P"),),)


@dataclass(frozen=True)
class Variant:
    """Rules that are off, and a world in which that breaks something."""

    off: tuple[str, ...]
    programs: str
    more: dict[str, Any]

    def scene(self) -> Scene:
        """The world without the rules."""
        return scene(self.programs, off=frozenset(self.off), **self.more)

    def __str__(self) -> str:
        return " + ".join(self.off)


def _without(*off: str, of: str, **more: Any) -> Variant:
    return Variant(off, of, more)


VARIANTS = (
    # Of the streams and entries.
    _without("no stream is made by a wake-up", of="bare call", faults={"crash": 1}),
    _without("dead workers are looked for at every sweep", of="bare call", faults={"crash": 1, "late read": 1}),
    _without("a reap fences at once", "a commit is of a running run", of="call", faults={"freeze": 1}),
    _without("a claim is of the entry that counts", of="bare call", faults={"freeze": 1, "lost": 1}),
    _without("a claim is repeat-safe", of="bare call", faults={"lost": 1}),
    _without("an entry waits for the reply", of="bare call"),
    _without("a worker looks after its own pending entries", of="bare call", faults={"strand": 1}),
    _without("pending entries are compared by entry", of="sleep", faults={"tail": 1}),
    _without("only an empty stream is removed", of="bare call", faults={"crash": 1}),
    # Of the commit.
    _without("a repeat gets the stored answer", "a commit is the next one", of="two steps", faults={"lost": 1}),
    _without("a commit is the next one", of="call", faults={"tail": 1}),
    _without("a commit is of a running run", of="sleep", faults={"late": 1, "tail": 1}, workers=ONE),
    _without("a resume names the last commit", of="two sleeps", faults={"tail": 1}, workers=ONE),
    _without("the fence has a nonce", of="sleep", faults={"tail": 1}, workers=ONE),
    _without("a take names its message", of="either event", faults={"tail": 1, "lost": 1}, calls=EVENTS, workers=ONE),
    _without("what is late is dropped", of="timeout", faults={"crash": 1}),
    _without("a park looks for messages", of="gather"),
    _without("an end looks for a cancel", of="bare call", calls=CANCEL),
    _without("a commit answers messages", of="raced by an event", calls=EVENT, hung=frozenset({"P.s1"})),
    # Of messages.
    _without("an end wakes in the same script", of="bare call"),
    _without("an end tells the parent", of="bare call"),
    _without("a message nudges", of="raced by an event", calls=EVENT, hung=frozenset({"P.s1"})),
    _without("a nudge waits for the claim", of="raced by an event", calls=EVENT, hung=frozenset({"P.s1"})),
    _without(
        "a copy that replaces another looks for messages",
        of="raced by an event",
        calls=EVENT,
        hung=frozenset({"P.s1"}),
        faults={"freeze": 1},
        workers=ONE,
    ),
    _without(
        "who had no stream looks for messages",
        of="raced by an event",
        calls=EVENT,
        hung=frozenset({"P.s1"}),
        faults={"closed alive": 1},
        workers=ONE,
    ),
    _without(
        "who is long in a step looks back",
        of="raced by an event",
        calls=EVENT,
        hung=frozenset({"P.s1"}),
        faults={"tail": 1},
        workers=ONE,
    ),
    # Of cancels and walks.
    _without("a child of a cancelled run is born cancelled", of="leave", calls=CANCEL, hung=HUNG),
    _without("the cascade is durable work", of="leave", calls=CANCEL, hung=HUNG, faults={"caller dies": 1}),
    _without(
        "the cascade is durable work",
        "a cascade lists after it has marked",
        of="leave",
        calls=CANCEL,
        hung=HUNG,
    ),
    # Of further lives.
    _without("an end tells only the life that asked", of="another attempt"),
    _without("an occupied id is waited for", of="continue, call"),
    _without("a renewal takes its messages", of="continue, event", calls=EVENT),
    _without("a join looks at walks", of="another attempt"),
    _without("a walk is void for a new life", "a walk cancels the life it was for", of="continue, left"),
    _without("a cancel takes its walk out", of="given up twice", hung=frozenset({"C.s1"}), workers=ONE),
    _without("a child adopted forgets who awaited it", of="another attempt, started"),
    _without("a child that is run again keeps its list", of="call a tree again", expires=True),
    # Of retention.
    _without("a retry keeps the run", of="retried alone", calls=RETRY, expires=True),
    _without("a retry keeps the tree", of="retried, started", calls=RETRY, expires=True),
    _without(
        "what keeps a tree is void when it ends again", of="retried, started", calls=RETRY, expires=True, workers=ONE
    ),
    _without("a walk looks whether its run lives", of="leave", calls=((("start", "P"),),), expires=True),
    _without("a purge looks again", of="sleep", calls=((("purge",),), (("start", "P"),)), expires=True),
    # Of queues.
    _without("a claim looks at the pause", of="sleep", calls=((("pause", "q"), ("resume", "q")),)),
    _without("a refused entry goes back", of="sleep", calls=((("pause", "q"), ("resume", "q")),)),
    _without("a claim asks for the slot", of="two roots", calls=((("limit", "m", 1),),)),
    _without("who has entered shows its slot", of="two roots", limits={"m": 1}, faults={"tail": 1}, workers=ONE),
    _without("a slot before a run", of="two roots", limits={"m": 1}),
    _without("leaving lets in", of="two roots", limits={"m": 1}),
    _without(
        "going on lets in", of="two roots", limits={"m": 1}, calls=((("pause", "m"), ("resume", "m")),), workers=("A",)
    ),
    _without("a park frees the slot", of="two sleepers", limits={"m": 1}),
    _without("an end from outside frees the slot", of="two roots", limits={"m": 1}, calls=((("terminate", "P"),),)),
    _without("a slot goes with its run", of="two roots", limits={"m": 1}, faults={"crash": 1}),
    _without("entering is repeat-safe", of="two roots", limits={"m": 1}, faults={"lost": 1}),
)
