"""Questions to people, asked by a body and answered from outside.

The states of a question within its run: *open* (asked, and people can see it), *settled* (the run is told of an
answer, or that its time is over), *given up* (its wait was cancelled: it is closed, and what is still said about it is
dropped).

In the store a question is open or it is not there. An answer closes it; so does the end of its time, for which the run
asks with a commit instead of deciding by itself: whichever script finds the question open says so to the run, and the
other finds nothing. So an answer that was accepted is an answer that the body sees, unless it has given the wait up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from durable_async.engine.records import Entry, Kind, input_body, record

if TYPE_CHECKING:
    from durable_async.engine.run import Run

MOST: Final = 1_000
"""Questions of one run that may be open at a time: whoever ends it closes all of them in one script."""


class Question:
    """One open question of a run."""

    __slots__ = ("future", "head", "is_closing", "kind", "name", "number", "payload")

    def __init__(
        self, name: str, number: int, head: str, kind: str, payload: bytes, future: asyncio.Future[bytes | None]
    ) -> None:
        self.name = name
        self.number = number
        self.head = head
        """What tells it from an earlier question of the same name: number, when it was asked, when its time is over."""
        self.kind = kind
        self.payload = payload
        self.future = future
        self.is_closing = False


class Questions:
    """The open questions of one run, by name."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, Question] = {}

    def _find(self, mark: str) -> Question | None:
        head, _, name = mark.partition("\n")
        question = self._open.get(name)
        return question if question is not None and question.head == head + "\n" else None

    def check(self, run_id: str, name: str) -> None:
        """Refuses a question that could not be told from another one.

        Raises:
            ValueError: if one of this name is open, or too many are.
        """
        if name in self._open:
            raise ValueError(
                f"run {run_id} asks for the input {name!r} already; questions open at once need names that differ"
            )
        if len(self._open) >= MOST:
            raise ValueError(f"run {run_id} asks {MOST} questions already; wait for answers before it asks more")

    def add(self, question: Question) -> None:
        """It is open from here on."""
        self._open[question.name] = question

    def remove(self, question: Question) -> None:
        """It is not open any more."""
        if self._open.get(question.name) is question:
            del self._open[question.name]

    def all(self) -> list[Question]:
        """In the order in which they were asked."""
        return list(self._open.values())

    def is_open(self, mark: str) -> bool:
        """Whether a message about a question is for one that somebody still waits for."""
        question = self._find(mark)
        return question is not None and not question.future.done()

    def settle(self, mark: str, letter: str, payload: bytes) -> None:
        """It was answered (`a`), or its time is over (`t`)."""
        question = self._find(mark)
        if question is not None and not question.future.done():
            question.future.set_result(payload if letter == "a" else None)

    def waiting(self) -> list[str]:
        """The names of what is asked, in the order in which it was."""
        return [name for name, question in self._open.items() if not question.future.done()]


async def ask(run: Run, name: str, kind: str, payload: bytes, timeout_ms: int | None) -> bytes | None:
    """Asks, and waits for the encoded answer; None if the time is over.

    Raises:
        ValueError: if a question of this name is open in this run, or too many are.
    """
    questions = run.questions
    questions.check(run.identity.id, name)
    number, since_ms = run.count(f"input:{name}"), run.now_ms
    head = f"{number} {since_ms} {'-' if timeout_ms is None else since_ms + timeout_ms}\n"
    question = Question(name, number, head, kind, payload, run.loop.create_future())
    questions.add(question)
    identity = f"input:{name}#{number}"
    line = record(Kind.INPUT, since_ms, identity, name, kind)
    run.issue(identity, Entry("R", line, question=("a", name, head, payload)))
    handle = None
    if timeout_ms is not None:
        handle = run.loop.call_later(timeout_ms / 1000, _run_out, run, question)
    try:
        return await question.future
    except asyncio.CancelledError:
        _close(run, question, "c", "given up")
        raise
    finally:
        questions.remove(question)
        if handle is not None:
            handle.cancel()


def close_questions(run: Run) -> None:
    """The run ends: a wait that was cancelled has closed its question, one that was cut short has not."""
    for question in run.questions.all():
        _close(run, question, "c", "given up")
        run.questions.remove(question)


def _run_out(run: Run, question: Question) -> None:
    _close(run, question, "x", "timeout")


def _close(run: Run, question: Question, letter: str, why: str) -> None:
    # Settled: the store has closed it. Closing: it has been asked to, and closes it unless an answer came first.
    if question.is_closing or (question.future.done() and not question.future.cancelled()):
        return
    question.is_closing = True
    identity = f"close:{question.name}#{question.number}"
    line = record(Kind.CLOSE, run.now_ms, identity, question.name, why)
    told = input_body(question.head + question.name, "t", b"") if letter == "x" else b""
    run.issue(identity, Entry("R", line, question=(letter, question.name, question.head, told)))
