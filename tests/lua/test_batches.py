"""Scripts that take many calls: each call is answered, and does, what it is and does alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis

from durable_async.store.scripts import FORMS, SCRIPTS

from .world import T0, World

Command = tuple[Any, ...]
ENTRY = re.compile(rb"\d{13,}-\d+")


def joined(commands: list[Command]) -> Command:
    """Many calls of one script as its form takes them."""
    form = FORMS[commands[0][1]]
    shape = " ".join(f"{c[2]} {len(c) - 3 - c[2]}" for c in commands)
    keys = [key for c in commands for key in c[3 : 3 + c[2]]]
    args = [arg for c in commands for arg in c[3 + c[2] :]]
    return ("EVAL", form.body, len(keys), *keys, shape, *args)


def plain(value: Any) -> Any:
    """A reply or a key's value without what differs from one time to the next: ids of entries, times to live."""
    if isinstance(value, int) and value > T0:
        return "until"
    if isinstance(value, redis.exceptions.ResponseError):
        return re.sub(r"(?: script: .*| on @user_script.*)", "", str(value)).split(" ")[0]
    if isinstance(value, bytes):
        return ENTRY.sub(b"<entry>", value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return {plain(k): plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def answers(world: World, command: Command) -> Any:
    try:
        return world.server.execute_command(*command)
    except redis.exceptions.ResponseError as error:
        return error


async def all_answers(world: World, commands: list[Command]) -> list[Any]:
    """Of a batch; what raised in it is asked again alone."""
    replies = answers(world, joined(commands))
    return [
        plain(answers(world, command) if reply is None else reply)
        for command, reply in zip(commands, replies, strict=True)
    ]


async def start_some(world: World) -> list[Command]:
    """Two new ones, the first once more, one with a delay, and one whose record is damaged."""
    world.server.set(world.keys.run("damaged"), "x")
    world.caller.is_dry = True
    of = {"b": {"client": "c1"}, "d": {"delay_ms": 50}}
    for id in ("a", "b", "a", "d", "damaged", "e"):
        await world.store.start_run(world.new(id, **of.get(id, {})))
    return world.caller.sent[-6:]


async def commit_some(world: World) -> list[Command]:
    """One goes on, goes on again in the same batch, one ends, one is fenced, one is damaged, one parks."""
    copies = {}
    for id in "abcdef":
        await world.start(id)
        copies[id] = world.claim("A", id)
    world.server.delete(world.keys.journal("e"))
    world.server.set(world.keys.journal("e"), "x")
    world.caller.is_dry = True
    first = len(world.caller.sent)
    for id, want, record, epoch in (
        ("a", "go", b"R1", 1), ("a", "park", b"R2", 1), ("b", "completed", b"R3", 1), ("c", "go", b"R4", 7),
        ("e", "completed", b"R5", 1), ("f", "park", b"R6", 1), ("b", "completed", b"R3", 1),
    ):  # fmt: skip
        copies[id].epoch = epoch
        copies[id].inbox = []
        before = copies[id].seq
        copies[id].seq = 0 if (id, before) == ("b", 1) else before
        world.run(world.store.commit_run, commit_of(copies[id], want, record))
    return world.caller.sent[first:]


def commit_of(copy: Any, want: str, record: bytes) -> Any:
    from durable_async.store.commands import Commit

    copy.seq += 1
    return Commit(copy.id, copy.epoch, copy.nonce, copy.seq, copy.entry, want, [("R", record)], b"out")


async def send_some(world: World) -> list[Command]:
    """Two for a parked run, one of them twice; one for nobody; one into a damaged inbox."""
    await world.bring("parked", "p")
    await world.bring("parked", "q")
    world.server.set(world.keys.inbox("q"), "x")
    world.caller.is_dry = True
    first = len(world.caller.sent)
    for id, event in (("p", "e1"), ("p", "e2"), ("p", "e1"), ("nobody", "e3"), ("q", "e4"), ("p", "e5")):
        keys = [world.keys.run(id), world.keys.inbox(id), world.keys.worker("A"), world.keys.queue("q")]
        world.eval("send_event", keys, (T0, id, event, b"x", "A" if id != "nobody" else "", 10))
    return world.caller.sent[first:]


SOME: dict[str, Callable[[World], Any]] = {
    "start_run": start_some, "commit_run": commit_some, "send_event": send_some
}  # fmt: skip


def test_every_form_is_tried() -> None:
    assert {form.name for form in FORMS.values()} == set(SOME)


@pytest.mark.parametrize("name", SOME)
async def test_a_batch_does_what_its_calls_do_one_by_one(world: World, name: str) -> None:
    async def prepared() -> list[Command]:
        world.server.flushdb()
        world.caller.is_dry = False
        world.__post_init__()
        return await SOME[name](world)  # type: ignore[no-any-return]

    world.server.script_load(SCRIPTS[name].body)  # type: ignore[arg-type]
    alone = [plain(answers(world, c)) for c in await prepared()]
    after = plain(world.snapshot())
    commands = await prepared()
    together = await all_answers(world, commands)
    assert len(commands) >= 5 and any(reply == "WRONGTYPE" for reply in alone)
    assert together == alone
    assert plain(world.snapshot()) == after


async def test_the_clock_is_asked_once(world: World) -> None:
    world.store.given_now = ""  # type: ignore[assignment]
    world.caller.is_dry = True
    for id in "abc":
        await world.store.start_run(world.new(id))
    world.server.config_resetstat()
    replies = answers(world, joined(world.caller.sent[-3:]))
    assert len({reply[1] for reply in replies}) == 1 and replies[0][1] > T0
    assert world.server.info("commandstats")["cmdstat_time"]["calls"] == 1  # type: ignore[index]
