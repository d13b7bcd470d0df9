"""The children of one run, as its body sees them: names, identity, who awaits what.

A child is *issued* once per ref, then *settled* by its message, or *given up* by its last awaiter. What arrives for a
child that nobody waits for any more is dropped, not journaled.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from durable_async.checking import check_name
from durable_async.codec import is_same_input
from durable_async.engine.records import NewChild
from durable_async.engine.spec import Definition, WorkflowSpec
from durable_async.errors import RefConflict
from durable_async.types import Retry

MAX_ID = 255
"""Characters of an id; a longer one is replaced by a hash below its root."""
LARGE = 1024
"""Bytes from which on an input that several children have is stored once."""
NOTHING_LARGE = (b"", b"")


_NOBODY: list[asyncio.Future[None]] = []
"""Shared by all that no step waits for: there may be ten thousand children."""


@dataclass(slots=True)
class Child:
    """One child of a run."""

    id: str
    ref: str
    workflow: str
    digest: bytes
    output_type: Any
    awaited: bool
    """Whether its end is told to this run."""
    on_close: str
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    letter: str = ""
    """Its terminal status once told, a key of `LETTERS`."""
    payload: bytes = b""
    cancel_asked: str = ""
    """Why this run had it cancelled; empty if it did not."""
    retry: Retry | None = None
    """When it is run again under its id after it has failed."""
    attempt: int = 1
    first_ms: int = 0
    new: NewChild | None = None
    """What it was created from, if it may be run again."""
    creations: int = 1
    line: int = 0
    """In a replay: which line told how it ended."""
    is_occupied: bool = False
    """Its id is still that of what an earlier life of this run started: it is started when that has ended."""
    given_up: bool = False
    """Its last awaiter left: what it still says is dropped, and its ref is spent."""
    undo: Definition | None = None
    """What undoes it once it has completed: how it ends is then of interest even if it was given up."""
    is_cleanup: bool = False
    """It was issued after the run had seen its cancel: that cancel does not reach it."""
    listeners: list[asyncio.Future[None]] = field(default_factory=lambda: _NOBODY)
    is_spawned: bool = False
    """A step has started or called it."""
    is_vacant: bool = False
    """Its id was occupied and is free now: the step that wants it starts it."""
    by_step: str = ""
    """The step that called it: given up with it."""
    is_resting: bool = False
    """It has failed, and is to be run again after a while."""

    @property
    def is_settled(self) -> bool:
        """Whether this run has been told how it ended."""
        return self.letter != ""

    def settle(self, letter: str, payload: bytes) -> None:
        """It has ended, and will not be run again: who waits for it goes on."""
        self.letter, self.payload = letter, payload
        for future in self.waiters:
            if not future.done():
                future.set_result(None)
        if self.listeners:
            self.tell_listeners()

    def listen(self, future: asyncio.Future[None]) -> None:
        """A step waits for it."""
        if self.listeners is _NOBODY:
            self.listeners = []
        self.listeners.append(future)

    def tell_listeners(self) -> None:
        """It has ended, or was given up: the steps that wait for it go on."""
        for future in self.listeners:
            if not future.done():
                future.set_result(None)


def child_id(parent_id: str, ref: str) -> str:
    """`<parent>/<ref>`; a long one becomes `<root>/~<hash>`, from which the root can still be read."""
    id = f"{parent_id}/{ref}"
    if len(id) <= MAX_ID:
        return id
    root = parent_id.partition("/")[0]
    return f"{root}/~{blake2b(id.encode(), digest_size=20).hexdigest()}"


class Children:
    """The name space of one run's children."""

    __slots__ = ("_large", "_news", "_numbers", "awaited", "by_id", "by_ref", "has_called", "undone")

    def __init__(self) -> None:
        self.by_ref: dict[str, Child] = {}
        self.by_id: dict[str, Child] = {}
        self.awaited: dict[str, Child] = {}
        """By id, those that somebody waits for now: what a run waits for must not cost a look at all its children."""
        self._numbers: dict[str, int] = {}
        self._large: tuple[bytes, bytes] = NOTHING_LARGE
        self._news: asyncio.Future[None] | None = None
        self.undone: set[str] = set()
        """Refs of children that this run, or an attempt before it, has undone: what completed does not count."""
        self.has_called = False
        """Whether any was called by a step."""

    def pick_ref(self, ref: str | None, workflow: str) -> str:
        """The ref of a call: the given one, or the workflow's name, numbered from the second on.

        Raises:
            ValueError: if the given ref is no name.
        """
        if ref is not None:
            return check_name(ref, "ref")
        number = self._numbers.get(workflow, 0)
        while True:
            number += 1
            chosen = workflow if number == 1 else f"{workflow}-{number}"
            if chosen not in self.by_ref:
                self._numbers[workflow] = number
                return chosen

    def find(self, ref: str, spec: WorkflowSpec, digest: bytes) -> Child | None:
        """The child that has this ref, if it is the same call.

        Raises:
            RefConflict: if it was used for another workflow or input, or is spent.
        """
        child = self.by_ref.get(ref)
        if child is None:
            return None
        if child.workflow != spec.name:
            raise RefConflict(
                f"ref {ref!r} already names a child that runs {child.workflow!r}, not {spec.name!r}; use another ref"
            )
        if not is_same_input(child.digest, digest):
            raise RefConflict(f"ref {ref!r} already names a child with another input ({child.id}); use another ref")
        if child.given_up:
            raise RefConflict(
                f"ref {ref!r} is spent: its child {child.id} was cancelled ({child.cancel_asked}); use another ref"
            )
        return child

    def one_of(self, fingerprint: bytes, start: bytes) -> bytes:
        """A first line, or that of the child before it if their inputs are equal: it is in memory, and stored, once."""
        if len(start) <= LARGE:
            return start
        if self._large[0] != fingerprint:
            self._large = (fingerprint, start)
        return self._large[1]

    def rest(self) -> None:
        """The run parks: what is kept for children to come is let go."""
        self._large = NOTHING_LARGE

    def wait(self, child: Child, future: asyncio.Future[None]) -> None:
        """Somebody waits for a child."""
        child.waiters.append(future)
        self.awaited[child.id] = child

    def leave(self, child: Child, future: asyncio.Future[None]) -> None:
        """Somebody does not wait for it any more."""
        child.waiters.remove(future)
        if not child.waiters:
            self.awaited.pop(child.id, None)

    def give_up_waiting(self) -> None:
        """Nobody waits for any child any more."""
        for child in self.awaited.values():
            child.waiters.clear()
        self.awaited.clear()

    def wants(self, kind: str, id: str) -> bool:
        """Whether a message about a child (`C` it has ended, `O` its id is occupied) says something that counts."""
        child = self.by_id.get(id)
        if child is None or child.is_settled:
            return False
        if kind == "O" or child.is_occupied:
            return not child.given_up
        return child.awaited and (not child.given_up or child.undo is not None)

    async def news(self, loop: asyncio.AbstractEventLoop) -> None:
        """Returns when `look_again` is called."""
        self._news = loop.create_future()
        await self._news

    def look_again(self) -> None:
        """Something has changed that the end of the run may wait for."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def add(self, child: Child) -> None:
        """Registers an issued child."""
        self.by_ref[child.ref] = child
        self.by_id[child.id] = child
