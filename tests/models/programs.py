"""Random workflow bodies as readable Python, from a seed: `make(seed)`, or `python -m models.programs SEED` in tests/.

Every program has one right result, whatever is slow and whatever crashes: what it races against each other is something
that comes for sure (*soon*) and something that never does (*never*). So the result can be compared with that of the
same text under plain asyncio (`programs_plain`), and steps that cannot be cancelled by any race (*sure* ones) must all
have been executed.

A program is text in blocks that can be left out one by one, which is how `programs_cli` makes one that fails shorter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

INDENT = "    "


@dataclass
class Stmt:
    """Lines of text, with blocks of statements below some of them."""

    parts: list[str | list[Stmt]]
    is_fixed: bool = False
    """Cannot be left out: a race would have another winner, or the text no meaning."""

    @property
    def blocks(self) -> list[list[Stmt]]:
        return [part for part in self.parts if not isinstance(part, str)]

    def lines(self, indent: str = "") -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield indent + part
            else:
                yield from render(part, indent + INDENT)


def render(block: list[Stmt], indent: str) -> Iterator[str]:
    """The text of a block; `pass` if nothing is left of it."""
    if not block:
        yield indent + "pass"
    for stmt in block:
        yield from stmt.lines(indent)


def fixed(*parts: str | list[Stmt]) -> Stmt:
    return Stmt(list(parts), is_fixed=True)


@dataclass
class Program:
    """A tree of workflows: the last definition is the root."""

    seed: int
    definitions: dict[str, list[Stmt]] = field(default_factory=dict)
    """Body by name of the workflow, children first."""
    events: list[tuple[str, str]] = field(default_factory=list)
    """What is sent at the start: to which run (`/ref` after the root's id, or nothing), and the name; it is the payload
    as well."""
    sure: set[str] = field(default_factory=set)
    """Names of steps that no race can cancel."""

    @property
    def root(self) -> str:
        """The name of the root's workflow."""
        return f"root{self.seed}"

    @property
    def source(self) -> str:
        """The text; whoever runs it provides the names that it uses."""
        sent = ", ".join(f"{name} to {path or '/'}" for path, name in self.events)
        found = [f"# program {self.seed}; events sent: {sent or 'none'}"]
        for name, body in self.definitions.items():
            found += ["", "", "@workflow", f"async def {name}(given: dict[str, Any]) -> Any:"]
            found += [f"{INDENT}out: list[Any] = []", *render(body, INDENT), f"{INDENT}return out"]
        return "\n".join(found) + "\n"


@dataclass(frozen=True)
class Place:
    """Where a statement stands."""

    path: str | None = ""
    """Of the run, from its root's id; None if nobody can send it anything for sure."""
    is_sure: bool = True
    """Whether all that is asked for here is executed."""
    depth: int = 0
    """How deep it is nested."""
    has_compensations: bool = False


class Maker:
    """Makes one program."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = random.Random(seed)
        self.program = Program(seed)
        self.left = size
        self._count = 0

    # ------------------------------------------------------------------ names

    def name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def label(self, place: Place) -> str:
        name = self.name("s")
        if place.is_sure:
            self.program.sure.add(name)
        return name

    def event(self, place: Place) -> str:
        assert place.path is not None
        name = self.name("e")
        self.program.events.append((place.path, name))
        return name

    def some(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def one_of(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    # ------------------------------------------------------------------ blocks

    def block(self, place: Place, at_least: int = 1, at_most: int = 3) -> list[Stmt]:
        """Statements that come to an end for sure."""
        made = []
        for _ in range(self.some(at_least, at_most)):
            kinds = LEAVES if self.left <= 0 or place.depth >= 4 else ANY
            self.left -= 1
            makers, weights = zip(*((m, w) for m, w in kinds if w), strict=True)
            made.append(self.random.choices(makers, weights)[0](self, place))
        return made

    def inside(self, place: Place, *, is_sure: bool | None = None) -> Place:
        sure = place.is_sure if is_sure is None else place.is_sure and is_sure
        return Place(place.path, sure, place.depth + 1, place.has_compensations)

    def workflow(self, body: list[Stmt]) -> str:
        name = f"{self.name('w')}of{self.program.seed}"
        self.program.definitions[name] = body
        return name

    def child_place(self, place: Place, ref: str = "") -> Place:
        path = f"{place.path}/{ref}" if ref and place.is_sure and place.path is not None else None
        return Place(path, place.is_sure, place.depth + 1)

    # ------------------------------------------------------------------ expressions

    def soon(self, place: Place) -> str:
        """An awaitable that comes for sure, as an expression."""
        kind = self.random.choice(["work", "work", "sleep", "call", "event"])
        if kind == "call" and place.depth < 4 and self.left > 0:
            ref = self.name("r")
            child = self.workflow(self.block(self.child_place(place, ref), 1, 2))
            return f'call_workflow({child}, given, ref="{ref}")'
        if kind == "event" and place.path is not None:
            return f'wait_for_event("{self.event(place)}")'
        if kind == "sleep":
            return f"sleep({self.one_of(0, 0.005, 0.02)})"
        return self.work(place)

    def work(self, place: Place) -> str:
        extra = self.random.choices(
            ["", ", pause=0.005", ", fails=1", ", fails=2", ", in_thread=True"], [10, 3, 3, 1, 2]
        )[0]
        return f'work(given, "{self.label(place)}"{extra})'

    def never(self, place: Place) -> str:
        """An awaitable that never comes."""
        unsure = self.inside(place, is_sure=False)
        kind = self.random.choice(["event", "sleep", "hang", "child", "all", "asyncio", "called_ref"])
        if kind == "child" and place.depth < 4:
            return f"call_workflow({self.workflow(self.endless(self.child_place(unsure)))}, given)"
        if kind == "called_ref":
            child = self.workflow([fixed('await wait_for_event("never")')])
            return f'call_workflow({child}, given, ref="{self.name("r")}", timeout=3600)'
        if kind == "hang":
            return f'hang(given, "{self.label(unsure)}")'
        if kind == "all" and place.path is not None:
            return f'wait_for_all(["{self.event(place)}", "never"])'
        if kind == "asyncio":
            return "asyncio.Event().wait()"
        return 'wait_for_event("never")' if kind == "event" else "sleep(3600)"

    def endless(self, place: Place) -> list[Stmt]:
        """A body that never ends by itself, and cleans up when it is cancelled."""
        unsure = self.inside(place, is_sure=False)
        before = self.block(unsure, 0, 1)
        wait = fixed(f"await {self.never(unsure)}")
        if self.some(0, 2):
            tidy = Stmt([f"await {self.work(unsure)}"])
            if self.some(0, 1):
                return [*before, fixed("try:", [wait], "finally:", [tidy])]
            return [*before, fixed("try:", [wait], "except asyncio.CancelledError:", [tidy, fixed("raise")])]
        return [*before, wait]

    def failing(self, place: Place) -> str:
        """An awaitable that raises for sure."""
        kind = self.random.choice(["step", "own", "child", "event", "timeout", "hang", "late child"])
        if kind == "child" and place.depth < 4:
            body = self.block(self.child_place(place), 0, 1)
            body.append(fixed(f'raise {self.one_of("ValueError", "LookupError", "Refused")}("{self.name("x")}")'))
            return f'call_workflow({self.workflow(body)}, given, ref="{self.name("r")}")'
        if kind == "event":
            return 'wait_for_event("never", timeout=0.02)'
        if kind == "timeout":
            return f"asyncio.wait_for({self.never(place)}, 0.02)"
        if kind == "hang":
            return f'hang(given, "{self.label(self.inside(place, is_sure=False))}", timeout=0.02)'
        if kind == "late child":
            child = self.workflow(self.endless(self.child_place(self.inside(place, is_sure=False))))
            return f"call_workflow({child}, given, timeout=0.02, timeout_value=RAISE)"
        error = "Refused" if kind == "own" else self.one_of("ValueError", "ConnectionError")
        return f'work(given, "{self.label(place)}", fails=9, attempts={self.some(1, 3)}, error={error})'

    def branch(self, place: Place, kind: str) -> tuple[str, Stmt]:
        """A nested function that comes, fails, or does neither."""
        name = self.name("branch")
        inner = self.inside(place, is_sure=None if kind == "soon" else False)
        if kind == "never":
            body = [fixed("out: list[Any] = []"), *self.endless(inner)]
        elif kind == "fails":
            body = [fixed("out: list[Any] = []"), *self.block(inner, 0, 1), fixed(f"await {self.failing(inner)}")]
        else:
            body = [fixed("out: list[Any] = []"), *self.block(inner, 1, 2), fixed("return out")]
        return name, fixed(f"async def {name}() -> Any:", body)


def make(seed: int, size: int = 10) -> Program:
    """The program of a seed; `size` is about how many statements it has."""
    from .programs_kinds import outermost

    maker = Maker(seed, size)
    body = outermost(maker)
    maker.program.definitions[maker.program.root] = body
    return maker.program


Kinds = list[tuple[Callable[[Maker, Place], Stmt], int]]
LEAVES: Kinds = []
ANY: Kinds = []
"""What a block can hold, and how likely that is; `programs_kinds` fills them."""
