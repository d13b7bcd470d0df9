"""What both transports promise while the server is well."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import Any

import pytest

from durable_async.errors import PayloadTooLarge, StoreUnavailable
from durable_async.store.connect import ConnectionSpec
from durable_async.store.errors import ConnectionLost, ServerError, TakeoverUnsupported
from durable_async.store.pipeline_transport import PipelineTransport
from durable_async.store.transport import MuxTransport, open_transport
from durable_async.store.transport_base import opened

pytestmark = pytest.mark.anyio


async def test_replies_arrive_as_the_server_gives_them(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    assert await transport.call("SET", "k", b"\x00\xff") == b"OK"
    assert await transport.call("GET", "k") == b"\x00\xff"
    assert await transport.call("GET", "missing") is None
    assert await transport.call("INCRBY", "n", 41) == 41
    assert await transport.call("INCRBYFLOAT", "f", 1.5) == b"1.5"
    assert await transport.call("LRANGE", "missing", 0, -1) == []
    assert await transport.call("EVAL", "return {1, 'a', {false, ARGV[1]}}", 0, memoryview(b"b")) == [
        1,
        b"a",
        [None, b"b"],
    ]
    assert await transport.call("HGETALL", "missing") == []
    assert await transport.call("PING") == b"PONG"
    assert isinstance(await transport.call("INFO", "server"), bytes)


async def test_the_connection_is_named_and_speaks_resp2(kind: Any, server: Any, opener: Any) -> None:
    await opener(kind, server.url, role="committer")
    (line,) = [line for line in server.admin("CLIENT", "LIST").splitlines() if b"name=durable:committer " in line]
    assert b"resp=2" in line


async def test_ten_thousand_replies_keep_their_order(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    replies: list[object] = []
    for _ in range(10_000):
        transport.submit(("INCR", "n"), replies.append)
    assert await transport.call("INCR", "n") == 10_001
    assert replies == list(range(1, 10_001))


async def test_all_commands_of_a_tick_leave_in_one_write(server: Any, opener: Any) -> None:
    transport = await opener(MuxTransport, server.url)
    link = transport._link
    writes: list[int] = []

    class Counting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def write(self, data: bytes) -> None:
            writes.append(len(data))
            self.inner.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    link.transport = Counting(link.transport)
    await asyncio.gather(*(transport.call("ECHO", f"{n}") for n in range(500)))
    assert len(writes) == 1
    again: list[object] = []
    transport.submit(("PING",), lambda _: [transport.submit(("PING",), again.append) for _ in range(50)])
    await transport.call("PING")
    await transport.call("PING")
    assert len(again) == 50
    assert len(writes) == 4


async def test_cancelled_callers_never_shift_the_replies_of_others(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    dice = random.Random(7)

    async def ask(n: int) -> int:
        for step in range(5):
            answer = await transport.call("ECHO", f"{n}.{step}")
            assert answer == f"{n}.{step}".encode()
        return n

    tasks = [asyncio.create_task(ask(n)) for n in range(1200)]
    doomed = dice.sample(tasks, 600)
    for index, task in enumerate(doomed):
        if index % 40 == 0:
            await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    survivors = [n for n, task in enumerate(tasks) if task not in set(doomed)]
    assert [results[n] for n in survivors] == survivors
    assert all(isinstance(result, int | asyncio.CancelledError) for result in results)
    assert any(isinstance(result, asyncio.CancelledError) for result in results)
    assert await transport.call("ECHO", "end") == b"end"


async def test_an_error_reply_is_a_server_error_with_its_code(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    results = await asyncio.gather(
        transport.call("EVALSHA", "0" * 40, 0),
        transport.call("SET", "s", "x"),
        transport.call("HGET", "s", "f"),
        transport.call("NONSENSE", "S3CR3T"),
        transport.call("ECHO", "neighbour"),
        return_exceptions=True,
    )
    codes = [result.code if isinstance(result, ServerError) else result for result in results]
    assert codes == ["NOSCRIPT", b"OK", "WRONGTYPE", "ERR", b"neighbour"]
    assert "S3CR3T" not in str(results[3])


@pytest.mark.parametrize("bad", [None, True, object(), ["list"], "\ud800"])
async def test_a_wrong_argument_is_refused_before_anything_is_sent(
    kind: Any, server: Any, opener: Any, bad: Any
) -> None:
    transport = await opener(kind, server.url)
    first = asyncio.ensure_future(transport.call("ECHO", "first"))
    with pytest.raises((TypeError, UnicodeEncodeError)):
        transport.submit(("SET", "k", bad), lambda _: None)
    assert await first == b"first"
    assert await transport.call("GET", "k") is None


async def test_a_command_the_server_would_choke_on_is_refused(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    transport.max_command_bytes = 1000
    with pytest.raises(PayloadTooLarge):
        await transport.call("SET", "k", "x" * 1000)
    assert await transport.call("GET", "k") is None


async def test_large_requests_and_replies(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    blob = random.Random(1).randbytes(24 * 1024 * 1024)
    results = await asyncio.gather(
        transport.call("SET", "big", blob),
        transport.call("ECHO", "a"),
        transport.call("GET", "big"),
        transport.call("ECHO", "b"),
    )
    assert results == [b"OK", b"a", blob, b"b"]


async def test_a_callback_that_raises_does_not_reach_its_neighbours(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def broken(reply: object) -> None:
        raise ZeroDivisionError

    replies: list[object] = []
    transport.submit(("ECHO", "1"), replies.append)
    transport.submit(("ECHO", "2"), broken)
    transport.submit(("ECHO", "3"), replies.append)
    assert await transport.call("ECHO", "4") == b"4"
    assert replies == [b"1", b"3"]
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]


async def test_no_callback_runs_before_submit_returns(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    await transport.close()
    replies: list[Any] = []
    transport.submit(("PING",), replies.append)
    assert replies == []
    await asyncio.sleep(0)
    (error,) = replies
    assert isinstance(error, ConnectionLost)
    assert error.sent is False
    with pytest.raises(StoreUnavailable, match="closed by its owner"):
        await transport.call("PING")


async def test_closing_fails_what_is_outstanding_and_is_repeatable(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    waiting = asyncio.ensure_future(transport.call("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await transport.close()
    await transport.close()
    with pytest.raises(ConnectionLost):
        await waiting
    assert not transport.is_connected


async def test_closing_within_a_callback(server: Any, opener: Any) -> None:
    transport = await opener(MuxTransport, server.url)
    seen: list[Any] = []
    done = asyncio.Event()

    def close(reply: object) -> None:
        transport.reconnect("because the test says so")
        done.set()

    transport.submit(("ECHO", "1"), close)
    transport.submit(("ECHO", "2"), seen.append)
    await done.wait()
    assert isinstance(seen[0], ConnectionLost)
    assert seen[0].sent is True


async def test_a_transport_is_opened_once_and_first(kind: Any, server: Any) -> None:
    transport = kind(ConnectionSpec.from_url(server.url))
    with pytest.raises(RuntimeError, match="not open yet"):
        transport.submit(("PING",), print)
    async with opened(transport):
        with pytest.raises(RuntimeError, match="opened before"):
            await transport.open()


async def test_another_event_loop_is_refused(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    caught: list[BaseException] = []

    def elsewhere() -> None:
        for attempt in (lambda: asyncio.run(transport.call("PING")), lambda: transport.submit(("PING",), print)):
            try:
                attempt()
            except RuntimeError as error:
                caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)
    assert ["another event loop" in str(error) for error in caught] == [True, True]
    assert await transport.call("PING") == b"PONG"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_use_after_a_fork_is_refused(kind: Any, server: Any, opener: Any) -> None:
    transport = await opener(kind, server.url)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            transport.submit(("SET", "forked", "1"), print)
        except RuntimeError as error:
            status = 0 if "fork" in str(error) else 2
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await transport.call("GET", "forked") is None


async def test_the_fallback_is_used_if_the_connection_cannot_be_taken_over(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(conn: Any, link: Any) -> None:
        raise TakeoverUnsupported("no stream")

    monkeypatch.setattr("durable_async.store.transport._take_over", refuse)
    transport = await open_transport(ConnectionSpec.from_url(server.url))
    try:
        assert isinstance(transport, PipelineTransport)
        assert await transport.call("PING") == b"PONG"
    finally:
        await transport.close()


async def test_the_better_transport_is_used_if_it_can(server: Any) -> None:
    transport = await open_transport(ConnectionSpec.from_url(server.url))
    await transport.close()
    assert isinstance(transport, MuxTransport)
