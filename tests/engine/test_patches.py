"""`patched`: every journal that the old code can have written goes on under the new one, the same way on each replay.

Runs are driven here step by step, without a store: what a commit would append is the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from durable_async import (
    DeterminismError,
    NonDeterministicReplay,
    NotInWorkflow,
    call_workflow,
    patched,
    start_workflow,
    step,
    wait_for_event,
    workflow,
)
from durable_async.codec import MsgpackCodec
from durable_async.engine.records import Kind, event_body, parse_record
from durable_async.engine.run import EFFECTS_PER_COMMIT, Run
from durable_async.engine.spec import RunIdentity
from durable_async.store.commands import Claimed
from durable_async.types import Limits
from durable_async.worker.rebuild import begin_run

IDENTITY = RunIdentity("r", "r", None, None, "default", 0, 1, 1_000, 1_000)
CODEC = MsgpackCodec()
made: list[Run] = []


@pytest.fixture(autouse=True)
def _dropped() -> Iterator[None]:
    yield
    for run in made:
        run.abandon()
    made.clear()


class Story:
    """A run and its journal. Each commit is one item of `commits`."""

    def __init__(self, body: Any, journal: list[bytes] | None = None) -> None:
        self.body = body
        self.journal = list(journal or [b"S"])
        self.commits: list[list[bytes]] = [self.journal[:]]
        self.now_ms = 2_000
        self.run = self.rebuilt()

    def rebuilt(self) -> Run:
        """The run as a worker makes it that takes it over."""
        run = Run(workflow(name="w")(self.body).spec, IDENTITY, CODEC, Limits())
        made.append(run)
        begin_run(run, claimed(self.journal))
        assert not run.corrupt
        return run

    def commit(self) -> bool:
        """One commit; False if there is nothing to commit."""
        if not self.run.has_news():
            return False
        lines = [entry.value for entry in self.run.take_turn().entries if entry.letter == "R"]
        self.journal += lines
        self.commits.append(self.journal[:])
        return True

    def go(self, *, events: tuple[str, ...] = (), replay: bool = False) -> str:
        """To the end: steps return at once, events come when nothing else is to be done. Returns the output."""
        waiting = list(events)
        while self.run.outcome is None:
            while self.commit():
                if replay and self.run.outcome is None:
                    self.run = self.rebuilt()
            if self.run.outcome is not None:
                break
            self.now_ms += 10
            if launches := self.run.steps.take_launches():
                # The last one first: the order in which they end is not that in which they were called.
                self.run.step_returned(launches[-1], launches[-1].args[0], self.now_ms, 0)
                self.run.steps.launches += launches[:-1]
            elif waiting:
                self.tell(waiting.pop(0))
            else:
                return "waits"
        while self.commit():
            if not self.run._list:
                break
        assert self.run.outcome is not None and self.run.outcome.status == "completed", self.run.outcome
        return str(CODEC.decode(self.run.outcome.payload))

    def tell(self, name: str) -> None:
        # Numbers rise with the journal.
        body = event_body(name, CODEC.encode(name, limit=1_000))
        raw = b"M%d %d E" % (10 * len(self.journal), self.now_ms) + body
        self.run.feed_messages([raw])
        self.run._list = [entry for entry in self.run._list if entry.letter != "T"]
        self.journal.append(raw)


def claimed(journal: list[bytes]) -> Claimed:
    return Claimed(
        1, 1_000, "w", "default", "", "", "", "", 1, 0, 1_000, None, -1, 1, None, journal, len(journal), []
    )  # fmt: skip


def marks(journal: list[bytes]) -> int:
    records = [parse_record(line) for line in journal if line[:1] == b"R"]
    return sum(values[0] == Kind.PATCH for values in records)


async def same(text: str) -> str:
    return text


async def work(text: str) -> str:
    """A step of its own for each text."""
    return await step(name="plus" if text == "+" else text)(same)(text)


# ---------------------------------------------------------------------- one place, one after the other


async def old_line() -> str:
    return await work("a") + await work("b") + await work("c")


async def new_line() -> str:
    found = await work("a")
    if patched("x"):
        found += await work("new")
    return found + await work("b") + await work("c")


async def removed_line() -> str:
    """The old way is gone, and the call."""
    return await work("a") + await work("new") + await work("b") + await work("c")


async def moved_line() -> str:
    """The call is later than it was."""
    found = await work("a") + await work("new") + await work("b")
    return found + (await work("c") if patched("x") else "old")


@pytest.mark.parametrize("replay", [False, True])
def test_each_place_at_which_the_old_code_can_have_been(replay: bool) -> None:
    old = Story(old_line)
    assert old.go() == "abc"
    found = []
    for journal in old.commits[:-1]:
        story = Story(new_line, journal)
        found.append(story.go(replay=replay))
        assert marks(story.journal) == ("new" in found[-1])
        # Whoever reads it later sees the same.
        assert Story(new_line, story.journal).go() == found[-1]
    # Not begun; `a` recorded, and nothing after it; `b` recorded.
    assert found == ["anewbc", "anewbc", "abc"]


@pytest.mark.parametrize("replay", [False, True])
def test_a_run_of_the_new_code_at_each_of_its_commits(replay: bool) -> None:
    first = Story(new_line)
    assert first.go(replay=replay) == "anewbc"
    for journal in first.commits:
        assert Story(new_line, journal).go(replay=replay) == "anewbc"


def test_without_it_the_change_does_not_fit() -> None:
    old = Story(old_line)
    old.go()
    with pytest.raises(NonDeterministicReplay):
        Story(removed_line, old.commits[2])


def test_the_call_can_be_removed_once_no_run_goes_the_old_way() -> None:
    first = Story(new_line)
    first.go()
    for body in (removed_line, moved_line):
        for journal in first.commits:
            assert Story(body, journal).go() == "anewbc"


def test_it_can_come_back_after_a_roll_back() -> None:
    """The old code met the mark of the new one; it goes the way that it has, and so does who comes next."""
    first = Story(new_line)
    first.go()
    assert marks(first.commits[1]) == 1 and "new" not in str(first.commits[1])
    with pytest.raises(NonDeterministicReplay):
        Story(old_line, first.commits[2])
    # Nothing of the new way was recorded but the mark.
    back = Story(old_line, first.commits[1])
    assert marks(back.journal) == 1
    assert back.go() == "abc"


# ---------------------------------------------------------------------- parked before it


async def old_parked() -> str:
    return await wait_for_event("go") + await wait_for_event("on")


async def new_parked() -> str:
    found = await wait_for_event("go")
    return found + ("new" if patched("x") else "old") + await wait_for_event("on")


@pytest.mark.parametrize("replay", [False, True])
def test_parked_right_before_it(replay: bool) -> None:
    old = Story(old_parked)
    assert old.go(events=("other",)) == "waits"
    assert Story(new_parked, old.journal).go(events=("go", "on"), replay=replay) == "gonewon"
    old.tell("go")
    # Told, and nothing recorded since: it goes the new way. Told of something else since: it had gone the old way.
    assert Story(new_parked, old.journal).go(events=("on",), replay=replay) == "gonewon"
    old.tell("another")
    assert Story(new_parked, old.journal).go(events=("on",), replay=replay) == "gooldon"


# ---------------------------------------------------------------------- loops, branches, several of them


async def old_loop() -> str:
    return "".join([await work(str(n)) for n in range(4)])


async def new_loop() -> str:
    found = ""
    for n in range(4):
        found += await work(str(n)) + ("+" if patched("x") else "-")
    return found


async def old_branches() -> str:
    async def branch(name: str) -> str:
        return await work(name + "1") + await work(name + "2")

    return "".join(await asyncio.gather(*map(branch, "abc")))


async def new_branches() -> str:
    async def branch(name: str) -> str:
        found = await work(name + "1")
        return found + (await work("+") if patched("x") else "-") + await work(name + "2")

    return "".join(await asyncio.gather(*map(branch, "abc")))


async def old_several() -> str:
    return await work("a") + await work("b")


async def new_several() -> str:
    found = [await work("a"), str(patched("x")), await work("b"), str(patched("y")), str(patched("x"))]
    return " ".join(found)


PAIRS: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (old_loop, new_loop), (old_branches, new_branches), (old_several, new_several),
]  # fmt: skip


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda body: body.__name__)
def test_one_answer_for_each_run(old: Any, new: Any, replay: bool) -> None:
    before = Story(old)
    before.go()
    answers = set()
    for journal in before.commits:
        story = Story(new, journal)
        found = story.go(replay=replay)
        for later in story.commits:
            assert Story(new, later).go() == found
        if new is not new_several:
            assert ("+" in found) != ("-" in found)
        answers.add(found)
    assert len(answers) == 2


def test_several_names_are_several_changes() -> None:
    before = Story(old_several)
    before.go()
    found = [Story(new_several, journal).go() for journal in before.commits[:-1]]
    assert found == ["a True b True True", "a True b True True"]
    assert Story(new_several, before.commits[-1]).go() == "a False b True False"


# ---------------------------------------------------------------------- children, and the bounds of a commit


@workflow
async def kid() -> str:
    return "kid"


async def old_children() -> str:
    await work("a")
    for _ in range(EFFECTS_PER_COMMIT + 9):
        await start_workflow(kid)
    return await wait_for_event("go")


async def new_children() -> str:
    await work("a")
    for _ in range(EFFECTS_PER_COMMIT + 9):
        await start_workflow(kid)
    if patched("x"):
        await start_workflow(kid, ref="another")
        return "new"
    return await wait_for_event("go")


def test_what_was_asked_for_on_the_way_is_not_past_it() -> None:
    """A commit takes so many children: the first of them are recorded, and the mark is not yet."""
    story = Story(new_children)
    assert story.go() == "new"
    assert max(len(b) - len(a) for a, b in zip(story.commits, story.commits[1:], strict=False)) > EFFECTS_PER_COMMIT - 2
    for journal in story.commits:
        assert Story(new_children, journal).go() == "new"
    old = Story(old_children)
    assert old.go() == "waits"
    for journal in old.commits:
        assert Story(new_children, journal).go() == "new"
    old.tell("go")
    assert Story(new_children, old.journal).go() == "go"


async def changed_input() -> str:
    return str(await call_workflow(kid, ref="b" if patched("x") else "a"))


def test_it_is_recorded_before_what_follows() -> None:
    story = Story(changed_input)
    assert story.go() == "waits"
    kinds = [parse_record(line)[0] for line in story.journal[1:]]
    assert kinds == [Kind.PATCH, Kind.CHILD]


# ---------------------------------------------------------------------- where it does not belong


def test_outside_a_workflow() -> None:
    with pytest.raises(NotInWorkflow, match="patched"):
        patched("x")


@pytest.mark.parametrize("name", ["", "x" * 129, 5, None, "\ud800", b"x"])
def test_names_that_are_none(name: Any) -> None:
    async def body() -> str:
        try:
            patched(name)
        except ValueError as error:
            return str(error)
        return "fine"

    assert "change" in Story(body).go()


async def test_in_a_step() -> None:
    from durable_async.workflow.current import step_scope

    token = step_scope.set((None, None, None))  # type: ignore[arg-type]
    try:
        with pytest.raises(DeterminismError, match="patched"):
            patched("x")
    finally:
        step_scope.reset(token)
