"""The search: every state that can be reached, each once, by the shortest way; and from each a way to the end.

A state is remembered as a tuple of small numbers, one for each of its parts: parts repeat, whole states do not.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any

from .laws import check, is_over_all
from .moves import moves
from .words import Broken, Scene, State

LOOKS = 1_000
"""States between two questions whether time is left."""


@dataclass
class Result:
    """What a search has found."""

    states: int
    moves: int
    seconds: float
    is_whole: bool
    """Whether every state was seen."""
    broken: str = ""
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A line, and the way there."""
        if not self.broken:
            return f"{self.states} states, {self.moves} moves, {'all' if self.is_whole else 'NOT all'}"
        steps = "\n".join(f"{number:4} {step}" for number, step in enumerate(self.trace, 1))
        return f"BROKEN: {self.broken}\n{steps}"


def first_state(scene: Scene) -> State:
    """A server with the root started, and workers that have just begun."""
    s: State = {}
    for rid in scene.programs:
        s["run:" + rid] = None
        for key in ("journal:", "inbox:", "kids:"):
            s[key + rid] = ()
        s["kids-ttl:" + rid] = False
        for key in ("made:", "owners:", "lives:"):
            s[key + rid] = 0
    for queue in scene.queues:
        s["queue:" + queue] = s["room:" + queue] = s["slots:" + queue] = ()
    for key in ("timers", "walks", "passed", "promised", "born", "events", "index", "late"):
        s[key] = frozenset()
    s["gates"] = frozenset(("l" + queue, limit) for queue, limit in scene.limits.items())
    s["budget"] = frozenset((fault, number) for fault, number in scene.faults.items() if number)
    s["runner"] = s["walker"] = s["walker2"] = s["kept"] = None
    for number, _ in enumerate(scene.calls):
        s[f"op:{number}"] = (0, None)
    for name in scene.workers:
        s["up:" + name], s["worker:" + name], s["calls:" + name], s["nonces:" + name] = "up", (), (), 0
        s["known:" + name] = frozenset(gate[0] for gate in s["gates"])
        for rid in scene.programs:
            s[f"mem:{name}:{rid}"] = None
    from .family import create_run

    for rid in scene.programs:
        if rid not in scene.parent:
            create_run(scene, s, rid, 0)
    return s


class _Book:
    """States as tuples of numbers."""

    def __init__(self, first: State) -> None:
        self.names = list(first)
        self.numbers: list[dict[Any, int]] = [{} for _ in self.names]
        self.values: list[list[Any]] = [[] for _ in self.names]

    def write(self, s: State, before: State | None = None, key: tuple[int, ...] = ()) -> tuple[int, ...]:
        found = []
        for at, name in enumerate(self.names):
            value = s[name]
            if before is not None and before[name] is value:
                found.append(key[at])
                continue
            numbers = self.numbers[at]
            number = numbers.get(value)
            if number is None:
                number = numbers[value] = len(numbers)
                self.values[at].append(value)
            found.append(number)
        return tuple(found)

    def read(self, key: tuple[int, ...]) -> State:
        values = self.values
        return {name: values[at][key[at]] for at, name in enumerate(self.names)}


class Search:
    """One search."""

    def __init__(self, scene: Scene, *, most: int = 1_000_000, is_spent: Callable[[], bool] = lambda: False) -> None:
        self.scene, self.most, self.is_spent = scene, most, is_spent
        first = first_state(scene)
        self.book = _Book(first)
        key = self.book.write(first)
        self.keys = {key: 0}
        self.came = array("i", [-1])
        self.by = array("i", [-1])
        self.ends: list[int] = []
        self.back_from, self.back_to = array("i"), array("i")
        self.todo = deque([key])
        self.n_moves = 0

    def run(self) -> Result:
        """Looks at states until there are none left, or one is broken."""
        began = process_time()
        broken, trace = "", list[str]()
        at = 0
        while self.todo and not broken and len(self.keys) <= self.most:
            broken, trace = self._look(at, self.todo.popleft())
            at += 1
            if not at % LOOKS and self.is_spent():
                break
        is_whole = not self.todo
        if not broken and is_whole:
            broken, trace = self._stuck()
        return Result(len(self.keys), self.n_moves, process_time() - began, is_whole, broken, trace)

    def _look(self, at: int, key: tuple[int, ...]) -> tuple[str, list[str]]:
        s = self.book.read(key)
        try:
            check(self.scene, s)
        except Broken as error:
            return str(error), self.trace(at)
        if is_over_all(self.scene, s):
            self.ends.append(at)
        for number, (label, change, is_fault) in enumerate(moves(self.scene, s)):
            self.n_moves += 1
            after = dict(s)
            try:
                change(after)
            except Broken as error:
                return str(error), [*self.trace(at), label]
            found = self.book.write(after, s, key)
            to = self.keys.get(found)
            if to is None:
                to = self.keys[found] = len(self.came)
                self.came.append(at)
                self.by.append(number)
                self.todo.append(found)
            if not is_fault:
                self.back_from.append(to)
                self.back_to.append(at)
        return "", []

    def trace(self, at: int) -> list[str]:
        """How a state was reached, move by move, with what each was answered."""
        numbers = []
        while at > 0:
            numbers.append(self.by[at])
            at = self.came[at]
        s, told = first_state(self.scene), []
        for number in reversed(numbers):
            label, change, _ = list(moves(self.scene, s))[number]
            s = dict(s)
            answer = change(s)
            told.append(f"{label} -> {answer}" if isinstance(answer, str) and answer else label)
        return told

    def _stuck(self) -> tuple[str, list[str]]:
        """A state from which no way without accidents leads to the end."""
        before: list[list[int]] = [[] for _ in self.came]
        for to, at in zip(self.back_from, self.back_to, strict=True):
            before[to].append(at)
        reaches = bytearray(len(self.came))
        todo = list(self.ends)
        for at in todo:
            reaches[at] = 1
        while todo:
            for at in before[todo.pop()]:
                if not reaches[at]:
                    reaches[at] = 1
                    todo.append(at)
        for at, is_good in enumerate(reaches):
            if not is_good:
                return "nothing that can happen from here on leads to the end", self.trace(at)
        return "", []
