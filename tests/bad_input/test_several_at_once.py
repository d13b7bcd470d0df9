"""`parallel`, `map_workflow`, `wait_for_any` and `wait_for_all` with arguments that are none.

Refused calls close the coroutines they were given: one that was not would warn that it was never awaited, and warnings
are errors here.
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from durable_async import (
    DeterminismError,
    NotInWorkflow,
    Tolerate,
    call_workflow,
    map_workflow,
    parallel,
    start_workflow,
    step,
    wait_for_all,
    wait_for_any,
)
from durable_async.engine.loop import DeterministicLoop

from . import flows
from .bench import Bench

BAD: dict[str, tuple[Callable[[], Any], str, str]] = {}
"""Call, exception, what its text says."""


def case(name: str, call: Callable[[], Any], kind: str, words: str) -> None:
    BAD[name] = (call, kind, words)


def calls(*names: str, **more: Any) -> dict[str, Any]:
    """Branches that must never run, and others."""
    return {**{name: call_workflow(flows.takes_int, 1, ref="never") for name in names}, **more}


async def kid() -> Any:
    child = await start_workflow(flows.takes_int, 1, ref="kid")
    return await parallel(calls("a", b=child))


def foreign() -> asyncio.Future[Any]:
    return DeterministicLoop().create_future()


def same() -> Any:
    call = call_workflow(flows.takes_int, 1, ref="never")
    return parallel({"a": call, "b": call})


def named(names: Any, **options: Any) -> Any:
    return map_workflow(flows.takes_int, names, **options)


for n, given in enumerate([lambda: list(calls("a").values()), lambda: tuple(calls("a").values())]):
    case(f"list {n}", lambda g=given: parallel(g()), "TypeError", r"takes a dict of names.*not (list|tuple)")
case("one call", lambda: parallel(call_workflow(flows.takes_int, 1)), "TypeError", "a dict of names.*not coroutine")  # type: ignore[call-overload]
case("none", lambda: parallel(None), "TypeError", "a dict of names.*not NoneType")  # type: ignore[call-overload]
case("value", lambda: parallel(calls("a", b=5)), "TypeError", "branch 'b' is nothing to await, but int")
case("a workflow", lambda: parallel(calls("a", b=flows.takes_int)), "TypeError", r"call_workflow\(takes_int")
case("a step", lambda: parallel(calls("a", b=flows.add_one)), "TypeError", r"call it: add_one\(")
case("a function", lambda: parallel(calls("a", b=flows.probe.function)), "TypeError", r"call it: probe\(")
case("a child", kid, "TypeError", r"child\.result\(\)")
case("other loop", lambda: parallel(calls("a", b=foreign())), "ValueError", "'b' is a future of another loop")
case("same call", same, "TypeError", "'b' is the same call as 'a'")
for n, bad in enumerate(["fail", None, True, 0, Tolerate, ["fail_fast"], b"complete_all", "x" * 10_000]):
    words = r"^on_error must be 'fail_fast', 'complete_all' or Tolerate.{1,60}$"
    case(f"on_error {n}", lambda b=bad: parallel(calls("a"), on_error=b), "ValueError", words)
    case(f"on_error {n} of a map", lambda b=bad: named([1], on_error=b), "ValueError", words)
for bad, kind in [(0, "ValueError"), (-1, "ValueError"), (True, "ValueError"), (1.5, "TypeError"), ("2", "TypeError")]:
    words = "^max_concurrency must be"
    case(f"limit {bad}", lambda b=bad: parallel(calls("a"), max_concurrency=b), kind, words)
    case(f"limit {bad} of a map", lambda b=bad: named([1], max_concurrency=b), kind, words)
for n, options in enumerate([{}, {"failures": -1}, {"failures": True}, {"failures": 1.0}, {"ratio": 1.1}]):
    kind = "ValueError" if options else "TypeError"
    case(f"tolerate {n}", lambda o=options: asyncio.sleep(0, Tolerate(**o)), kind, "failures|ratio")
for n, bad in enumerate([math.nan, -0.1, True, "0.1", math.inf]):
    case(f"ratio {n}", lambda b=bad: asyncio.sleep(0, Tolerate(ratio=b)), "ValueError", "^ratio must be")

for n, bad in enumerate([None, 5, "text", b"bytes", {"a": 1}, flows.takes_int]):
    case(f"inputs {n}", lambda b=bad: named(b), "TypeError", "takes a list of inputs")
case("inputs set", lambda: named({1, 2}), "TypeError", "order.*sort it")
case("map no workflow", lambda: map_workflow("takes_int", [1]), "TypeError", "@workflow")  # type: ignore[call-overload]
case("map a step", lambda: map_workflow(flows.add_one, [1]), "TypeError", "Step")  # type: ignore[call-overload]
for n, bad in enumerate(["", "a/b", "x" * 128, 7, "ä"]):
    case(f"map ref {n}", lambda b=bad: named([1, 2], ref=b), "ValueError", "^ref")
case("map no input", lambda: map_workflow(flows.nothing, [1]), "TypeError", "takes no input")
case("map unstorable", lambda: map_workflow(flows.takes_any, [1, object()]), "NotSerializable", "^input")


def broken() -> Iterator[int]:
    yield 1
    raise LookupError("in the middle of the inputs")


case("map broken inputs", lambda: named(broken()), "LookupError", "in the middle")

for what, wait in {"any": wait_for_any, "all": wait_for_all}.items():
    for n, bad in enumerate(["go", b"go", None, 5, {"go": int}, {"go"}]):
        case(f"{what} names {n}", lambda w=wait, b=bad: w(b), "TypeError", f"^wait_for_{what} takes a list of event na")
    for n, bad in enumerate(["", "x" * 129, "\ud800", 7, None]):
        case(f"{what} name {n}", lambda w=wait, b=bad: w(["go", b]), "ValueError", "^event name")
    case(f"{what} twice", lambda w=wait: w(["a", "b", "a"]), "ValueError", "each event name once, got 'a' twice")
    case(f"{what} timeout", lambda w=wait: w(["a"], timeout=-1), "ValueError", "^timeout")
    case(f"{what} value", lambda w=wait: w(["a"], timeout=9, timeout_value=object()), "NotSerializable", "^timeout_val")
case("any of nothing", lambda: wait_for_any([]), "ValueError", "at least one event name")


@pytest.mark.parametrize("names", [list(BAD)[n::4] for n in range(4)], ids=range(4))
async def test_wrong_calls(bench: Bench, names: list[str]) -> None:
    flows.CASES.update({name: BAD[name][0] for name in names})
    async with bench.worker():
        handles = {name: await bench.durable.start(flows.probe, name) for name in names}
        for name, handle in handles.items():
            kind, said = (await handle.result(timeout=30))[:2]
            assert kind == BAD[name][1], (name, kind, said)
            with pytest.raises(ValueError, match=BAD[name][2]):
                raise ValueError(said)
            refs = [child.ref for child in await handle.children()]
            assert "never" not in refs, name
        await bench.alive()
    gc.collect()


OUTSIDE: dict[str, Callable[[], Any]] = {
    "parallel": lambda: parallel(calls("a", b=parallel(calls("c")))),
    "map": lambda: named([1]),
    "any": lambda: wait_for_any(["a"]),
    "all": lambda: wait_for_all(["a"]),
}


@pytest.mark.parametrize("name", OUTSIDE)
async def test_outside_of_a_workflow(anyio_backend: str, name: str) -> None:
    with pytest.raises(NotInWorkflow, match=r"durable\.start\(\)"):
        await OUTSIDE[name]()
    gc.collect()


async def test_inside_a_step(bench: Bench) -> None:
    @step
    async def uses(name: str) -> str:
        with pytest.raises(DeterminismError, match="not in a step") as caught:
            await OUTSIDE[name]()
        return str(caught.value)

    async def each() -> Any:
        return [await uses(name) for name in OUTSIDE]

    flows.CASES["steps"] = each
    async with bench.worker():
        kind, said = await (await bench.durable.start(flows.probe, "steps")).result(timeout=30)
        assert (kind, said.count("step")) == ("", len(OUTSIDE)), said
    gc.collect()


def test_what_is_never_begun_is_closed() -> None:
    """Closed or cancelled before its first turn, a call closes its branches, and theirs."""
    for end in ("close", "throw"):
        inner: Any = parallel(calls("b"))
        outer: Any = parallel(calls("a", inner=inner))
        if end == "close":
            outer.close()
        else:
            with pytest.raises(asyncio.CancelledError):
                outer.throw(asyncio.CancelledError())
    gc.collect()
