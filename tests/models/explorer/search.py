"""Which schedules are played: all of them up to a number of faults, or random ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

from .actors import simulated
from .play import Bounds, Outcome, Picks, Scenario, play
from .wire import Server
from .world import Chooser, Option

FAULT_RATE = 0.06


class Explorer:
    """Plays schedules on a server that is its own; workers and clients that are made inside belong to it."""

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self._inside = ExitStack()
        self._examined: set[str] = set()

    def __enter__(self) -> Self:
        self._inside.enter_context(simulated())
        return self

    def __exit__(self, *error: object) -> None:
        self._inside.close()
        self.server.close()

    def one(self, scenario: Scenario, bounds: Bounds, decisions: tuple[int, ...]) -> Outcome:
        """The schedule of these decisions, with its trace."""
        return play(self.server, scenario, bounds, Picks(decisions), set(), wants_trace=True)

    def all(self, scenario: Scenario, bounds: Bounds) -> Iterator[Outcome]:
        """Every schedule within these bounds, depth first, up to where it meets a state that was met before."""
        prefix: tuple[int, ...] = ()
        before: Outcome | None = None
        examined: set[str] = set()
        known: set[tuple[Any, ...]] = set()
        while True:
            outcome = play(self.server, scenario, bounds, Picks(prefix, known=known), examined)
            if before is not None:
                same = len(prefix) - 1
                assert outcome.labels[:same] == before.labels[:same], "the same decisions have led elsewhere"
            yield outcome
            before = outcome
            at = len(outcome.decisions) - 1
            while at >= 0 and outcome.decisions[at] + 1 >= outcome.widths[at]:
                at -= 1
            if at < 0:
                return
            prefix = (*outcome.decisions[:at], outcome.decisions[at] + 1)

    def walk(self, scenario: Scenario, bounds: Bounds, seed: int, *, wants_trace: bool = False) -> Outcome:
        """A random schedule: the same seed, the same one."""
        picks = Picks((), rolling(seed))
        return play(self.server, scenario, bounds, picks, self._examined, wants_trace=wants_trace)


def rolling(seed: int) -> Chooser:
    """Any of what may happen without a fault; a fault now and then."""
    dice = random.Random(seed)

    def choose(options: list[Option]) -> int:
        faults = [at for at, option in enumerate(options) if option.fault]
        others = [at for at, option in enumerate(options) if not option.fault]
        if faults and dice.random() < FAULT_RATE:
            return dice.choice(faults)
        return dice.choice(others)

    return choose
