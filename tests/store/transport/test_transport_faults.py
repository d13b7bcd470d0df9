"""What both transports promise when the connection, the network or the server is not well."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any

import pytest

from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.store.connect import ConnectionSpec
from durable_async.store.errors import ConnectionLost
from durable_async.store.transport import MuxTransport

pytestmark = pytest.mark.anyio


async def _outcome(transport: Any, *args: Any) -> Any:
    try:
        return await transport.call(*args)
    except ConnectionLost as error:
        return error


async def test_client_kill_under_load(kind: Any, server: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, server.url)
    done: list[Any] = []

    async def caller() -> None:
        for _ in range(400):
            done.append(await _outcome(transport, "INCR", "n"))
            if isinstance(done[-1], ConnectionLost):
                await eventual(lambda: transport.is_connected, "reconnected")

    async def killer() -> None:
        for n in range(1, 9):
            await eventual(lambda n=n: len(done) >= n * 600, "some progress")
            server.admin("CLIENT", "KILL", "TYPE", "normal")

    await asyncio.gather(killer(), *(caller() for _ in range(16)))
    counted = [each for each in done if isinstance(each, int)]
    unknown = [each for each in done if isinstance(each, ConnectionLost) and each.sent]
    final = int(server.admin("GET", "n"))
    assert len(done) == 6400
    assert len(set(counted)) == len(counted), "a reply was given to two callers"
    assert len(counted) <= final <= len(counted) + len(unknown)
    # The fallback finds out between two batches and connects again unnoticed.
    assert kind is not MuxTransport or any(isinstance(each, ConnectionLost) for each in done)


async def test_a_killed_server_comes_back(kind: Any, server: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, server.url)
    events: list[str] = []
    transport.on_disconnect.append(lambda: events.append("lost"))
    transport.on_reconnect.append(lambda: 1 / 0)
    transport.on_reconnect.append(lambda: events.append("back"))
    asyncio.get_running_loop().set_exception_handler(lambda _, context: events.append("reported"))
    waiting = [asyncio.ensure_future(_outcome(transport, "BLPOP", "nothing", 0)) for _ in range(3)]
    await eventual(lambda: b"cmd=blpop" in server.admin("CLIENT", "LIST"), "the commands arrived")
    server.kill()
    for error in await asyncio.gather(*waiting):
        assert isinstance(error, ConnectionLost)
        assert error.sent is True
    assert not transport.is_connected
    error = await _outcome(transport, "PING")
    assert isinstance(error, ConnectionLost)
    assert error.sent is False
    await eventual(lambda: transport.last_error is not None, "a reconnect failed")
    assert events == ["lost"]
    server.start()
    await eventual(lambda: transport.is_connected, "reconnected")
    assert await transport.call("PING") == b"PONG"
    assert events == ["lost", "reported", "back"]
    assert transport.last_error is None


async def test_what_was_never_written_is_known_not_to_have_run(server: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(MuxTransport, server.url)
    seen: list[Any] = []
    transport.submit(("INCR", "sent"), seen.append)
    transport.submit(("BLPOP", "nothing", 0), seen.append)
    await eventual(lambda: seen, "the first reply")
    transport.submit(("INCR", "unsent"), seen.append)
    transport.reconnect("a test")
    transport.submit(("INCR", "unsent"), seen.append)
    await asyncio.sleep(0)
    assert seen[0] == 1
    assert [each.sent for each in seen[1:]] == [True, False, False]
    assert server.admin("GET", "unsent") is None


async def test_a_stopped_server_is_noticed(kind: Any, server: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, server.url, reply_timeout_s=0.2, connect_timeout_s=0.5)
    server.signal(signal.SIGSTOP)
    error = await _outcome(transport, "INCR", "n")
    assert isinstance(error, ConnectionLost)
    assert error.sent is True
    assert not transport.is_connected
    server.signal(signal.SIGCONT)
    await eventual(lambda: transport.is_connected, "reconnected")
    # The first INCR did run, and its late answer went nowhere.
    assert await transport.call("INCR", "n") == 2


async def test_a_late_reply_never_reaches_another_command(kind: Any, proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, proxy.url, reply_timeout_s=0.15)
    for n in range(3):
        proxy.swallow_replies = True
        error = await _outcome(transport, "ECHO", f"lost-{n}")
        assert isinstance(error, ConnectionLost)
        proxy.swallow_replies = False
        await eventual(lambda: transport.is_connected, "reconnected")
        answers = await asyncio.gather(*(transport.call("ECHO", f"{n}.{k}") for k in range(20)))
        assert answers == [f"{n}.{k}".encode() for k in range(20)]
    assert b"lost-0" in proxy.swallowed
    assert proxy.accepted >= 4


async def test_a_half_open_connection_is_noticed(kind: Any, proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, proxy.url, reply_timeout_s=0.15, connect_timeout_s=0.3)
    proxy.swallow_replies = proxy.swallow_requests = True
    assert isinstance(await _outcome(transport, "PING"), ConnectionLost)
    proxy.swallow_replies = proxy.swallow_requests = False
    await eventual(lambda: transport.is_connected, "reconnected")
    assert await transport.call("PING") == b"PONG"


async def test_replies_in_single_bytes(kind: Any, proxy: Any, opener: Any) -> None:
    transport = await opener(kind, proxy.url)
    proxy.is_bytewise = True
    answers = await asyncio.gather(*(transport.call("ECHO", f"{n}") for n in range(100)))
    assert answers == [f"{n}".encode() for n in range(100)]
    assert await transport.call("EVAL", "return {1, {'a', {}}, false}", 0) == [1, [b"a", []], None]


async def test_a_slow_reply_is_not_a_missing_one(server: Any, proxy: Any, opener: Any) -> None:
    transport = await opener(MuxTransport, proxy.url, reply_timeout_s=0.1)
    proxy.reply_pace_s = 0.01
    assert await transport.call("ECHO", "x" * 40) == b"x" * 40
    assert proxy.accepted == 1


async def test_a_blocked_loop_does_not_take_a_waiting_reply_for_a_missing_one(server: Any, opener: Any) -> None:
    transport = await opener(MuxTransport, server.url, reply_timeout_s=0.08)
    link = transport._link
    answer = asyncio.ensure_future(transport.call("PING"))
    await asyncio.sleep(0)
    time.sleep(0.2)  # blocking the loop is the fault
    assert await answer == b"PONG"
    assert transport._link is link


async def test_every_time_out_doubles_the_patience_until_a_reply(proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(MuxTransport, proxy.url, reply_timeout_s=0.05)
    proxy.swallow_requests = True
    assert isinstance(await _outcome(transport, "PING"), ConnectionLost)
    assert transport._patience == 2
    proxy.swallow_requests = False
    await eventual(lambda: transport.is_connected, "reconnected")
    assert await transport.call("PING") == b"PONG"
    await eventual(lambda: transport._patience == 1, "patience is back to normal")


async def test_a_peer_that_does_not_read_holds_commands_back(proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(MuxTransport, proxy.url)
    proxy.is_reading.clear()
    blob = b"x" * 1_000_000
    calls = [asyncio.ensure_future(transport.call("SET", f"k{n}", blob)) for n in range(40)]
    await eventual(lambda: transport.is_congested, "the socket is full")
    calls += [asyncio.ensure_future(transport.call("ECHO", f"{n}")) for n in range(10)]
    await asyncio.sleep(0)
    proxy.is_reading.set()
    assert await asyncio.gather(*calls) == [b"OK"] * 40 + [f"{n}".encode() for n in range(10)]
    assert not transport.is_congested


async def test_held_back_commands_are_known_not_to_have_run(proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(MuxTransport, proxy.url)
    proxy.is_reading.clear()
    first = asyncio.ensure_future(_outcome(transport, "SET", "k", b"x" * 40_000_000))
    await eventual(lambda: transport.is_congested, "the socket is full")
    second = asyncio.ensure_future(_outcome(transport, "ECHO", "x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    transport.reconnect("a test")
    assert [(await each).sent for each in (first, second)] == [True, False]


@pytest.mark.parametrize("extra", [b"+surprise\r\n", b"HTTP/1.1 200 OK\r\n", b"*9999999999\r\n"])
async def test_bytes_nobody_asked_for_end_the_connection(
    extra: bytes, opener: Any, eventual: Any, fake_server: Any
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while data := await reader.read(65536):
            writer.write(b"+OK\r\n" * data.count(b"*"))
            if b"PLEASE" in data:
                writer.write(extra)

    port = await fake_server(serve)
    transport = await opener(MuxTransport, f"redis://127.0.0.1:{port}")
    assert await transport.call("PLEASE") == b"OK"
    await eventual(lambda: connections == 2 and transport.is_connected, "another connection")
    assert await transport.call("PING") == b"OK"
    await transport.close()


async def test_random_cuts_never_mix_up_replies(kind: Any, proxy: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, proxy.url)
    dice = random.Random(3)
    wrong: list[Any] = []

    async def caller(n: int) -> None:
        for step in range(60):
            answer = await _outcome(transport, "ECHO", f"{n}.{step}")
            if isinstance(answer, ConnectionLost):
                await eventual(lambda: transport.is_connected, "reconnected")
            elif answer != f"{n}.{step}".encode():
                wrong.append(answer)
            if dice.random() < 0.01:
                for writer in proxy._writers:
                    writer.transport.abort()
                proxy._writers.clear()

    await asyncio.gather(*(caller(n) for n in range(24)))
    assert wrong == []
    assert proxy.accepted > 3


async def test_open_says_why_it_cannot_and_waits_if_told(kind: Any, server: Any) -> None:
    server.kill()
    transport = kind(ConnectionSpec.from_url(server.url))
    with pytest.raises(StoreUnavailable, match="cannot connect to the server at"):
        await transport.open()
    patient = kind(ConnectionSpec.from_url(server.url))
    opening = asyncio.ensure_future(patient.open(wait_s=60))
    await asyncio.to_thread(server.start)
    await opening
    assert await patient.call("PING") == b"PONG"
    await patient.close()


async def test_cancelling_open_leaves_nothing_behind(kind: Any, proxy: Any, eventual: Any) -> None:
    proxy.swallow_replies = True
    transport = kind(ConnectionSpec.from_url(proxy.url))
    opening = asyncio.ensure_future(transport.open(wait_s=60))
    await eventual(lambda: proxy.accepted, "a connection")
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not transport.is_connected


async def test_closing_while_reconnecting(kind: Any, server: Any, opener: Any, eventual: Any) -> None:
    transport = await opener(kind, server.url)
    before = asyncio.all_tasks()
    server.kill()
    # The fallback notices a loss only when it sends.
    assert isinstance(await _outcome(transport, "PING"), ConnectionLost)
    await eventual(lambda: transport.last_error is not None, "a reconnect failed")
    await transport.close()
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_a_rotated_password_is_asked_for_at_every_connect(
    kind: Any, server: Any, opener: Any, eventual: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.admin("CONFIG", "SET", "requirepass", "S3CR3T-old")
    password = "S3CR3T-old"
    transport = await opener(kind, server.url, credentials=lambda: ("default", password))
    admin = server.fresh_admin()
    admin("AUTH", "S3CR3T-old")
    admin("CONFIG", "SET", "requirepass", "S3CR3T-new")
    transport.reconnect("a test")
    await eventual(lambda: isinstance(transport.last_error, ConfigurationError), "the old password is refused")
    password = "S3CR3T-new"
    await eventual(lambda: transport.is_connected, "the new password is used")
    assert await transport.call("PING") == b"PONG"
    assert "S3CR3T" not in caplog.text + repr(transport.spec)
