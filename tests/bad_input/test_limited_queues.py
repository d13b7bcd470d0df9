"""`Queue`: wrong arguments, wrong keys, and what others have planted in the keys of its room."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durable_async import ConfigurationError, Durable, Queue, call_workflow, workflow

from . import flows
from .bench import Bench

SURROGATE = "a\ud800b"


def named(given: Any) -> Any:
    return given


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"name": "a:b"}, ValueError, "':'"),
        ({"name": ""}, ValueError, "1 to 128"), ({"name": None}, ValueError, "str"),
        ({"concurrency": 0}, ValueError, "from 1 to"), ({"concurrency": 10**7}, ValueError, "1,000,000"),
        ({"concurrency": True}, TypeError, "not bool"), ({"concurrency": 1.0}, TypeError, "not float"),
        ({"rate": 5}, TypeError, r"\(n, period\)"), ({"rate": (5,)}, TypeError, r"\(n, period\)"),
        ({"rate": (0, 1)}, ValueError, "from 1 to"), ({"rate": (10**6, 1)}, ValueError, "100,000"),
        ({"rate": ("5", 1)}, TypeError, "not str"), ({"rate": (5, 0)}, ValueError, "millisecond"),
        ({"rate": (5, -1)}, ValueError, "negative"), ({"rate": (5, "1")}, TypeError, "not str"),
        ({"rate": (5, float("nan"))}, ValueError, "NaN"), ({"rate": [5, 1]}, TypeError, r"\(n, period\)"),
        ({"per_key": 1}, ValueError, "together"), ({"key": named}, ValueError, "together"),
        ({"key": "tenant", "per_key": 1}, TypeError, "function"), ({"key": named, "per_key": 0}, ValueError, "from 1"),
    ],
)  # fmt: skip
def test_wrong_arguments(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Queue(**{"name": "mail", **options})


def test_a_queue_says_its_limits_once() -> None:
    @workflow(queue=Queue("mail", concurrency=1))
    async def one() -> None: ...

    @workflow(queue=Queue("mail", concurrency=2))
    async def two() -> None: ...

    @workflow(queue=Queue("mail", concurrency=1, rate=None))
    async def same() -> None: ...

    @workflow(queue="mail")
    async def silent() -> None: ...

    Durable("redis://localhost", workflows=[one, same, silent])
    with pytest.raises(ConfigurationError, match="limit queue 'mail' differently"):
        Durable("redis://localhost", workflows=[one, two])


KEYS: list[tuple[Any, type[Exception] | None, str]] = [
    ("acme", None, ""), (7, None, ""), (None, None, ""), ("ü \n x", None, ""), ("k" * 128, None, ""),
    ("", ValueError, "1 to 128"), ("k" * 129, ValueError, "got 129"), ("a\0b", ValueError, "null character"),
    (SURROGATE, ValueError, "surrogate"), (True, TypeError, "not bool"), (b"x", TypeError, "not bytes"),
    (1.5, TypeError, "not float"), (["a"], TypeError, "not list"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "words"), KEYS, ids=lambda v: type(v).__name__)
async def test_keys(bench: Bench, value: Any, kind: type[Exception] | None, words: str) -> None:
    @workflow(queue=Queue("keyed", key=lambda given: value, per_key=1))
    async def mine(given: Any) -> Any:
        return given

    @workflow(queue="other")
    async def parent(given: Any) -> Any:
        return await call_workflow(mine, given)

    durable = bench.open(workflows=[mine, parent])
    async with durable:
        before = bench.snapshot()
        if kind is not None:
            with pytest.raises(kind, match=words):
                await durable.start(mine, 1)
            assert bench.snapshot() == before
            return
        async with durable.worker(["keyed", "other"]):
            handles = [await durable.start(mine, 1), await durable.start(mine, 2), await durable.start(parent, 3)]
            assert [await handle.result(timeout=30) for handle in handles] == [1, 2, 3]


async def test_a_key_function_that_raises(bench: Bench) -> None:
    def bad(given: Any) -> str:
        raise LookupError("no tenant")

    @workflow(queue=Queue("keyed", key=bad, per_key=1))
    async def mine(given: Any) -> Any:
        return given

    @workflow
    async def parent(given: Any) -> str:
        try:
            await call_workflow(mine, given)
        except LookupError as error:
            return str(error)
        return "no"

    durable = bench.open(workflows=[mine, parent])
    async with durable, durable.worker(["default"]):
        with pytest.raises(LookupError, match="no tenant"):
            await durable.start(mine, 1)
        # In another queue nobody asks for it.
        assert await (await durable.start(mine, 1, queue="default")).result(timeout=30) == 1
        assert await (await durable.start(parent, 1)).result(timeout=30) == "no tenant"


PLANTS: list[Callable[[Bench], Any]] = [
    lambda b: b.server.hset(
        b.keys.gates, mapping={"lhealthy": b"\xff", "ldefault": "nonsense", "p": "", "": "", "v": ""}
    ),
    lambda b: b.server.hset(
        b.keys.gates, mapping={"vdefault:": "", "vdefault:x": "", "vdefault:1:2": "", b"v\xff": b"\xff"}
    ),
    lambda b: b.server.zadd(b.keys.timers, {"qdefault": 1, "q": 1, b"q\xff": 1, "qnobody": 1}),
    lambda b: [b.server.set(key, "x") for key in b.keys.room("nobody")[2:7]],
    lambda b: b.server.set(b.keys.gates, "x"),
]


@pytest.mark.parametrize("plant", PLANTS, ids=range(len(PLANTS)))
async def test_what_others_have_planted(bench: Bench, plant: Callable[[Bench], Any]) -> None:
    plant(bench)
    async with bench.worker():
        await bench.alive()
        await bench.alive()


async def test_a_damaged_room_harms_its_own_queue_alone(bench: Bench) -> None:
    @workflow(queue=Queue("few", concurrency=1))
    async def mine() -> int:
        return 1

    bench.server.set(bench.keys.room("few")[4], "x")
    durable = bench.open(workflows=[mine, flows])
    async with durable, durable.worker(["default", "other"]):
        handle = await durable.start(mine)
        await bench.alive()
        bench.server.delete(bench.keys.room("few")[4])
        async with durable.worker(["few"]):
            assert await handle.result(timeout=30) == 1


async def test_periods_of_all_kinds() -> None:
    assert Queue("q", rate=(5, timedelta(seconds=1))).limits == Queue("q", rate=(5, 1)).limits == "0 5 1000 0"
    assert Queue("q").limits == "0 0 0 0"
    assert Queue("q", concurrency=3, key=named, per_key=2).limits == "3 0 0 2"
