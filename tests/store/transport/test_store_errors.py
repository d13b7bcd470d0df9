"""The table: each row against the real texts of each server, and the rows no single server can produce."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from durable_async.errors import DurableError, StoreUnavailable
from durable_async.store.errors import TABLE, ConnectionLost, Kind, ServerError, classify

WRITE = "redis.call('SET', KEYS[1], 'x') return 1"
SHEBANG = "#!lua\n" + WRITE


def verdict(reply: Any) -> tuple[Kind, str]:
    """What the table says about an error reply of the independent client."""
    assert isinstance(reply, Exception), f"the server did not refuse: {reply!r}"
    found = classify(ServerError(str(reply)))
    return found.kind, found.trouble


def test_a_missing_script(any_server: Any) -> None:
    assert verdict(any_server.admin("EVALSHA", "0" * 40, 0)) == (Kind.NOTHING_RAN, "NOSCRIPT")


@pytest.mark.parametrize("script", [WRITE, SHEBANG])
def test_refusals_that_a_setting_causes(any_server: Any, script: str) -> None:
    admin = any_server.admin
    settings = (("maxmemory", "1", "0", "OOM"), ("min-replicas-to-write", "1", "0", "NOREPLICAS"))
    for setting, bad, good, trouble in settings:
        assert admin("CONFIG", "SET", setting, bad) == b"OK"
        assert verdict(admin("EVAL", script, 1, "k")) == (Kind.NOTHING_RAN, trouble)
        assert verdict(admin("SET", "k", "x")) == (Kind.NOTHING_RAN, trouble)
        assert admin("CONFIG", "SET", setting, good) == b"OK"
    assert admin("EXISTS", "k") == 0


@pytest.mark.parametrize("script", [WRITE, SHEBANG])
def test_a_demoted_server(any_server: Any, script: str) -> None:
    admin = any_server.admin
    admin("REPLICAOF", "127.0.0.1", "1")
    assert verdict(admin("EVAL", script, 1, "k")) == (Kind.NOTHING_RAN, "READONLY")
    admin("CONFIG", "SET", "replica-serve-stale-data", "no")
    reply = admin("GET", "k")
    assert verdict(reply) == (Kind.NOTHING_RAN, "MASTERDOWN")
    assert classify(ServerError(str(reply))).needs_reconnect


@pytest.mark.parametrize("script", [WRITE, SHEBANG])
def test_a_full_disk(any_server: Any, wait_for: Any, script: str) -> None:
    admin = any_server.admin
    # The snapshot cannot be put in place because a folder has its name.
    (Path(any_server.folder) / "dump.rdb").mkdir()
    admin("SET", "k", "x")
    admin("CONFIG", "SET", "save", "1 1")
    admin("BGSAVE")
    wait_for(lambda: b"rdb_last_bgsave_status:err" in admin("INFO", "persistence"), "the snapshot failed")
    for command in (("EVAL", script, 1, "k"), ("SET", "k", "y"), ("PING",)):
        assert verdict(admin(*command)) == (Kind.NOTHING_RAN, "MISCONF")
    assert admin("GET", "k") == b"x"


def test_a_script_that_blocks_the_server(any_server: Any, wait_for: Any) -> None:
    blocked, admin = any_server.fresh_admin(), any_server.fresh_admin()
    blocked.send("EVAL", "while true do end", 0)
    wait_for(lambda: str(admin("ECHO", "x")).startswith("BUSY"), "the server is busy")
    assert verdict(admin("EVALSHA", "0" * 40, 0)) == (Kind.NOTHING_RAN, "BUSY")
    assert admin("SCRIPT", "KILL") == b"OK"
    # What was killed had written nothing, or it could not have been killed.
    assert verdict(blocked.receive()) == (Kind.NOTHING_RAN, "KILLED")


def test_loading(any_server: Any) -> None:
    admin = any_server.admin
    for part in range(40):
        admin("EVAL", "for i = 1, 2000 do redis.call('SET', KEYS[1] .. i, i) end", 1, f"k{part}:")
    admin("SAVE")
    any_server.kill()
    any_server.command += ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"]
    any_server.start()
    assert verdict(any_server.admin("EVALSHA", "0" * 40, 0)) == (Kind.NOTHING_RAN, "LOADING")


def test_credentials_and_rights(any_server: Any) -> None:
    admin = any_server.admin
    admin("ACL", "SETUSER", "bob", "on", ">pw", "~mine*", "+@all", "-set")
    bob = any_server.fresh_admin()
    assert verdict(bob("AUTH", "bob", "wrong")) == (Kind.FATAL, "WRONGPASS")
    assert bob("AUTH", "bob", "pw") == b"OK"
    assert verdict(bob("SET", "mine", "x")) == (Kind.FATAL, "NOPERM")
    assert verdict(bob("EVAL", WRITE, 1, "other")) == (Kind.FATAL, "NOPERM")
    # Refused in the middle of a script: what it wrote before stays.
    partly = "redis.call('HSET', KEYS[1], 'a', 1) redis.call('SET', KEYS[2], 1)"
    assert verdict(bob("EVAL", partly, 2, "mine1", "mine2")) == (Kind.BUG, "ACL")
    assert admin("EXISTS", "mine1") == 1
    admin("CONFIG", "SET", "requirepass", "pw")
    assert verdict(any_server.fresh_admin()("PING")) == (Kind.FATAL, "NOAUTH")


def test_too_many_clients(any_server: Any) -> None:
    admin = any_server.admin
    assert admin("CONFIG", "SET", "maxclients", "1") == b"OK"
    assert verdict(any_server.fresh_admin().receive()) == (Kind.NOTHING_RAN, "MAXCLIENTS")


def test_consumer_groups(any_server: Any) -> None:
    admin = any_server.admin
    read = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    assert verdict(admin(*read)) == (Kind.ANSWER, "NOGROUP")
    assert admin("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM") == b"OK"
    assert verdict(admin("XGROUP", "CREATE", "s", "g", "0")) == (Kind.ANSWER, "BUSYGROUP")
    blocked = any_server.fresh_admin()
    replies: list[Any] = []
    thread = threading.Thread(target=lambda: replies.append(blocked(*read)))
    thread.start()
    while b"cmd=xreadgroup" not in admin("CLIENT", "LIST"):
        pass
    admin("DEL", "s")
    thread.join()
    kind, trouble = verdict(replies[0])
    assert kind is Kind.ANSWER
    assert trouble in {"UNBLOCKED", "NOGROUP"}


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("redis.call('SET', KEYS[1], 'x') return redis.call('HGET', KEYS[1], 'f')", "WRONGTYPE"),
        ("redis.call('SET', KEYS[1], 'x') error('boom')", "ERR"),
        ("redis.call('SET', KEYS[1], 'x') local t = nil return t.x", "ERR"),
        ("redis.call('SET', KEYS[1], 'x') return redis.call('NONSENSE')", "ERR"),
        ("redis.call('SET', KEYS[1], 'x') return redis.error_reply('ODD thing')", "ODD"),
        ("this is not lua", "ERR"),
    ],
)
def test_an_error_within_a_script_is_a_bug(any_server: Any, script: str, trouble: str) -> None:
    assert verdict(any_server.admin("EVAL", script, 1, "k")) == (Kind.BUG, trouble)


@pytest.mark.parametrize(
    ("text", "kind", "trouble"),
    [
        ("MOVED 3999 127.0.0.1:6381", Kind.NOTHING_RAN, "MOVED"),
        ("ASK 3999 127.0.0.1:6381", Kind.NOTHING_RAN, "ASK"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Kind.NOTHING_RAN, "TRYAGAIN"),
        ("CLUSTERDOWN Hash slot not served", Kind.NOTHING_RAN, "CLUSTERDOWN"),
        ("CROSSSLOT Keys in request don't hash to the same slot", Kind.BUG, "CROSSSLOT"),
        ("DENIED Redis is running in protected mode", Kind.FATAL, "DENIED"),
        ("EXECABORT Transaction discarded", Kind.BUG, "EXECABORT"),
        ("ERR max number of clients + cluster connections reached", Kind.NOTHING_RAN, "MAXCLIENTS"),
        ("TTL exhausted.", Kind.NOTHING_RAN, "CLUSTERDOWN"),
        ("lower case first", Kind.BUG, "ERR"),
        ("", Kind.BUG, "ERR"),
        # Only the code decides: a user's key or message that looks like one does not.
        ("WRONGTYPE OOM command not allowed", Kind.BUG, "WRONGTYPE"),
    ],
)
def test_rows_without_a_server(text: str, kind: Kind, trouble: str) -> None:
    found = classify(ServerError(text))
    assert (found.kind, found.trouble) == (kind, trouble)


def test_exceptions_that_are_not_replies() -> None:
    assert classify(ConnectionLost(sent=False)).kind is Kind.NOTHING_RAN
    for error in (ConnectionLost(sent=True), TimeoutError(), ConnectionResetError(), EOFError(), StoreUnavailable()):
        assert classify(error).kind is Kind.UNKNOWN
    assert classify(asyncio.CancelledError()).kind is Kind.UNKNOWN
    for bug in (ValueError(), KeyError(), DurableError()):
        assert classify(bug).kind is Kind.BUG


def test_every_row_says_how_long_to_wait() -> None:
    for code, row in TABLE.items():
        assert row.trouble == code
        assert 0 < row.cap_s <= 60


def test_no_message_quotes_arguments() -> None:
    error = ServerError("ERR unknown command 'X', with args beginning with: 'S3CR3T' 'more'")
    assert str(error) == "ERR unknown command 'X'"
    assert len(str(ServerError("ERR " + "x" * 10_000))) <= 500
