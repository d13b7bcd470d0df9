"""commit_run: questions are opened and closed in the commit that says so, once each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from durable_async.store.status import Answer

from .world import T0, Copy, World

WANTS = ("go", "park", "completed")
Question = tuple[str, str, str, bytes]


def head(number: int = 1, since: int = T0, expires: int | None = None) -> str:
    return f"{number} {since} {'-' if expires is None else expires}\n"


def op(letter: str, name: str, number: int = 1, rest: bytes = b"", **times: Any) -> Question:
    return letter, name, head(number, **times), rest


def questions(world: World) -> dict[str, bytes]:
    found: Any = world.server.hgetall(world.keys.questions)
    listed: Any = world.server.zrange(world.keys.inputs, 0, -1)
    assert set(found) == set(listed)
    return {member.decode(): value for member, value in found.items()}


def names(world: World, id: str = "r") -> list[str]:
    packed: Any = world.server.hget(world.keys.run(id), "inputs")
    return msgpack.unpackb(packed) if packed else []


async def running(world: World, id: str = "r") -> Copy:
    copy = await world.bring("running", id)
    assert copy
    return copy


@pytest.mark.parametrize("want", ["go", "park"])
async def test_it_is_open_from_the_commit_on(world: World, want: str) -> None:
    copy = await running(world)
    copy.commit(want, [b"R1"], questions=[op("a", "one", rest=b"what"), op("a", "two\n;", 3, b"", since=T0 - 7)])
    assert questions(world) == {"r\none": head().encode() + b"what", "r\ntwo\n;": head(3, T0 - 7).encode()}
    assert names(world) == ["one", "two\n;"]
    ranked: Any = world.server.zrange(world.keys.inputs, 0, -1, withscores=True)
    assert ranked == [(b"r\ntwo\n;", T0 - 7), (b"r\none", T0)]
    before = world.snapshot()
    world.repeat()
    assert world.snapshot() == before


async def test_a_commit_without_questions_does_not_touch_them(world: World) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one")])
    before = questions(world)
    copy.commit("go", [b"R2"])
    copy.commit("park", [b"R3"])
    assert (questions(world), names(world)) == (before, ["one"])


@pytest.mark.parametrize("want", WANTS)
async def test_it_is_closed_once_it_is_given_up(world: World, want: str) -> None:
    copy, other = await running(world), await running(world, "o")
    for each in (copy, other):
        each.commit("go", [b"R1"], questions=[op("a", "one"), op("a", "two")])
    reply = copy.commit(want, [b"R2"], questions=[op("c", "one")])
    assert sorted(questions(world)) == ["o\none", "o\ntwo", "r\ntwo"]
    assert names(world) == ["two"]
    assert reply[2] == [] and reply[0] != Answer.FENCED


@pytest.mark.parametrize("want", ["go", "park"])
async def test_the_end_of_its_time_is_told_if_it_is_still_open(world: World, want: str) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one", expires=T0 + 5)])
    reply = copy.commit(want, [b"R2"], questions=[op("x", "one", rest=b"told", expires=T0 + 5)])
    message = b"M1 %d Itold" % T0
    # What would have parked goes on: it has something to hear.
    assert (reply[0], reply[2], world.status()) == (Answer.OK, [message], "running")
    assert (questions(world), names(world), world.inbox()) == ({}, [], [message])
    assert world.repeat()[2] == [message]
    assert copy.commit("park", take=1)[0] == Answer.PARKED
    assert world.journal()[-1] == message


async def test_an_end_hears_nothing_any_more(world: World) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one")])
    reply = copy.commit("completed", [b"R2"], questions=[op("x", "one", rest=b"told")])
    assert (reply[0], reply[2], questions(world), world.inbox()) == (Answer.ENDED, [], {}, [])


async def test_what_was_answered_is_neither_closed_nor_told_again(world: World) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one"), op("a", "two")])
    for name in ("one", "two"):
        assert await world.store.provide_input("r", name, head(), None, name, b"yes", 9) is Answer.OK
    reply = copy.commit("park", [b"R2"], questions=[op("x", "one", rest=b"told"), op("c", "two")])
    assert reply[2] == [b"M1 %d Iyes" % T0, b"M2 %d Iyes" % T0]
    assert questions(world) == {}


ORDERS: dict[str, tuple[list[Question], bytes | None, int]] = {
    "asked and given up": ([op("a", "n"), op("c", "n")], None, 0),
    "asked and over at once": ([op("a", "n"), op("x", "n", rest=b"t")], None, 1),
    "given up and asked again": ([op("a", "n"), op("c", "n"), op("a", "n", 2, b"B")], head(2).encode() + b"B", 0),
    "an earlier one is closed late": ([op("a", "n", 2, b"B"), op("c", "n"), op("x", "n")], head(2).encode() + b"B", 0),
}


@pytest.mark.parametrize("order", ORDERS)
async def test_the_order_of_the_commit_counts(world: World, order: str) -> None:
    given, left, told = ORDERS[order]
    copy = await running(world)
    reply = copy.commit("go", [b"R1"], questions=given)
    assert questions(world) == ({} if left is None else {"r\nn": left})
    assert names(world) == ([] if left is None else ["n"])
    assert len(reply[2]) == told


async def test_asked_again_after_its_time_in_the_same_commit(world: World) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "n")])
    reply = copy.commit("park", [b"R2"], questions=[op("x", "n", rest=b"t"), op("a", "n", 2, b"B")])
    assert (len(reply[2]), questions(world), names(world)) == (1, {"r\nn": head(2).encode() + b"B"}, ["n"])


@pytest.mark.parametrize("damage", [b"\xff", b"", b"\x01", b"\x92\x01\xa3one", b"\xc1"])
async def test_a_damaged_list_of_names_is_none(world: World, damage: bytes) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one")])
    world.server.hset(world.keys.run("r"), "inputs", damage)
    assert copy.commit("go", [b"R2"], questions=[op("a", "two")])[0] == Answer.OK
    assert "two" in names(world)
    assert (await world.store.settle_run("r", "terminate", "cancelled", b"why"))[0]


@pytest.mark.parametrize("stored", [b"", b"junk", b"\n", b"1 x -\n"])
async def test_a_damaged_question_is_not_closed_for_another(world: World, stored: bytes) -> None:
    copy = await running(world)
    copy.commit("go", [b"R1"], questions=[op("a", "one")])
    world.server.hset(world.keys.questions, "r\none", stored)
    assert copy.commit("go", [b"R2"], questions=[op("c", "one")])[0] == Answer.OK
    assert world.server.hget(world.keys.questions, "r\none") == stored


Ends: dict[str, Callable[[World], Any]] = {
    "terminate": lambda w: w.store.settle_run("r", "terminate", "cancelled", b"why"),
    "grace": lambda w: w.store.settle_run("r", "grace", "cancelled", b"why"),
}


@pytest.mark.parametrize("cause", Ends)
async def test_an_end_from_outside_closes_all(world: World, cause: str) -> None:
    copy, other = await running(world), await running(world, "o")
    copy.commit("park", [b"R1"], questions=[op("a", "one"), op("a", "two")])
    other.commit("park", [b"R1"], questions=[op("a", "one")])
    if cause == "grace":
        await world.store.cancel_run("r", "why", "t", 0)
    assert (await Ends[cause](world))[0]
    assert list(questions(world)) == ["o\none"]
