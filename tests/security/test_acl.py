"""The rule of docs/security.md is enough for all that clients and workers do, and for nothing else."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import redis
from semantics.restricted import acl_rules, refusals, restricted

import durable_async
from durable_async import ConfigurationError, Durable
from durable_async.server.ephemeral import EphemeralServer
from durable_async.store.keys import Keys

from . import flows

FORBIDDEN = [
    "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET dir /tmp", "CONFIG REWRITE", "DEBUG SLEEP 0",
    "ACL LIST", "ACL WHOAMI", "SHUTDOWN", "REPLICAOF no one", "SAVE", "BGREWRITEAOF", "MONITOR", "CLIENT LIST",
    "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION LIST", "MODULE LIST",
    "SUBSCRIBE x", "PUBLISH x y", "SWAPDB 0 1", "RENAME a b", "MIGRATE h 1 k 0 1", "DUMP k", "RESTORE k 0 x",
    "RANDOMKEY", "DBSIZE", "XGROUP DESTROY k g", "XGROUP SETID k g $", "WAIT 0 0", "LATENCY LATEST", "SLOWLOG GET",
    "EVAL_RO x 0", "FCALL f 0", "SORT k", "OBJECT ENCODING k", "MEMORY USAGE k", "COPY a b", "MOVE a 1",
]  # fmt: skip


async def test_the_rule_is_enough(any_server: EphemeralServer, namespace: str) -> None:
    url = restricted(any_server.url, namespace)
    durable = Durable(url, workflows=flows.FLOWS, namespace=namespace)
    async with asyncio.timeout(120), durable, durable.worker():
        found = await flows.run_order(durable, "r")
        assert found == {"paid": ["paid r", "paid rb"], "late": True, "truck": 7}
    assert refusals(any_server.url, namespace) == []


async def test_the_rule_is_not_more_than_enough(any_server: EphemeralServer, namespace: str) -> None:
    url = restricted(any_server.url, namespace)
    own, others = Keys(namespace), [Keys(namespace + "x"), Keys(namespace[:-1]), Keys(namespace, partition=1)]
    user = redis.Redis.from_url(url)
    try:
        user.hset(own.run("x"), "a", "b")
        user.eval("return redis.call('HSET', KEYS[1], 'a', 'c')", 1, own.run("x"))
        for other in [key for each in others for key in (each.run("x"), each.index)] + ["x", "durable:x"]:
            for command in (["HGET", other, "a"], ["HSET", other, "a", "b"], ["DEL", other]):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    user.execute_command(*command)
            with pytest.raises(
                redis.exceptions.ResponseError, match=r"(?i)acl|permission|undeclared|NOPERM|can.t access"
            ):
                user.eval(f"return redis.call('HSET', '{other}', 'a', 'b')", 0)
        for line in FORBIDDEN:
            with pytest.raises((redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)) as caught:
                user.execute_command(*line.split())
            text = str(caught.value).lower()
            assert any(word in text for word in ("permission", "unknown command", "not allowed")), (line, text)
        for inside in ("FLUSHALL", "CONFIG", "KEYS"):
            with pytest.raises(redis.exceptions.ResponseError):
                user.eval(f"return redis.call('{inside}', 'GET', '*')", 0)
    finally:
        user.close()
    admin = redis.Redis.from_url(any_server.url)
    assert admin.hget(own.run("x"), "a") == b"c"
    admin.close()


def source(*folders: str) -> str:
    """The text of parts of the package."""
    package = Path(durable_async.__file__).parent
    paths = [path for folder in folders for path in package.joinpath(folder).rglob("*")]
    return "".join(path.read_text() for path in paths if path.suffix in (".py", ".lua"))


def test_what_scripts_and_workers_call_is_in_the_rule() -> None:
    """Rare paths, too, which no test of the whole walks."""
    allowed = {word[1:].partition("|")[0] for word in acl_rules("n") if word.startswith("+")}
    called = set(re.findall(r"redis\.p?call\('([A-Z]+)'", source("store/lua")))
    # Commands are tuples.
    words = set(re.findall(r"""\(\s*"([A-Z]{3,})",""", source("store", "client", "worker")))
    called |= words - {"BLOCK", "KEYS", "NOGROUP"}  # no commands here
    assert len(called) > 30
    assert {name.lower() for name in called} - allowed == {"config"}
    allowed_parts = {word[1:] for word in acl_rules("n") if "|" in word}
    pattern = r"""['"](XINFO|XGROUP|CLIENT|OBJECT|SCRIPT)['"],\s*['"]([A-Z]+)['"]"""
    parts = {"|".join(pair).lower() for pair in re.findall(pattern, source("store", "client", "worker"))}
    assert "xinfo|groups" in parts and parts <= allowed_parts


def test_each_word_of_the_rule_is_needed_by_somebody() -> None:
    """None is there without a reason: each is a command that the package names."""
    text = source("store", "client", "worker").lower()
    # redis-py's own handshake, and its look whether a connection is alive.
    known = {"client|setname", "ping"}
    for word in acl_rules("n"):
        if word.startswith("+") and (name := word[1:]) not in known:
            command, _, sub = name.partition("|")
            assert re.search(rf"""['"]{command}['"]|pipe\.{command}\(""", text), word
            assert not sub or re.search(rf"""['"]{sub}['"]""", text), word


async def test_a_wrong_password_and_a_missing_right_are_said(any_server: EphemeralServer, namespace: str) -> None:
    url = restricted(any_server.url, namespace)
    with pytest.raises(ConfigurationError, match="refused the user name or password") as caught:
        async with Durable(url.replace("p%3Aw", "hunter2"), namespace=namespace) as durable:
            await durable.list()
    assert "hunter2" not in str(caught.value)
    admin = redis.Redis.from_url(any_server.url)
    admin.execute_command("ACL", "SETUSER", namespace, "-info")
    admin.close()
    with pytest.raises(ConfigurationError, match="INFO"):
        async with Durable(url, workflows=flows.FLOWS, namespace=namespace) as durable, durable.worker():
            pass
