"""`durable purge`: which trees go, which stay, what is left of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from durable_async.client.purging import Purging
from durable_async.errors import RunNotWaiting
from durable_async.store.keys import Keys

from ._support import Project


@pytest.fixture
def raw(project: Project) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(project.url, decode_responses=True) as connection:
        yield connection


@pytest.fixture
def keys(project: Project) -> Keys:
    return Keys(project.env["DURABLE_NAMESPACE"])


def left(raw: redis.Redis, keys: Keys, *kinds: str) -> set[str]:
    """What the namespace holds of these kinds, without what belongs to nobody."""
    names = {name.removeprefix(keys.base) for name in raw.scan_iter(keys.base + "*", count=1000)}
    return {name for name in names if name.partition(":")[0] in kinds}


def test_ended_trees_go_with_all_that_belongs_to_them(project: Project, raw: redis.Redis, keys: Keys) -> None:
    project.start("twice", '{"number": 1}', "--id", "tree")
    project.start("declined", '"no"', "--id", "bad")
    project.start("waiting", "--id", "active")
    project.start("waiting", "--id", "parent")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    # As a child that its parent has left behind.
    raw.hset(keys.run("active"), "parent", "parent")
    raw.hset(keys.run("parent"), mapping={"status": "completed", "finished": "1", "entry": ""})
    raw.zadd(keys.children("parent"), {"active": 1})

    def rows(*arguments: str) -> list[tuple[str, str, int]]:
        done = project.run("purge", *arguments, "--json")
        return [(row["id"], row["status"], row["runs"]) for row in done.json]

    before = left(raw, keys, "run", "journal", "inbox", "children", "index", "walks")
    assert rows("--older-than", "1d", "--yes") == [], "none has ended so long ago, but for the one that stays"
    both = [("tree", "completed", 2), ("bad", "failed", 1)]
    assert sorted(rows("--older-than", "0", "--dry-run")) == sorted(both)
    assert rows("--older-than", "0", "--dry-run", "--status", "failed") == both[1:]
    assert rows("--older-than", "0", "--dry-run", "--workflow", "twice") == both[:1]
    assert left(raw, keys, "run", "journal", "inbox", "children", "index", "walks") == before
    done = project.run("purge", "--older-than", "0s", "--yes")
    assert (done.code, done.out) == (1, "removed: 2 trees of 3 runs\n")
    assert done.err == "durable purge: run parent stays: a run below it has not ended\n"
    assert left(raw, keys, "run") == {"run:active", "run:parent"}
    assert {n for n in left(raw, keys, "journal", "inbox", "children") if "tree" in n or "bad" in n} == set()
    assert raw.zrange(keys.index, 0, -1) == ["active", "parent"]


def test_by_id(project: Project, raw: redis.Redis, keys: Keys) -> None:
    project.start("twice", '{"number": 1}', "--id", "tree")
    project.start("waiting", "--id", "active")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    for id, why in (
        ("tree/double", "run tree/double is a child, and goes with its tree: purge tree"),
        ("active", "run active is parked: only a run that has ended can be purged"),
        ("nobody", "no run has the id 'nobody'"),
    ):
        done = project.run("purge", id)
        assert (done.code, done.out) == (1, ""), id
        assert done.err.startswith(f"durable purge: {why}"), done.err
    assert project.run("purge", "tree", "--json").json[0]["runs"] == 2
    assert left(raw, keys, "run", "journal") == {"run:active", "journal:active"}
    assert project.run("doctor").code == 0
    # Its id is free again.
    assert project.start("double", "1", "--id", "tree") == "tree"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which runs"),
        (["x", "--older-than", "1"], "say which runs"),
        (["x", "--status", "failed"], "--status and --workflow choose among those of --older-than"),
        (["--older-than", "1"], "nobody can be asked here; pass --yes"),
        (["--older-than", "soon", "--yes"], "'soon' is not a number of seconds"),
        (["--older-than", "-1", "--yes"], "is not a number of seconds from 0"),
        (["--older-than", "nand", "--yes"], "'nan' is not a number of seconds"),
        (["--older-than", "40000d", "--yes"], "more than 100 years"),
        (["--older-than", "0", "--status", "running", "--yes"], "'running' is not one of"),
        (["a b"], "holds ' '"),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, list) else "",
)
def test_usage(project: Project, arguments: list[str], said: str) -> None:
    done = project.run("purge", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


async def test_what_is_taken_up_again_meanwhile_stays(project: Project, raw: redis.Redis, keys: Keys) -> None:
    """The script that removes looks once more: what the tree was a moment ago does not count."""
    from durable_async import Durable

    project.start("declined", '"no"', "--id", "bad")
    assert project.run("worker", "shop:durable", "--burst").code == 0
    async with Durable(project.url, namespace=project.env["DURABLE_NAMESPACE"]) as durable:
        purging = Purging(durable._session.store)
        assert await purging.size("bad") == 1
        await durable.retry("bad")
        with pytest.raises(RunNotWaiting, match="run bad is ready"):
            await purging.remove("bad")
        assert await purging.size("bad") is None
        assert left(raw, keys, "run", "journal") == {"run:bad", "journal:bad"}
