"""`durable doctor`: what it finds, what it says, what it mends, its exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from semantics.restricted import IS_RESTRICTED

from durable_async.server.binary import find_binary
from durable_async.server.ephemeral import ephemeral_server
from durable_async.store.keys import Keys
from durable_async.store.structure import DAMAGE

from ._support import Project, wait_until


@pytest.fixture
def raw(project: Project) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(project.admin_url, decode_responses=True) as connection:
        yield connection


@pytest.fixture
def keys(project: Project) -> Keys:
    return Keys(project.env["DURABLE_NAMESPACE"])


def test_a_store_that_is_as_it_must_be(project: Project, raw: redis.Redis, keys: Keys) -> None:
    assert project.run("doctor").code == 0, "even an empty one"
    project.start("double", "1", "--id", "x")
    before = {name: raw.dump(name) for name in raw.scan_iter(keys.base + "*") if ":client:" not in name}
    done = project.run("doctor")
    assert (done.code, done.err) == (0, "")
    assert "server: " in done.out and "the store is as it must be; 1 runs were looked at\n" in done.out
    # The user of docs/security.md may not ask for the times of snapshots.
    kept = "There is no append-only file" if IS_RESTRICTED else "Nothing is kept on disk: a restart loses everything.\n"
    assert f"disk: {kept}" in done.out
    report = project.run("doctor", "--json").json[0]
    assert (report["healthy"], report["runs"], report["damage"], report["garbage"]) == (True, 1, [], 0)
    after = {name: raw.dump(name) for name in raw.scan_iter(keys.base + "*") if ":client:" not in name}
    assert after == before, "without --fix it only reads"


def test_damage_is_said_and_mended(project: Project, raw: redis.Redis, keys: Keys) -> None:
    for id in ("a", "b", "c", "d"):
        project.start("double", "1", "--id", id)
    raw.hset(keys.run("a"), "entry", "Q1-1")
    raw.zrem(keys.index, "b")
    raw.zadd(keys.timers, {"wnobody": 4e12})
    raw.hset(keys.blocked, "c", "double")
    raw.hset(keys.run("d"), mapping={"status": "completed", "entry": ""})
    raw.rpush(keys.journal("gone"), "S")
    raw.xgroup_create(keys.worker("ghost"), "workers", mkstream=True)
    done = project.run("doctor")
    assert done.code == 1
    said = done.out.splitlines()
    for line in (
        f"damage: run a {DAMAGE['entry_gone']} (entry_gone): --fix mends it",
        "damage: run b is not listed (index_gone): --fix mends it",
        "damage: run nobody has a timer that nothing waits for (timer_left): --fix mends it",
        "damage: run c is not blocked, and is listed among the blocked runs (block_left): --fix mends it",
        "damage: run d has ended, and would be kept for ever (ttl_gone): --fix mends it",
        "damage: run d has ended, and how is not recorded (outcome_gone): only a person can mend that",
        "damage: run gone is gone, and something is left of it (orphan): --fix mends it",
        "damage: worker ghost has a stream and no heartbeat: the workers that live see to it",
        "note: 2 entries of queues belong to no run; whoever reads them removes them",
        "the store has 8 things that are not as they must be; 3 runs were looked at",
    ):
        assert line in said, done.out
    fixed = project.run("doctor", "--fix", "--json")
    assert fixed.code == 1, fixed.err
    report = fixed.json[0]
    assert {each["id"]: each["mended"] for each in report["damage"] if each["kind"] != "outcome_gone"} == dict.fromkeys(
        ("a", "b", "nobody", "c", "d", "gone"), True
    )
    again = project.run("doctor", "--json")
    assert [(each["id"], each["kind"]) for each in again.json[0]["damage"]] == [("d", "outcome_gone")]
    assert again.json[0]["mended_before"]["entry_gone"] == 1
    assert again.json[0]["garbage"] == 0
    raw.delete(keys.worker("ghost"), keys.run("d"), keys.journal("d"))
    assert project.run("doctor").code == 0
    assert project.run("worker", "shop:durable", "--burst").code == 0
    assert [project.status(id) for id in "abc"] == ["completed"] * 3


def test_what_a_person_must_know(project: Project, raw: redis.Redis, keys: Keys) -> None:
    for id in ("blocked", "stuck"):
        project.start("double", "1", "--id", id)
    raw.xtrim(keys.queue("default"), 0)
    raw.hset(keys.run("blocked"), mapping={"status": "blocked", "entry": "", "waiting": "code: it \x1b[31mchanged"})
    raw.hset(keys.blocked, "blocked", "double")
    raw.hset(keys.run("stuck"), mapping={"status": "parked", "entry": "", "waiting": "nothing: it waits"})
    done = project.run("doctor")
    assert done.code == 0, "nothing of this is damage"
    assert "blocked: run blocked: code: it \\x1b[31mchanged\n" in done.out
    assert "stuck: run stuck waits for something that cannot happen: cancel it\n" in done.out


def test_a_power_cut_in_plain_words(project: Project) -> None:
    with ephemeral_server(appendonly=True, fsync="everysec") as server:
        done = project.run("doctor", "--url", server.url)
        assert (done.code, done.err) == (0, "")
        assert "disk: A power cut may lose up to about 1 s of acknowledged writes.\n" in done.out
        assert "warning" not in done.out
        assert ("note: If the power fails" in done.out) is ("valkey" not in find_binary().name)
    with ephemeral_server(extra_config={"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}) as server:
        refused = project.run("doctor", "--url", server.url)
        assert refused.code == 2 and "set maxmemory-policy noeviction" in refused.err
    assert project.run("doctor", "--url", server.url).code == 3


def test_a_server_that_cannot_write(project: Project) -> None:
    with ephemeral_server(appendonly=True, fsync="everysec") as server, redis.Redis.from_url(server.url) as raw:
        # No file can take the place of a directory.
        (server.directory / "appendonlydir" / "appendonly.aof.2.base.rdb" / "in the way").mkdir(parents=True)
        raw.bgrewriteaof()
        wait_until(lambda: raw.info("persistence")["aof_last_bgrewrite_status"] == "err", "it has failed")  # type: ignore[index]
        done = project.run("doctor", "--url", server.url)
        assert done.code == 0, "the store is as it must be"
        assert "warning: The last rewrite of the append-only file failed: " in done.out
