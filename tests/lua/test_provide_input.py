"""provide_input: an open question is answered once, and its run is woken or nudged."""

from __future__ import annotations

import pytest

from durable_async.errors import RunNotFound
from durable_async.store.status import Answer

from .test_commit_questions import head, names, op, questions
from .world import STATES, T0, TERMINAL, Copy, World


async def asking(world: World, want: str = "park", expires: int | None = None) -> Copy:
    copy = await world.bring("running")
    assert copy
    copy.commit(want, [b"R1"], questions=[op("a", "one", expires=expires), op("a", "two")])
    world.read("A")
    return copy


async def answer(world: World, token: str = "t1", limit: int = 10, **more: int) -> Answer:
    """Of the question `one`."""
    return await world.store.provide_input("r", "one", head(**more), more.get("expires"), token, b"body", limit)


@pytest.mark.parametrize("state", STATES)
async def test_what_does_not_ask_takes_no_answer(world: World, state: str) -> None:
    await world.bring(state)
    before = world.snapshot()
    if state == "absent":
        with pytest.raises(RunNotFound):
            await answer(world)
    else:
        assert await answer(world) is (Answer.DONE if state in TERMINAL else Answer.STALE)
    assert world.snapshot() == before


@pytest.mark.parametrize("want", ["park", "go", "block"])
async def test_an_answer_is_delivered_and_closes_the_question(world: World, want: str) -> None:
    await asking(world, want)
    assert await answer(world) is Answer.OK
    assert world.inbox() == [b"M1 %d Ibody" % T0]
    assert (list(questions(world)), names(world)) == (["r\ntwo"], ["two"])
    if want == "park":
        assert (world.status(), world.read("A")) == ("ready", [("r", world.entry())])
    elif want == "go":
        assert (world.status(), world.read("A")) == ("running", [("n", "r")])
    else:
        assert world.status() == "blocked"
    after = world.snapshot()
    assert world.repeat() == [Answer.OK, T0]
    assert world.snapshot() == after


async def test_of_two_answers_one_is_accepted(world: World) -> None:
    await asking(world)
    assert await answer(world, "t1") is Answer.OK
    before = world.snapshot()
    assert await answer(world, "t2") is Answer.STALE
    assert world.snapshot() == before


async def test_a_repeat_gets_the_first_reply_whatever_has_happened_since(world: World) -> None:
    copy = await asking(world)
    assert await answer(world) is Answer.OK
    repeat = world.caller.sent[-1]
    copy.resume()
    copy.commit("go", [b"R2"], take=1, questions=[op("a", "one", 2)])
    before = world.snapshot()
    assert world.caller.execute(repeat) == [Answer.OK, T0]
    assert world.snapshot() == before
    copy.commit("completed", [b"R3"], questions=[op("c", "one", 2), op("c", "two")])
    before = world.snapshot()
    assert world.caller.execute(repeat) == [Answer.OK, T0]
    assert world.snapshot() == before


async def test_another_question_of_the_same_name_is_not_answered(world: World) -> None:
    """It was asked anew, perhaps with other choices, after the caller had read it."""
    copy = await asking(world, "go")
    copy.commit("park", [b"R2"], questions=[op("c", "one"), op("a", "one", 2)])
    before = world.snapshot()
    assert await answer(world) is Answer.STALE
    assert world.snapshot() == before
    assert await answer(world, number=2) is Answer.OK


@pytest.mark.parametrize(("late_ms", "found"), [(-1, Answer.OK), (0, Answer.DONE), (1, Answer.DONE)])
async def test_once_its_time_is_over_it_takes_no_answer(world: World, late_ms: int, found: Answer) -> None:
    await asking(world, expires=T0 + 50)
    world.now = T0 + 50 + late_ms
    before = world.snapshot()
    assert await answer(world, expires=T0 + 50) is found
    assert (world.snapshot() == before) == (found is Answer.DONE)


async def test_a_cancel_that_the_body_has_not_seen_closes_it(world: World) -> None:
    copy = await asking(world)
    assert (await world.store.cancel_run("r", "why", "t", 1_000))[0]
    before = world.snapshot()
    assert await answer(world) is Answer.DONE
    assert world.snapshot() == before
    # What its cleanup asks can be answered.
    copy.resume()
    copy.commit("park", take=1, questions=[op("c", "one"), op("a", "one", 2)])
    assert await answer(world, number=2) is Answer.OK


async def test_a_full_inbox_refuses_and_leaves_it_open(world: World) -> None:
    await asking(world, "go")
    await world.store.send_event("r", "e", b"x", 1)
    before = world.snapshot()
    assert await answer(world, limit=1) is Answer.FULL
    assert world.snapshot() == before
    assert await answer(world, limit=2) is Answer.OK


async def test_a_worker_that_took_the_run_meanwhile_means_another_look(world: World) -> None:
    await asking(world)
    k = world.keys
    before = world.snapshot()
    keys = [k.run("r"), k.inbox("r"), k.worker("Z"), k.queue("q"), k.inputs, k.questions]
    args = ("", "r", "one", head(), "", "t1", b"b", "Z", 9)
    assert world.eval("provide_input", keys, args) == [Answer.RETRY]
    assert world.snapshot() == before
