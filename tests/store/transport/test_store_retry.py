"""Commands that are sent again until the server has really answered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from durable_async.errors import ConfigurationError, StoreUnavailable
from durable_async.store.errors import ServerError
from durable_async.store.retry import Caller

pytestmark = pytest.mark.anyio

SOURCE = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def as_eval(args: Any) -> Any:
    return ("EVAL", SOURCE, *args[2:])


@pytest.fixture
def make_caller(opener: Any, kind: Any) -> Any:
    async def make(url: str, *, on_noscript: Any = as_eval, **options: Any) -> Any:
        return Caller(await opener(kind, url, **options), on_noscript=on_noscript, start_s=0.005)

    return make


async def test_a_forgotten_script_is_sent_whole_once(server: Any, make_caller: Any) -> None:
    caller = await make_caller(server.url)
    sha = server.admin("SCRIPT", "LOAD", SOURCE)
    sent: list[Any] = []
    caller._submit = lambda args, reply: (sent.append(args[0]), caller.transport.submit(args, reply))
    for expected in (1, 2, 3):
        server.admin("SCRIPT", "FLUSH")
        assert await caller.call(("EVALSHA", sha, 1, "n", 1)) == expected
        assert await caller.call(("EVALSHA", sha, 1, "n", 0)) == expected
    assert sent == ["EVALSHA", "EVAL", "EVALSHA"] * 3
    assert caller.trouble is None


async def test_a_script_nobody_knows_is_a_bug(server: Any, make_caller: Any, caplog: Any) -> None:
    for hook in (None, lambda args: None):
        caller = await make_caller(server.url, on_noscript=hook)
        with pytest.raises(ServerError, match="NOSCRIPT"):
            await caller.call(("EVALSHA", "0" * 40, 0, "S3CR3T"))
    assert "CRITICAL" in caplog.text
    assert "0" * 40 in caplog.text
    assert "S3CR3T" not in caplog.text


async def test_a_full_memory_is_waited_out(server: Any, make_caller: Any, eventual: Any) -> None:
    caller = await make_caller(server.url)
    heard: list[str | None] = []
    caller.on_trouble.append(lambda trouble: 1 / 0)
    caller.on_trouble.append(heard.append)
    server.admin("CONFIG", "SET", "maxmemory", "1")
    write = asyncio.ensure_future(caller.call(("EVAL", SOURCE, 1, "n", 5)))
    await eventual(lambda: caller.trouble == "OOM", "trouble is known")
    # Reads go on, and prove nothing.
    assert await caller.call(("GET", "n")) is None
    assert caller.trouble == "OOM"
    server.admin("CONFIG", "SET", "maxmemory", "0")
    assert await write == 5
    assert caller.trouble is None
    assert heard == ["OOM", None]


async def test_a_demoted_server_is_left_and_found_again(server: Any, make_caller: Any, eventual: Any) -> None:
    caller = await make_caller(server.url)
    losses: list[int] = []
    caller.transport.on_disconnect.append(lambda: losses.append(1))
    server.admin("REPLICAOF", "127.0.0.1", "1")
    write = asyncio.ensure_future(caller.call(("EVAL", SOURCE, 1, "n", 5)))
    await eventual(lambda: losses, "it reconnects, to look for the primary")
    assert caller.trouble in {"READONLY", "CONNECTION"}
    server.admin("REPLICAOF", "NO", "ONE")
    assert await write == 5
    assert caller.trouble is None


async def test_a_busy_server_is_waited_out(any_server: Any, make_caller: Any, eventual: Any) -> None:
    caller = await make_caller(any_server.url)
    blocked, admin = any_server.fresh_admin(), any_server.fresh_admin()
    blocked.send("EVAL", "while true do end", 0)
    write = asyncio.ensure_future(caller.call(("EVAL", SOURCE, 1, "n", 5)))
    # Redis answers nothing until the script has run for its threshold.
    await eventual(lambda: str(admin("ECHO", "x")).startswith("BUSY"), "the server is busy")
    again = asyncio.ensure_future(caller.call(("EVAL", SOURCE, 1, "n", 5)))
    await eventual(lambda: caller.trouble == "BUSY", "trouble is known")
    assert admin("SCRIPT", "KILL") == b"OK"
    assert sorted([await write, await again]) == [5, 10]


async def test_a_restart_under_load_loses_no_call(server: Any, make_caller: Any, eventual: Any) -> None:
    server.command += ["--appendonly", "yes", "--appendfsync", "always"]
    server.kill()
    server.start()
    caller = await make_caller(server.url)
    script = "redis.call('SADD', KEYS[1], ARGV[1]) return ARGV[1]"
    results: list[Any] = []

    async def work(n: int) -> None:
        for step in range(50):
            answer = await caller.call(("EVAL", script, 1, "seen", f"{n}.{step}"))
            results.append(answer)

    async def trouble() -> None:
        for n in (200, 500):
            await eventual(lambda n=n: len(results) > n, "progress")
            server.kill()
            await eventual(lambda: caller.trouble == "CONNECTION", "trouble is known")
            await asyncio.to_thread(server.start)

    await asyncio.gather(trouble(), *(work(n) for n in range(20)))
    assert len(set(results)) == len(results) == 1000
    assert server.admin("SCARD", "seen") == 1000
    assert caller.trouble is None


async def test_a_lost_reply_sends_the_same_bytes_again(
    proxy: Any, server: Any, make_caller: Any, eventual: Any
) -> None:
    caller = await make_caller(proxy.url, reply_timeout_s=0.1)
    proxy.swallow_replies = True
    write = asyncio.ensure_future(caller.call(("SADD", "seen", "token")))
    await eventual(lambda: proxy.swallowed, "the reply was lost")
    proxy.swallow_replies = False
    assert await write == 0, "it ran twice, and the second time found its own effect"


async def test_a_deadline_ends_in_words_without_secrets(server: Any, make_caller: Any) -> None:
    server.admin("ACL", "SETUSER", "bob", "on", ">S3CR3T", "~*", "+@all")
    caller = await make_caller(server.url.replace("unix://", "unix://bob:S3CR3T@"))
    server.admin("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable, match=r"OOM.*raise maxmemory") as caught:
        await caller.call(("SET", "k", "S3CR3T-payload"), deadline_s=0.05)
    assert "S3CR3T" not in str(caught.value)
    assert "://" not in str(caught.value)
    assert caller.trouble is None
    server.admin("CONFIG", "SET", "maxmemory", "0")
    with pytest.raises(StoreUnavailable):
        await caller.call(("BLPOP", "nothing", 0), deadline_s=0.05)


async def test_a_late_reply_after_the_deadline_goes_nowhere(server: Any, make_caller: Any) -> None:
    caller = await make_caller(server.url)
    seen: list[Any] = []
    caller.run(("BLPOP", "list", 0), seen.append, deadline_s=0.01)
    while not seen:
        await asyncio.sleep(0.001)
    server.admin("RPUSH", "list", "late")
    assert await caller.call(("ECHO", "next")) == b"next"
    assert [type(each) for each in seen] == [StoreUnavailable]


async def test_an_error_within_a_script_is_delivered_and_logged_once(
    server: Any, make_caller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caller = await make_caller(server.url)
    with pytest.raises(ServerError, match="boom"):
        await caller.call(("EVAL", "error('boom')", 0, "S3CR3T"))
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "S3CR3T" not in record.getMessage()
    assert caller.trouble is None


async def test_an_expected_answer_is_delivered_quietly(
    server: Any, make_caller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caller = await make_caller(server.url)
    with pytest.raises(ServerError, match="NOGROUP"):
        await caller.call(("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"))
    assert caplog.records == []


async def test_missing_rights_end_a_call_with_a_deadline_and_not_one_without(
    server: Any, make_caller: Any, eventual: Any
) -> None:
    server.admin("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-set")
    caller = await make_caller(server.url, credentials=lambda: ("bob", "pw"))
    with pytest.raises(ConfigurationError, match="NOPERM"):
        await caller.call(("SET", "k", "x"), deadline_s=30)
    write = asyncio.ensure_future(caller.call(("SET", "k", "x")))
    await eventual(lambda: caller.trouble == "NOPERM", "trouble is known")
    server.admin("ACL", "SETUSER", "bob", "+set")
    assert await write == b"OK"


async def test_a_cancelled_call_is_not_sent_again(server: Any, make_caller: Any, eventual: Any) -> None:
    caller = await make_caller(server.url)
    server.admin("CONFIG", "SET", "maxmemory", "1")
    write = asyncio.ensure_future(caller.call(("SET", "k", "x")))
    await eventual(lambda: caller.trouble, "trouble is known")
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    assert caller.trouble is None
    server.admin("CONFIG", "SET", "maxmemory", "0")
    assert await caller.call(("GET", "k")) is None


async def test_closing_ends_all_retries(server: Any, make_caller: Any, eventual: Any) -> None:
    caller = await make_caller(server.url)
    server.admin("CONFIG", "SET", "maxmemory", "1")
    writes = [asyncio.ensure_future(caller.call(("SET", "k", "x"))) for _ in range(3)]
    await eventual(lambda: len(caller._troubled) == 3, "all wait")
    caller.close()
    for result in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(result, StoreUnavailable)
    assert caller.trouble is None


async def test_closing_the_transport_ends_its_calls(server: Any, make_caller: Any) -> None:
    caller = await make_caller(server.url)
    blocked = asyncio.ensure_future(caller.call(("BLPOP", "nothing", 0)))
    await asyncio.sleep(0)
    await caller.transport.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await blocked
    with pytest.raises(StoreUnavailable, match="closed"):
        await caller.call(("PING",))


async def test_calls_waiting_for_the_connection_go_out_as_soon_as_it_is_back(
    server: Any, opener: Any, kind: Any, eventual: Any
) -> None:
    transport = await opener(kind, server.url)
    # A pause this long would never end within the test.
    caller = Caller(transport, start_s=1000.0)
    server.kill()
    calls = [asyncio.ensure_future(caller.call(("SET", f"k{n}", "x"))) for n in range(10)]
    await eventual(lambda: transport.last_error is not None and len(caller._troubled) == 10, "all wait")
    for call in caller._troubled:
        call.pause.cancel()
    await asyncio.to_thread(server.start)
    assert await asyncio.gather(*calls) == [b"OK"] * 10
