"""What is wrong with a call is said by a typed error that names it, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from durable_async import (
    ConfigurationError,
    Durable,
    InvalidInput,
    Limits,
    NotSerializable,
    PayloadTooLarge,
    RunNotFound,
    RunNotWaiting,
    UnknownWorkflow,
    WorkflowIdConflict,
)

from . import flows
from .bench import Bench

SURROGATE = "a\ud800b"
BAD_NAMES: list[tuple[Any, str]] = [
    ("", "1 to"), ("x" * 129, "got 129"), ("x" * 100_000, "100000"), ("a{b", "'{'"), ("a}b", "'}'"),
    ("a*", r"'\*'"), ("a b", "' '"), ("a\nb", "n'"), ("a\n", "n'"), ("a\0b", "x00"), ("a/../b", "'/'"),
    ("ü", "xfc"), ("\u202eabc", "u202e"), ("e\u0301", "u0301"), (SURROGATE, "ud800"), (7, "not int"),
    (b"abc", "not bytes"), (True, "not bool"), (["a"], "not list"),
]  # fmt: skip
BAD_LABELS: list[tuple[Any, str]] = [("", "1 to"), ("x" * 129, "129"), (SURROGATE, "surrogate"), (7, "int"),
                                     (None, "NoneType"), (b"x", "bytes")]  # fmt: skip
BAD_DURATIONS: list[tuple[Any, type[Exception], str]] = [
    (True, ValueError, "bool"), (float("nan"), ValueError, "NaN"), (float("inf"), ValueError, "100 years"),
    (-1, ValueError, "negative"), (-0.001, ValueError, "negative"), (float("-inf"), ValueError, "negative"),
    (1e18, ValueError, "100 years"), (10**400, ValueError, "100 years"), (-(10**5000), ValueError, "negative"),
    (timedelta.max, ValueError, "100 years"), (timedelta(seconds=-1), ValueError, "negative"),
    ("5", TypeError, "not str"), (Decimal(5), TypeError, "Decimal"), (1j, TypeError, "complex"),
]  # fmt: skip
BAD_IDS = [pair for pair in BAD_NAMES if pair[0] not in ("x" * 129, "a/../b")] + [("x" * 256, "255"), (None, "None")]


def labels(values: list[Any]) -> list[str]:
    return [f"{n}-{type(v[0]).__name__}" for n, v in enumerate(values)]


async def refused(bench: Bench, call: Callable[[Durable], Any], kind: type[Exception], words: str) -> Exception:
    before = bench.snapshot()
    with pytest.raises(kind, match=words) as caught:
        await call(bench.durable)
    assert not isinstance(caught.value, UnicodeEncodeError)
    assert bench.snapshot() == before
    return caught.value


@pytest.mark.parametrize(("value", "words"), BAD_NAMES, ids=labels(BAD_NAMES))
async def test_names(bench: Bench, value: Any, words: str) -> None:
    await refused(bench, lambda d: d.start(flows.nothing, id=value), ValueError, f"^id.*{words}")
    await refused(bench, lambda d: d.start(flows.nothing, queue=value), ValueError, f"^queue.*{words}")
    await refused(bench, lambda d: d.pause_queue(value), ValueError, f"^name.*{words}")
    await refused(bench, lambda d: d.resume_queue(value), ValueError, f"^name.*{words}")


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [(11, ValueError, "-10 to 10, got 11"), (-11, ValueError, "got -11"), (10**40, ValueError, "got 1000"),
     (True, TypeError, "not bool"), (1.0, TypeError, "not float"), ("5", TypeError, "not str"),
     (float("nan"), TypeError, "float")],
)  # fmt: skip
async def test_priorities(bench: Bench, value: Any, kind: type[Exception], words: str) -> None:
    await refused(bench, lambda d: d.start(flows.nothing, priority=value), kind, f"^priority.*{words}")


async def test_a_queue_has_no_colon(bench: Bench) -> None:
    await refused(bench, lambda d: d.start(flows.nothing, queue="a:b"), ValueError, "':'")


@pytest.mark.parametrize(("value", "words"), BAD_IDS, ids=labels(BAD_IDS))
async def test_ids_of_runs(bench: Bench, value: Any, words: str) -> None:
    calls: list[Callable[[Durable], Any]] = [
        lambda d: d.get(value), lambda d: d.cancel(value), lambda d: d.terminate(value), lambda d: d.tree(value),
        lambda d: d.history(value), lambda d: d.list_children(value), lambda d: d.send_event(value, "go"),
        lambda d: d.run(value),
    ]  # fmt: skip
    for call in calls:
        await refused(bench, call, ValueError, words)
    if value is not None:
        await refused(bench, lambda d: d.list(parent=value), ValueError, f"^parent.*{words}")


async def test_ids_of_nobody(bench: Bench) -> None:
    calls: list[Callable[[Durable], Any]] = [
        lambda d: d.get("no"), lambda d: d.cancel("no"), lambda d: d.terminate("no/child"), lambda d: d.tree("no"),
        lambda d: d.history("no"), lambda d: d.list_children("no"), lambda d: d.send_event("no", "go"),
    ]  # fmt: skip
    for call in calls:
        await refused(bench, call, RunNotFound, "'no")


@pytest.mark.parametrize(("value", "kind", "words"), BAD_DURATIONS, ids=labels(BAD_DURATIONS))
async def test_durations(bench: Bench, value: Any, kind: type[Exception], words: str) -> None:
    await refused(bench, lambda d: d.start(flows.nothing, delay=value), kind, f"^delay.*{words}")
    await refused(bench, lambda d: d.start(flows.nothing, retention=value), kind, f"^retention.*{words}")
    await refused(bench, lambda d: d.run("x").result(timeout=value), kind, f"^timeout.*{words}")
    with pytest.raises(kind, match=f"^retention.*{words}"):
        Durable(bench.url, retention=value)


@pytest.mark.parametrize(
    ("at", "kind", "words"),
    [
        (datetime(2030, 1, 1), ValueError, "^at.*aware"),
        ("2030-01-01", TypeError, "^at.*not str"),
        (5, TypeError, "^at.*not int"),
        (datetime.max.replace(tzinfo=UTC), ValueError, "^at.*100 years"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), ValueError, "^at.*100 years"),
    ],
)
async def test_moments(bench: Bench, at: Any, kind: type[Exception], words: str) -> None:
    await refused(bench, lambda d: d.start(flows.nothing, at=at), kind, words)
    await refused(bench, lambda d: d.start(flows.nothing, at=at, delay=1), ValueError, "not both")


async def test_moments_of_the_past_are_at_once(bench: Bench) -> None:
    await bench.durable.start(flows.nothing, id="r", at=datetime.min.replace(tzinfo=UTC))
    assert bench.field("r", "status") == "ready"


@pytest.mark.parametrize(
    ("filters", "kind", "words"),
    [
        ({"status": "bogus"}, ValueError, "^status.*pending"), ({"status": 5}, ValueError, "^status"),
        ({"status": b"failed"}, ValueError, "^status"), ({"status": ["failed", None]}, ValueError, "^status"),
        ({"status": [[]]}, ValueError, "^status"), ({"status": SURROGATE}, ValueError, "^status"),
        *(({"limit": n}, ValueError, "^limit.*1 to 1000") for n in (0, -1, 10**9, True, "5", 1.0, None)),
        *(({"cursor": c}, ValueError, "^cursor")
          for c in ("x", "", "é", SURROGATE, 5, b"MHw", "LTF8", "OTk5OTk5OTk5OTk5OTk5OTk5OTl8", "MHxvdGhlcg")),
        ({"since": datetime(2030, 1, 1)}, ValueError, "^since.*aware"), ({"until": 5}, TypeError, "^until.*int"),
        ({"since": "2030"}, TypeError, "^since"), ({"id_prefix": 5}, ValueError, "^id_prefix"),
        ({"workflow": flows.nothing}, ValueError, "^workflow"), ({"queue": "x" * 10_000}, ValueError, "^queue"),
    ],
)  # fmt: skip
async def test_filters(bench: Bench, filters: Any, kind: type[Exception], words: str) -> None:
    await bench.durable.start(flows.nothing)
    await refused(bench, lambda d: d.list(**filters), kind, words)
    if "status" in filters:
        await refused(bench, lambda d: d.list_children("x", **filters), kind, words)


async def test_filters_that_match_nothing(bench: Bench) -> None:
    await bench.durable.start(flows.nothing)
    least, most = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert len((await bench.durable.list(since=least, until=most)).items) == 1
    for filters in ({"since": most}, {"until": least}, {"status": []}, {"id_prefix": SURROGATE}, {"queue": "\0"}):
        assert (await bench.durable.list(**filters)).items == []  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(("value", "words"), BAD_LABELS, ids=labels(BAD_LABELS))
async def test_events(bench: Bench, value: Any, words: str) -> None:
    await bench.durable.start(flows.waits, id="r")
    await refused(bench, lambda d: d.send_event("r", value), ValueError, f"^event name.*{words}")
    if value is not None:
        await refused(bench, lambda d: d.send_event("r", "go", event_id=value), ValueError, f"^event_id.*{words}")


async def test_events_that_cannot_be_taken(bench: Bench) -> None:
    await bench.durable.start(flows.waits, id="r")
    await bench.durable.start(flows.waits, id="ended")
    await bench.durable.terminate("ended")
    await refused(bench, lambda d: d.send_event("ended", "go"), RunNotWaiting, "ended")
    await refused(bench, lambda d: d.send_event("r", "go", object()), NotSerializable, "^payload")
    await refused(bench, lambda d: d.send_event("r", "go", b"x" * 2_000_000), PayloadTooLarge, "^payload")
    await bench.durable.send_event("r", "go", event_id="one")
    before = bench.snapshot()
    await bench.durable.send_event("r", "go", event_id="one")
    assert bench.snapshot() == before
    async with bench.open(limits=Limits(inbox=1)) as narrow:
        await refused(bench, lambda d: narrow.send_event("r", "go"), RunNotWaiting, "1 messages already wait for run r")


@pytest.mark.parametrize("reason", ["x" * 1_001, SURROGATE, 7, None, b"x"], ids=ascii)
async def test_reasons(bench: Bench, reason: Any) -> None:
    await bench.durable.start(flows.waits, id="r")
    for call in (bench.durable.cancel, bench.durable.terminate):
        await refused(bench, lambda d, call=call: call("r", reason), ValueError, "^reason")


async def a_generator() -> Any:
    yield 1


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: list[Any] = []
for _ in range(5_000):
    DEEP = [DEEP]
UNSTORABLE: dict[str, Any] = {
    "object": object(), "lambda": lambda: 1, "generator": (n for n in ()), "async generator": a_generator(),
    "module": flows, "type": int, "exception": ValueError("x"), "cycle": LOOP, "depth": DEEP,
    "naive datetime": datetime(2030, 1, 1), "nested": {"a": [1, {"b": object()}]}, "surrogate": SURROGATE,
    "surrogate key": {SURROGATE: 1}, "complex": 1j, "bytearray subclass": type("B", (bytearray,), {})(b"x"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSTORABLE)
async def test_inputs_that_cannot_be_stored(bench: Bench, name: str) -> None:
    error = await refused(bench, lambda d: d.start(flows.takes_any, UNSTORABLE[name]), NotSerializable, "^input")
    if name == "nested":
        assert "input.a[1].b" in str(error) or "input['a'][1]['b']" in str(error)


async def test_inputs_that_do_not_fit(bench: Bench) -> None:
    async def refuse(workflow: Any, given: Any, kind: type[Exception], words: str) -> None:
        error = await refused(bench, lambda d: d.start(workflow, given), kind, words)
        assert "S3CR3T" not in str(error)

    await refuse(flows.nothing, 1, TypeError, "'nothing' takes no input")
    await refuse(flows.takes_int, "S3CR3T", InvalidInput, "^input")
    await refuse(flows.takes_int, True, InvalidInput, "^input")
    await refuse(flows.takes_int, None, InvalidInput, "^input")
    await refuse(flows.takes_order, {"id": "S3CR3T"}, InvalidInput, "id")
    await refuse(flows.takes_order, {"S3CR3T": 1}, InvalidInput, "input")
    await refuse("unheard-of", None, UnknownWorkflow, "'unheard-of'")
    await refuse(SURROGATE, None, UnknownWorkflow, "registered")
    await refuse(7, None, TypeError, "not int|got int")
    await refuse(flows.add_one, None, TypeError, "Step")
    await refused(bench, lambda d: d.start(flows.nothing, on_conflict="bogus"), ValueError, "^on_conflict.*join")
    await refused(bench, lambda d: d.start(flows.nothing, on_conflict=None), ValueError, "^on_conflict")


async def test_one_id_for_two_things(bench: Bench) -> None:
    durable = bench.durable
    await durable.start(flows.takes_int, 1, id="r")
    await durable.start(flows.takes_int, 1, id="r")
    await refused(bench, lambda d: d.start(flows.takes_int, 2, id="r"), WorkflowIdConflict, "'r'.*another input")
    await refused(bench, lambda d: d.start(flows.echo, 1, id="r"), WorkflowIdConflict, "'r'.*'takes_int'.*'echo'")
    await refused(
        bench, lambda d: d.start(flows.takes_int, 1, id="r", on_conflict="raise"), WorkflowIdConflict, "'r'.*another id"
    )


async def test_handles_of_something_else(bench: Bench) -> None:
    with pytest.raises(TypeError, match="@workflow"):
        bench.durable.run("r", "takes_int")  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="no workflow"):
        async with bench.open(workflows=[]).worker():
            raise AssertionError


async def test_a_queue_that_nobody_serves(bench: Bench) -> None:
    handle = await bench.durable.start(flows.nothing, queue="nobody")
    async with bench.worker():
        await bench.alive()
        assert await handle.status() == "pending"
        assert await handle.cancel("nobody came")
    assert (await handle.info()).reason == "nobody came"
