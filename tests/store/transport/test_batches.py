"""Calls of one script that are made in one tick leave as one, and nobody who made one sees a difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_async.store import batches
from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.retry import Caller
from durable_async.store.scripts import Form, Script
from durable_async.store.transport import MuxTransport

pytestmark = pytest.mark.anyio

ADD = Script(
    "add",
    "--- @batch\nlocal key = KEYS[1]\nlocal by = ARGV[1]\nif by == 'bug' then error('a bug') end\n"
    "return { redis.call('INCRBY', key, by), ARGV[2] or '' }\n",
)
FORMS = {ADD.sha: Form(ADD)}


def add(key: str, by: Any, *more: Any) -> Any:
    return ADD.call((key,), (by, *more))


@pytest.fixture
async def caller(server: Any, opener: Any) -> Caller:
    transport = await opener(MuxTransport, server.url)
    server.admin("SCRIPT", "LOAD", ADD.body)
    server.admin("SCRIPT", "LOAD", ADD.batch)
    server.admin("CONFIG", "RESETSTAT")
    return Caller(
        transport,
        on_noscript=lambda args: ("EVAL", ADD.body, *args[2:]),
        forms=FORMS,
        start_s=0.005,
    )


async def all_of(caller: Caller, calls: list[Any]) -> list[Any]:
    """The answers to calls that are made in one tick, in the order in which they come."""
    got: list[tuple[int, Any]] = []
    for number, args in enumerate(calls):
        caller.run(args, lambda reply, number=number: got.append((number, reply)))  # type: ignore[misc]
    await caller.call(("PING",))
    while len(got) < len(calls):
        await caller.call(("PING",))
    return [reply for _, reply in sorted(got, key=lambda pair: pair[0])]


def calls_of(server: Any, name: str) -> int:
    for line in server.admin("INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{name}:"):
            return int(line.split("=")[1].split(",")[0])
    return 0


async def test_each_gets_its_own_answer_from_one_call(server: Any, caller: Caller) -> None:
    assert await all_of(caller, [add("n", 1), add("m", 5, "x"), add("n", 2)]) == [[1, b""], [5, b"x"], [3, b""]]
    assert calls_of(server, "evalsha") == 1


async def test_one_alone_is_the_script_itself(server: Any, caller: Caller) -> None:
    server.admin("SCRIPT", "FLUSH")
    server.admin("SCRIPT", "LOAD", ADD.body)
    assert await all_of(caller, [add("n", 1)]) == [[1, b""]]
    assert (calls_of(server, "evalsha"), calls_of(server, "eval")) == (1, 0)


async def test_an_error_is_of_its_call_alone_and_told_as_it_is(server: Any, caller: Caller) -> None:
    server.admin("SET", "text", "x")
    first, second, third, last = await all_of(caller, [add("n", 1), add("text", 1), add("n", "bug"), add("n", 1)])
    assert (first, last) == ([1, b""], [2, b""])
    assert isinstance(second, ServerError) and "not an integer" in str(second)
    assert isinstance(third, ServerError) and "a bug" in str(third)


async def test_a_forgotten_form_is_sent_whole_once(server: Any, caller: Caller) -> None:
    for expected in (2, 4):
        server.admin("SCRIPT", "FLUSH")
        assert (await all_of(caller, [add("n", 1), add("n", 1)]))[-1] == [expected, b""]
        assert (await all_of(caller, [add("n", 0), add("n", 0)]))[-1] == [expected, b""]
    assert calls_of(server, "eval") == 2
    assert caller.trouble is None


async def test_what_is_long_goes_alone_and_many_in_several(server: Any, caller: Caller) -> None:
    long = "x" * (batches.SMALL_BYTES + 1)
    replies = await all_of(caller, [add("n", 1), add("n", 1, long), add("n", 1)])
    assert sorted(reply[0] for reply in replies) == [1, 2, 3] and replies[1][1] == long.encode()
    assert calls_of(server, "evalsha") == 2
    replies = await all_of(caller, [add("m", 1) for _ in range(2 * batches.MAX_CALLS + 1)])
    assert [reply[0] for reply in replies] == list(range(1, 2 * batches.MAX_CALLS + 2))
    assert calls_of(server, "evalsha") == 5


async def test_no_batch_is_longer_than_its_limit(server: Any, caller: Caller, monkeypatch: Any) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 100)
    replies = await all_of(caller, [add("n", 1, "x" * 60) for _ in range(3)])
    assert [reply[0] for reply in replies] == [1, 2, 3]
    assert calls_of(server, "evalsha") == 3


async def test_what_cannot_be_sent_is_refused_at_once(server: Any, caller: Caller) -> None:
    got: list[Any] = []
    caller.run(add("n", 1), got.append)
    with pytest.raises(UnicodeEncodeError):
        caller.run(add("n", 1, "\ud800"), got.append)
    with pytest.raises(TypeError):
        caller.run(add("n", 1, None), got.append)
    caller.run(add("n", 1), got.append)
    await caller.call(("PING",))
    assert got == [[1, b""], [2, b""]]


async def test_all_try_again_when_the_connection_breaks(server: Any, caller: Caller) -> None:
    heard: list[str | None] = []
    caller.on_trouble.append(heard.append)
    got: list[Any] = []
    for by in (1, 10, 100):
        caller.run(add("n", by), got.append)
    caller.transport.reconnect("a test")
    while len(got) < 3:
        await caller.call(("PING",))
    assert await caller.call(("GET", "n")) == b"111"
    assert heard == ["CONNECTION", None]


async def test_a_broken_connection_is_told_to_each(server: Any, opener: Any) -> None:
    transport = await opener(MuxTransport, server.url)
    transport.forms = FORMS
    got: list[Any] = []
    for _ in range(3):
        transport.submit(add("n", 1), got.append)
    transport.reconnect("a test")
    assert [type(each) for each in got] == [ConnectionLost] * 3
    assert not any(each.sent for each in got)


async def test_a_full_memory_is_waited_out_by_each(server: Any, caller: Caller, eventual: Any) -> None:
    server.admin("CONFIG", "SET", "maxmemory", "1")
    got: list[Any] = []
    for by in (1, 10, 100):
        caller.run(add("n", by), got.append)
    await eventual(lambda: caller.trouble == "OOM", "the refusal")
    assert got == []
    server.admin("CONFIG", "SET", "maxmemory", "0")
    await eventual(lambda: len(got) == 3, "the answers")
    assert await caller.call(("GET", "n")) == b"111"


async def test_a_callback_that_raises_harms_no_neighbour(server: Any, caller: Caller) -> None:
    got: list[Any] = []
    loop_errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: loop_errors.append(context["exception"]))
    caller.run(add("n", 1), lambda reply: 1 / 0)
    caller.run(add("n", 1), got.append)
    await caller.call(("PING",))
    assert got == [[2, b""]]
    assert [type(each) for each in loop_errors] == [ZeroDivisionError]
