"""Which of the actors does what next: chosen by Hypothesis, or by a seed.

A move is one thing that somebody does, with small numbers of which it makes what fits. Hypothesis finds the shortest
program that fails; a seed is a program that costs nothing to choose, so that there can be many long ones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from redis.connection import Connection

from .lockstep_actors import ENDS, WORKERS
from .lockstep_bystanders import Everybody

FEW, MANY, EXTRA = range(64), range(1024), range(256)
WANTS = ("go", "go", "park", "park", "park", "block", "renew", *ENDS)
PASSING_MS = (0, 1, 100, 500, 2_000)
STREAMS = range(4)

Numbers = dict[str, Sequence[Any]]
NUMBERED: Numbers = {"number": FEW, "shape": FEW}
MOVES: dict[str, tuple[int, Callable[..., None], Numbers]] = {
    "start": (2, Everybody.start, NUMBERED),
    "work": (4, Everybody.work, {"worker": WORKERS, "number": FEW, "source": STREAMS}),
    "commit": (4, Everybody.commit, {"number": FEW, "want": WANTS, "shape": FEW, "extra": EXTRA}),
    "go_on": (1, Everybody.commit, {"number": FEW, "want": ("go", "park"), "shape": FEW, "extra": EXTRA}),
    "claim": (1, Everybody.claim, {"worker": WORKERS, "number": FEW, "which": FEW}),
    "release": (2, Everybody.release, NUMBERED),
    "cancel": (1, Everybody.cancel, NUMBERED),
    "settle": (1, Everybody.settle, NUMBERED),
    "send": (2, Everybody.send, NUMBERED),
    "answer": (1, Everybody.answer, NUMBERED),
    "retry": (1, Everybody.retry, NUMBERED),
    "fork": (1, Everybody.fork, NUMBERED),
    "remove": (1, Everybody.remove, {"number": FEW}),
    "unblock": (1, Everybody.unblock, NUMBERED),
    "client": (1, Everybody.client, NUMBERED),
    "queues": (1, Everybody.queues, NUMBERED),
    "timers": (2, Everybody.timers, {"number": FEW, "ms": PASSING_MS}),
    "fire_any": (1, Everybody.fire_any, {"number": FEW}),
    "walk": (2, Everybody.walk_some, {"number": FEW}),
    "worker": (1, Everybody.worker, {"number": FEW}),
    "sweep": (1, Everybody.sweep, {"number": FEW}),
    "schedule": (1, Everybody.schedule, NUMBERED),
    "expire": (1, Everybody.expire, {"number": FEW}),
    "late": (2, Everybody.late, {"number": MANY}),
}
"""How often, what, and which numbers it takes."""


class Programs(RuleBasedStateMachine):
    """The store, and everybody who calls it."""

    server: ClassVar[Connection]
    loop: ClassVar[asyncio.AbstractEventLoop]
    more: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.all = Everybody(self.server, self.loop, self.more)

    def teardown(self) -> None:
        self.all.wind_up()


def machine(server: Connection, loop: asyncio.AbstractEventLoop, **more: Any) -> type[Programs]:
    """Programs on this server; `more` goes to `Lockstep`."""
    rules = {
        name: rule(**{each: st.sampled_from(numbers[each]) for each in numbers})(_method(name, move))
        for name, (_, move, numbers) in MOVES.items()
    }
    return type("Chosen", (Programs,), {"server": server, "loop": loop, "more": more, **rules})


def _method(name: str, move: Callable[..., None]) -> Callable[..., None]:
    def method(self: Programs, **numbers: Any) -> None:
        move(self.all, **numbers)

    method.__name__ = name
    return method


def play_seed(server: Connection, loop: asyncio.AbstractEventLoop, seed: int, moves: int, **more: Any) -> Everybody:
    """A program of so many moves, the same for the same seed, and its end."""
    chance, everybody = random.Random(seed), Everybody(server, loop, more)
    names, weights = list(MOVES), [weight for weight, _, _ in MOVES.values()]
    for name in chance.choices(names, weights, k=moves):
        _, move, numbers = MOVES[name]
        move(everybody, **{each: chance.choice(choices) for each, choices in numbers.items()})
    everybody.wind_up()
    return everybody
