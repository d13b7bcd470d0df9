"""What a claim, a resume and a commit answer of an inbox and a journal: a page, bounded in lines and in bytes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pytest

from durable_async.store.commands import Claimed
from durable_async.store.status import Answer
from durable_async.store.store import PAGE

from .world import T0, Copy, World

KIB = 1024
BUDGET = 512 * KIB


async def send(world: World, count: int, size: int = 1) -> None:
    for _ in range(count):
        await world.store.send_event("r", secrets.token_hex(4), b"x" * size, 10_000)


def numbers(messages: Sequence[bytes]) -> list[int]:
    return [int(message[1 : message.index(b" ")]) for message in messages]


async def running(world: World) -> Copy:
    copy = await world.bring("running")
    assert copy
    return copy


async def test_what_the_owner_has_is_not_answered_again(world: World) -> None:
    """A commit that is cut before the messages it has fed (64 children come first, say) is told what comes after."""
    copy = await running(world)
    await send(world, 2 * PAGE + 50)
    first = copy.commit("go")[2]
    assert numbers(first) == list(range(1, PAGE + 1))
    second = copy.commit("go", [b"R1"], seen=PAGE)[2]
    assert numbers(second) == list(range(PAGE + 1, 2 * PAGE + 1))
    # Some are taken, some are known and wait for the next commit.
    copy.inbox = first
    third = copy.commit("go", take=60, seen=2 * PAGE)[2]
    assert numbers(third) == list(range(2 * PAGE + 1, 2 * PAGE + 51))
    assert len(world.inbox()) == 2 * PAGE - 10
    copy.inbox = [*first[60:], *second, *third]
    assert copy.commit("park", take=len(copy.inbox), seen=2 * PAGE + 50)[0] == Answer.PARKED


async def test_a_repeated_commit_is_answered_the_same_page(world: World) -> None:
    copy = await running(world)
    await send(world, 2 * PAGE)
    copy.commit("go")
    first = copy.commit("go", [b"R1"], seen=PAGE)
    assert copy.commit("go", [b"R1"], seen=PAGE, seq=copy.seq) == first


async def test_a_claim_begins_at_the_first_message(world: World) -> None:
    """What the last owner had been told was in its memory alone."""
    copy = await running(world)
    await send(world, 3)
    copy.commit("go")
    await world.store.release_entry("r", world.keys.queue("q"), "q", copy.entry)
    assert numbers(Claimed.from_reply(world.claim_reply("B", "r", nonce="n2")).inbox) == [1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "answered"),
    [([300, 300, 300], 1), ([200, 200, 200, 200], 2), ([600, 1], 1), ([1, 600], 1), ([4] * 150, PAGE), ([10] * 99, 51)],
    ids=lambda given: str(given)[:30],
)
async def test_a_page_has_a_budget_of_bytes(world: World, sizes: list[int], answered: int) -> None:
    copy = await running(world)
    assert copy.commit("park")[0] == Answer.PARKED
    for size in sizes:
        await send(world, 1, size * KIB)
    assert len(copy.resume()[1]) == answered
    assert len(copy.commit("go", take=0)[2]) == answered
    await world.store.release_entry("r", world.keys.queue("q"), "q", copy.entry)
    assert len(Claimed.from_reply(world.claim_reply("B", "r", nonce="n2")).inbox) == answered


async def test_all_messages_arrive_page_by_page(world: World) -> None:
    copy = await running(world)
    await send(world, 7, 300 * KIB)
    copy.commit("go")
    told = list(copy.inbox)
    while copy.commit("park", take=len(copy.inbox), seen=len(told))[0] == Answer.OK:
        assert copy.inbox, "a commit answered with nothing though messages wait"
        told += copy.inbox
    assert numbers(told) == list(range(1, 8))


async def test_a_journal_of_many_bytes_is_answered_in_part_with_its_length(world: World) -> None:
    await world.start()
    copy = world.claim()
    copy.commit("park", [b"R" + b"x" * 200 * KIB] * 5)
    await world.store.send_event("r", "e", b"x", 10)
    claimed = Claimed.from_reply(world.claim_reply("B", "r", nonce="n2"))
    assert (len(claimed.journal), claimed.journal_length) == (3, 6)
    assert claimed.inbox == [b"M1 %d Ex" % T0]


async def test_what_a_commit_tells_itself_waits_behind_what_is_not_told_yet(world: World) -> None:
    """An awaited child has ended already: its message has the last number, and a page may end before it."""
    copy = await running(world)
    copy.commit("go", [b"Rc"], children=[world.child("r/c", "r", notify=False)])
    child = world.claim("A", "r/c")
    assert child.commit("completed", payload=b"out")[0] == Answer.ENDED
    await send(world, PAGE + 20)
    copy.inbox = []
    reply = copy.commit("park", [b"Rawait"], awaits=["r/c"])
    assert reply[0] == Answer.OK
    assert numbers(reply[2]) == list(range(1, PAGE + 1))
    rest = copy.commit("park", take=PAGE, seen=PAGE)[2]
    assert numbers(rest) == list(range(PAGE + 1, PAGE + 22))
    assert rest[-1].endswith(b"Ccr/c\nout")
    assert copy.commit("park", take=21, seen=PAGE + 21)[0] == Answer.PARKED
