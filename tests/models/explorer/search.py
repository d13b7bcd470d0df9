"""Which schedules are played: all of them up to a number of faults, or random ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

from durable_async.store.keys import Keys

from .actors import simulated
from .play import Bounds, Outcome, Picks, Scenario, play
from .reduction import Tree, Watch
from .wire import Server
from .world import NAMESPACE, Chooser, Option

FAULT_RATE = 0.06


class Explorer:
    """Plays schedules on a server that is its own; workers and clients that are made inside belong to it."""

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.watch = Watch(self.server, Keys(NAMESPACE).base)
        self._inside = ExitStack()
        self._examined: set[str] = set()

    def __enter__(self) -> Self:
        self._inside.enter_context(simulated())
        return self

    def __exit__(self, *error: object) -> None:
        self._inside.close()
        self.watch.close()
        self.server.close()

    def one(self, scenario: Scenario, bounds: Bounds, decisions: tuple[int, ...]) -> Outcome:
        """The schedule of these decisions, with its trace."""
        self.server.begin()
        return play(self.server, scenario, bounds, Picks(decisions), set(), wants_trace=True)

    def all(
        self, scenario: Scenario, bounds: Bounds, *, is_reduced: bool = True, merges: bool = True
    ) -> Iterator[Outcome]:
        """Every schedule within these bounds, depth first, up to where nothing that follows is new.

        Args:
            scenario: what is played.
            bounds: how many faults, and how often somebody is left waiting.
            is_reduced: whether two orders of independent calls are one; not if it is bounded who waits.
            merges: whether a schedule ends where it meets a state of another one.
        """
        tree = Tree(self.server, self.watch if is_reduced and bounds.switches is None else None, merges=merges)
        examined: set[str] = set()
        while True:
            tree.begin()
            yield play(self.server, scenario, bounds, Picks((), tree=tree), examined)
            if not tree.turn():
                return

    def walk(self, scenario: Scenario, bounds: Bounds, seed: int, *, wants_trace: bool = False) -> Outcome:
        """A random schedule: the same seed, the same one."""
        picks = Picks((), rolling(seed))
        self.server.begin()
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
