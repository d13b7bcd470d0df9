"""Definitions, policies, limits, settings and URLs that make no sense are refused where they are written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from durable_async import ConfigurationError, Durable, Limits, Retry, Settings, step, workflow
from durable_async.worker.settings import WorkerSettings

from . import flows
from .test_arguments import BAD_DURATIONS, BAD_NAMES, SURROGATE


async def fine(n: int) -> int:
    return n


async def two(a: int, b: int) -> None: ...
async def starred(*a: int) -> None: ...
async def named(**a: int) -> None: ...
async def keyword(*, a: int) -> None: ...
async def agen() -> Any:
    yield 1


def sync() -> None: ...
def gen() -> Any:
    yield 1


class Holder:
    async def method(self) -> None: ...
    async def method_of_one(self, n: int) -> None: ...
    @classmethod
    async def of_class(cls) -> None: ...
    @staticmethod
    async def static(n: int) -> int:
        return n

    async def __call__(self) -> None: ...


# Each takes what is decorated, the decorator's error, and words of it.
DEFINITIONS: list[tuple[Any, Any, str]] = [
    *[(workflow, f, "zero or one") for f in (two, starred, named, keyword)],
    (workflow, agen, "generator"), (workflow, gen, "generator"), (workflow, sync, "async def"),
    (workflow, lambda: 1, "async def"), (workflow, Holder, "async def"), (workflow, Holder(), "async def"),
    (workflow, Holder.method, "is a method"), (workflow, Holder.method_of_one, "is a method"),
    (workflow, Holder.__dict__["of_class"], "async def"), (workflow, flows.nothing, "async def"),
    (workflow, flows.add_one, "async def"), (workflow, "name", "str"), (workflow, 5, "int"),
    (step, 5, "int"), (step, "name", "str"), (step, gen, "generator"), (step, agen, "generator"),
    (step, Holder.method, "is a method"), (step, flows.nothing, "call_workflow"),
]  # fmt: skip


def takes_two(a: int, b: int) -> None: ...
def takes_none() -> None: ...


NO_COMPENSATIONS: list[tuple[Any, type[Exception], str]] = [
    (5, TypeError, "not int"), ("refund", TypeError, "not str"), ([], TypeError, "not list"),
    (takes_two, TypeError, "one argument"), (takes_none, TypeError, "one argument"),
    (flows.nothing, TypeError, "one argument"), (gen, TypeError, "generator"),
    (lambda result: None, ValueError, "lambda"), (Holder.method, TypeError, "is a method"),
]  # fmt: skip


@pytest.mark.parametrize("decorate", [step, workflow])
@pytest.mark.parametrize(("undo", "kind", "words"), NO_COMPENSATIONS, ids=range(len(NO_COMPENSATIONS)))
def test_compensations(decorate: Any, undo: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        decorate(compensate=undo)(fine)


@pytest.mark.parametrize(("decorate", "function", "words"), DEFINITIONS, ids=range(len(DEFINITIONS)))
def test_functions(decorate: Callable[[Any], Any], function: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        decorate(function)


def test_functions_that_are_fine() -> None:
    assert workflow(Holder.static).name == "static"
    assert workflow(functools.partial(two, 1), name="partial").spec.takes_input
    assert step(Holder().method_of_one).name == "method_of_one"
    assert workflow(Holder().method).spec.takes_input is False
    with pytest.raises(ValueError, match="lambda"):
        step(lambda: 1)
    with pytest.raises(TypeError, match="delay_limit"):
        workflow(delay_limit=5)(fine)  # type: ignore[call-overload]


@pytest.mark.parametrize(("name", "words"), [b for b in BAD_NAMES if b[0] is not None], ids=range(len(BAD_NAMES)))
def test_names(name: Any, words: str) -> None:
    for make in (
        lambda: workflow(name=name)(fine), lambda: workflow(queue=name)(fine), lambda: workflow(version=name)(fine),
        lambda: step(name=name)(fine), lambda: step(fine).options(name=name), lambda: WorkerSettings(queues=(name,)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            make()
    if name:
        with pytest.raises(ValueError, match=f"^namespace.*{words}"):
            Durable("redis://localhost", namespace=name)


@pytest.mark.parametrize(("value", "kind", "words"), BAD_DURATIONS, ids=range(len(BAD_DURATIONS)))
def test_durations(value: Any, kind: type[Exception], words: str) -> None:
    for make in (
        lambda: workflow(retention=value)(fine), lambda: step(timeout=value)(fine),
        lambda: step(fine).options(timeout=value), lambda: Retry(initial=value), lambda: Retry(maximum=value),
        lambda: Retry(max_elapsed=value), lambda: Limits(cancel_grace=value),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            make()


NAN, INF = float("nan"), float("inf")
POLICIES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"max_attempts": 0}, ValueError), ({"max_attempts": -1}, ValueError), ({"max_attempts": True}, TypeError),
    ({"max_attempts": 2.0}, TypeError), ({"max_attempts": "3"}, TypeError), ({"jitter": 1.1}, ValueError),
    ({"jitter": -0.1}, ValueError), ({"jitter": NAN}, ValueError), ({"jitter": "x"}, TypeError),
    ({"jitter": None}, TypeError), ({"factor": 0.5}, ValueError), ({"factor": NAN}, ValueError),
    ({"factor": INF}, ValueError), ({"factor": 1e308}, ValueError), ({"factor": "2"}, TypeError),
    ({"initial": 10, "maximum": 5}, ValueError), ({"maximum": None}, TypeError), ({"retry_on": None}, TypeError),
    ({"retry_on": (ValueError, "x")}, TypeError), ({"retry_on": [ValueError]}, TypeError),
    ({"never_on": ValueError("x")}, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind"), POLICIES, ids=ascii)
def test_retry(given: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=list(given)[-1]):
        Retry(**given)


@pytest.mark.parametrize(("value", "kind"), [(0, ValueError), (-3, ValueError), (True, TypeError), ("3", TypeError)])
def test_numbers_of_attempts(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="attempts|retry"):  # noqa: RUF043
        step(retry=value)(fine)


@pytest.mark.parametrize("attempt", [1, 2, 65, 10_000, 10**30])
@pytest.mark.parametrize("initial", [0, 0.001, 60])
def test_delays_are_bounded(attempt: int, initial: float) -> None:
    delay = Retry(max_attempts=10**40, initial=initial, factor=1_000_000, jitter=1).delay_ms(attempt, 1.0)
    assert 0 <= delay <= 120_000


@pytest.mark.parametrize("name", ["payload", "journal_entries", "journal_bytes", "depth", "crash_loop", "inbox"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [(-1, ValueError), (2**53, ValueError), (10**5000, ValueError), (1.5, TypeError), ("9", TypeError), (True,
    TypeError),
     (None, TypeError)],
    ids=range(7),
)  # fmt: skip
def test_limits(name: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=name):
        Limits(**{name: value})


SETTINGS: list[dict[str, Any]] = [
    {"queues": ()}, {"queues": "default"}, {"queues": b"x"}, {"queues": 5}, {"queues": {"a"}},
    *[{"concurrency": n} for n in (0, -1, 10**7, 10**5000, True, "5", 1.5, NAN)],
    *[{"max_resident": n} for n in (-1, "5", None, 0.5, 10**7)],
    *[{"lease": n} for n in (0, -1, NAN, INF, "5", True, 1e9)],
    *[{"drain_timeout": n} for n in (-1, NAN, INF, "5", None)],
]  # fmt: skip


@pytest.mark.parametrize("given", SETTINGS, ids=range(len(SETTINGS)))
def test_worker_settings(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(given)).rstrip("s")):
        WorkerSettings(**given)


@pytest.mark.parametrize("name", ["", "x" * 129, SURROGATE, 5, b"x"], ids=ascii)
def test_worker_names(name: Any) -> None:
    with pytest.raises(ValueError, match="^worker name"):  # noqa: RUF043
        WorkerSettings(name=name)


def test_a_queue_named_twice_is_served_once() -> None:
    assert WorkerSettings(queues=["b", "a", "b"]).queues == ("b", "a")


ENVIRONMENT: list[tuple[str, str]] = [
    ("DURABLE_CONCURRENCY", "abc"), ("DURABLE_CONCURRENCY", "1.5"), ("DURABLE_CONCURRENCY", "9" * 5_000),
    ("DURABLE_CONCURRENCY", "0"), ("DURABLE_MAX_RESIDENT", "-1"), ("DURABLE_LEASE", "nan"), ("DURABLE_LEASE", "inf"),
    ("DURABLE_LEASE", "1e999"), ("DURABLE_LEASE", "5s"), ("DURABLE_DRAIN_TIMEOUT", "-1"), ("DURABLE_QUEUES", ","),
    ("DURABLE_QUEUES", "a:b"), ("DURABLE_QUEUES", "a,\udcff"), ("DURABLE_NAMESPACE", "a{b"),
    ("DURABLE_NAMESPACE", "\udcff"), ("DURABLE_URL", "http://localhost"), ("DURABLE_URL", "\udcff"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ENVIRONMENT, ids=lambda v: ascii(v)[:30])
def test_environment(name: str, value: str) -> None:
    with pytest.raises((ConfigurationError, ValueError)) as caught:  # noqa: PT012
        settings = Settings.from_env({"DURABLE_URL": "redis://localhost", name: value})
        Durable(settings=settings).worker_settings()
    assert not isinstance(caught.value, UnicodeError)
    assert name.removeprefix("DURABLE_").rstrip("S").lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "http://u:S3CR3T@h", "redis://u:S3CR3T@h:0", "redis://u:S3CR3T@h:99999", "redis://:S3CR3T@h/x",
     "redis://:S3CR3T@h/-1", "redis://:S3@CR3T@h", "redis://:S3CR3T/@h", "redis://:S3CR3T#@h", "redis://:S3CR3T%zz@h",
     "unix://:S3CR3T@", "redis://[::1", "redis://:S3CR3T@a,b", "redis+sentinel://:S3CR3T@h",
     "rediss://:S3CR3T@h?ssl_ca_certs=/no/such", "redis://:S3CR3T@h?bogus=1", "redis://:S3CR3T\ud800@h",
     5, b"redis://h", True],
    ids=ascii,
)  # fmt: skip
def test_urls(url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_URL", raising=False)
    if url == "":
        assert Durable(url).url is None  # as if it were not given
        return
    with pytest.raises(ConfigurationError) as caught:
        Durable(url)
    assert "S3CR3T" not in str(caught.value) and "CR3T" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "given",
    [{"codec": "msgpack"}, {"codec": dict}, {"limits": {"depth": 3}}, {"limits": 5}, {"lifespan": 5},
     {"settings": {"url": "x"}}],
    ids=ascii,
)  # fmt: skip
def test_parts(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(given))} must be"):
        Durable("redis://localhost", **given)


def test_registrations() -> None:
    other = workflow(name="nothing")(fine)
    with pytest.raises(ConfigurationError, match="two workflows are named 'nothing'"):
        Durable("redis://localhost", workflows=[flows.nothing, other])
    with pytest.raises(ConfigurationError, match="holds no workflow"):
        Durable("redis://localhost", workflows=[functools])
    Durable("redis://localhost", workflows=[flows.nothing, flows.nothing, flows])
    bad: list[Any] = [flows.nothing, flows, "flows", [fine], [None], ["nothing"], 5, [flows.add_one]]
    for given in bad:
        with pytest.raises(TypeError):
            Durable("redis://localhost", workflows=given)


@pytest.mark.parametrize("value", [None, 1, "yes", []])
def test_at_most_once_is_a_bool(value: Any) -> None:
    with pytest.raises(TypeError, match="at_most_once must be a bool"):
        step(at_most_once=value)(fine)
