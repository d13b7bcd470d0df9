"""Wrong calls in a body: a typed error at the call, which the body may catch; the run goes on unharmed."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_async import (
    RAISE,
    DeterminismError,
    Limits,
    NotInWorkflow,
    call_workflow,
    compensate,
    get_context,
    info,
    now,
    progress,
    put_context,
    random,
    sleep,
    sleep_until,
    start_workflow,
    step,
    uuid,
    wait_for_approval,
    wait_for_event,
    wait_for_input,
)

from . import flows
from .bench import Bench
from .test_arguments import BAD_DURATIONS, BAD_LABELS, BAD_NAMES, SURROGATE, UNSTORABLE

Case = tuple[Callable[[], Awaitable[Any]], str, str]
BAD: dict[str, Case] = {}


def case(name: str, call: Callable[[], Awaitable[Any]], kind: str, words: str) -> None:
    BAD[name] = (call, kind, words)


async def plain(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


async def of_a_started(method: str, *args: Any, **options: Any) -> Any:
    child = await start_workflow(flows.waits, ref="kid")
    try:
        return await getattr(child, method)(*args, **options)
    finally:
        await child.cancel("over")


for n, (name, words) in enumerate(BAD_NAMES):
    case(f"ref {n}", lambda name=name: call_workflow(flows.nothing, ref=name), "ValueError", f"^ref.*{words}")
    case(f"queue {n}", lambda name=name: start_workflow(flows.nothing, queue=name), "ValueError", f"^queue.*{words}")
for n, (label, words) in enumerate(BAD_LABELS):
    case(f"event {n}", lambda label=label: wait_for_event(label), "ValueError", f"^event name.*{words}")
    case(f"key {n}", lambda label=label: plain(put_context, label, 1), "ValueError", f"^context key.*{words}")
for n, (length, kind, words) in enumerate(BAD_DURATIONS):
    k = kind.__name__
    case(f"timeout {n}", lambda d=length: call_workflow(flows.nothing, timeout=d), k, f"^timeout.*{words}")
    case(f"wait {n}", lambda d=length: wait_for_event("e", timeout=d), k, f"^timeout.*{words}")
    case(f"delay {n}", lambda d=length: start_workflow(flows.nothing, delay=d), k, f"^delay.*{words}")
    case(f"sleep {n}", lambda d=length: sleep(d), k, words)
    case(f"result {n}", lambda d=length: of_a_started("result", timeout=d), k, f"^timeout.*{words}")
for name, value in UNSTORABLE.items():
    no = "NotSerializable"
    case(f"call {name}", lambda v=value: call_workflow(flows.takes_any, v), no, "^input")
    case(f"start {name}", lambda v=value: start_workflow(flows.takes_any, v), no, "^input")
    case(f"undo {name}", lambda v=value: plain(compensate, flows.takes_any, v), no, "^input")
    case(f"put {name}", lambda v=value: plain(put_context, "k", v), no, "^context")
    case(
        f"value {name}", lambda v=value: call_workflow(flows.nothing, timeout=9, timeout_value=v), no, "^timeout_value"
    )
    case(f"wait {name}", lambda v=value: wait_for_event("e", timeout=9, timeout_value=v), no, "^timeout_value")
    case(f"child {name}", lambda v=value: of_a_started("result", timeout=9, timeout_value=v), no, "^timeout_value")
for n, reason in enumerate(["x" * 1_001, SURROGATE, 7, None, b"x"]):
    case(f"reason {n}", lambda r=reason: of_a_started("cancel", r), "ValueError", "^reason")
for n, (undo, words) in enumerate(
    [(5, "not int"), ("add_one", "not str"), (None, "not None"), (flows.add_one, "argument")]
):
    case(f"no undo {n}", lambda u=undo: plain(compensate, u), "TypeError", words)
case("undo without its input", lambda: plain(compensate, flows.takes_int), "TypeError", "these arguments")
case("undo with too many", lambda: plain(compensate, flows.nothing, 1), "TypeError", "these arguments")
case("undo lambda", lambda: plain(compensate, lambda: None), "ValueError", "lambda")
big = b"x" * 2_000_000
case("big input", lambda: call_workflow(flows.takes_any, big), "PayloadTooLarge", "^input")
case("big context", lambda: plain(put_context, "k", big), "PayloadTooLarge", "^context")
case("no workflow", lambda: call_workflow("nothing"), "TypeError", "@workflow")  # type: ignore[call-overload]
case("a step", lambda: call_workflow(flows.add_one, 1), "TypeError", "Step")  # type: ignore[call-overload]
case("no input", lambda: call_workflow(flows.nothing, 5), "TypeError", "'nothing' takes no input")
for bad in ("bogus", None, []):
    case(f"on_timeout {bad}", lambda b=bad: call_workflow(flows.nothing, on_timeout=b), "ValueError", "^on_timeout")
    case(f"on_timeout {bad} of a child", lambda b=bad: of_a_started("result", on_timeout=b), "ValueError", "on_timeo")
case("policy", lambda: start_workflow(flows.nothing, on_parent_close="x"), "ValueError", "^on_parent_close")
case("naive", lambda: sleep_until(datetime(2030, 1, 1)), "ValueError", "aware")
case("no moment", lambda: sleep_until(5), "TypeError", "int")  # type: ignore[arg-type]
case("far", lambda: sleep_until(datetime.max.replace(tzinfo=UTC)), "ValueError", "100 years")
case("nan", lambda: asyncio.sleep(math.nan), "ValueError", "NaN")
case("later", lambda: plain(lambda: asyncio.get_running_loop().call_at(math.nan, print)), "ValueError", "NaN")


async def conflict() -> Any:
    await call_workflow(flows.takes_int, 1, ref="one")
    return await call_workflow(flows.takes_int, 2, ref="one")


async def other_workflow() -> Any:
    await start_workflow(flows.takes_int, 1, ref="two")
    return await call_workflow(flows.echo, 1, ref="two")


case("ref of another input", conflict, "RefConflict", "'one'.*another input")
case("ref of another workflow", other_workflow, "RefConflict", "'two'.*'takes_int', not 'echo'")


@pytest.mark.parametrize("names", [list(BAD)[n::8] for n in range(8)], ids=range(8))
async def test_wrong_calls(bench: Bench, names: list[str]) -> None:
    flows.CASES.update({name: BAD[name][0] for name in names})
    async with bench.worker():
        handles = {name: await bench.durable.start(flows.probe, name) for name in names}
        for name, handle in handles.items():
            kind, said = (await handle.result(timeout=30))[:2]
            assert kind == BAD[name][1], (name, kind, said)
            with pytest.raises(ValueError, match=BAD[name][2]):
                raise ValueError(said)
            assert "kid" in name or all(c.ref in ("kid", "one", "two") for c in await handle.children())
        await bench.alive()


@pytest.mark.parametrize("length", [math.inf, 1e18, 1e300, 3e11], ids=str)
async def test_a_timer_that_never_comes(bench: Bench, length: float) -> None:
    flows.CASES["long"] = lambda: asyncio.sleep(length)
    flows.CASES["patient"] = lambda: asyncio.wait_for(wait_for_event("go"), length)
    async with bench.worker():
        sleeper, waiter = [await bench.durable.start(flows.probe, name) for name in ("long", "patient")]
        for handle in (sleeper, waiter):
            await bench.until_status(handle.id, "parked")
        await bench.durable.send_event(waiter.id, "go", 5)
        assert await waiter.result(timeout=30) == ["", "5"]
        assert bench.server.zcard(bench.keys.timers) == 0
        assert (await sleeper.info()).waiting_for
        assert await sleeper.cancel()
        assert (await bench.outcome(sleeper.id)).status == "cancelled"
        await bench.alive()


OUTSIDE: dict[str, Callable[[], Any]] = {
    "call": lambda: call_workflow(flows.nothing), "start": lambda: start_workflow(flows.nothing),
    "sleep": lambda: sleep(1), "sleep_until": lambda: sleep_until(datetime.now(UTC)),
    "wait": lambda: wait_for_event("e"), "put": lambda: plain(put_context, "k", 1),
    "get": lambda: plain(get_context, "k"), "now": lambda: plain(now), "uuid": lambda: plain(uuid),
    "random": lambda: plain(random), "info": lambda: plain(info), "undo": lambda: plain(compensate, flows.add_one, 1),
    "ask": lambda: wait_for_input("q"), "approve": lambda: wait_for_approval("q"), "say": lambda: plain(progress, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
async def test_outside_of_a_workflow(anyio_backend: str, name: str) -> None:
    with pytest.raises(NotInWorkflow, match=r"durable\.start\(\)"):
        await OUTSIDE[name]()
    said: list[str] = []

    def in_thread() -> None:
        try:
            asyncio.run(OUTSIDE[name]())
        except NotInWorkflow as error:
            said.append(str(error))

    thread = threading.Thread(target=in_thread)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert said


async def test_inside_a_step(bench: Bench) -> None:
    flows.MADE["primitives"] = lambda: None
    elsewhere = OUTSIDE.keys() - {"call", "start"}  # these a step may use

    @step
    async def uses(name: str) -> str:
        with pytest.raises(DeterminismError, match="not in a step") as caught:
            await OUTSIDE[name]()
        return str(caught.value)

    async def each() -> Any:
        return [await uses(name) for name in elsewhere]

    flows.CASES["steps"] = each
    async with bench.worker():
        kind, said = await (await bench.durable.start(flows.probe, "steps")).result(timeout=30)
        assert (kind, said.count("step")) == ("", len(elsewhere)), said


async def test_what_leaks_out_of_a_body(bench: Bench) -> None:
    async def leak() -> None:
        flows.KEPT[:] = [await start_workflow(flows.takes_int, 1, ref="mine"), call_workflow(flows.takes_int, 1)]

    async def use() -> Any:
        await flows.KEPT[0].result()

    async def cancel() -> Any:
        await flows.KEPT[0].cancel()

    flows.CASES.update(leak=leak, use=use, cancel=cancel)
    async with bench.worker():
        await (await bench.durable.start(flows.probe, "leak", id="first")).result(timeout=30)
        for name in ("use", "cancel"):
            kind, said = await (await bench.durable.start(flows.probe, name)).result(timeout=30)
            assert kind == "DeterminismError" and "first/mine" in said and "child.id" in said
        with pytest.raises(NotInWorkflow):
            await flows.KEPT.pop()
        with pytest.raises(NotInWorkflow):
            await flows.KEPT.pop().result()
        await bench.alive()


async def test_a_workflow_called_as_a_function_is_the_function(bench: Bench) -> None:
    flows.CASES["inline"] = lambda: flows.takes_int(3)
    async with bench.worker():
        handle = await bench.durable.start(flows.probe, "inline")
        assert await handle.result(timeout=30) == ["", "3"]
        assert await handle.children() == []


@pytest.mark.parametrize("how", ["returns", "bare"])
async def test_bodies_that_swallow_their_cancel(bench: Bench, how: str) -> None:
    async with bench.worker():
        handle = await bench.durable.start(flows.swallows, how)
        await bench.until_status(handle.id, "parked")
        assert await handle.cancel("enough")
        run = await bench.outcome(handle.id)
        assert (run.status, run.reason, run.output) == ("cancelled", "enough", None)
        await bench.alive()


async def test_a_body_that_ignores_its_cancel_is_cut(bench: Bench) -> None:
    async with bench.open(limits=Limits(cancel_grace=0.1)) as impatient, bench.worker():
        handle = await impatient.start(flows.ignores_for_ever)
        await bench.until_status(handle.id, "parked")
        assert await handle.cancel("enough")
        assert (await bench.outcome(handle.id)).status == "cancelled"
        await bench.alive()


@pytest.mark.slow
async def test_more_calls_than_one_commit_takes(bench: Bench) -> None:
    async def many() -> Any:
        return sum(await asyncio.gather(*(call_workflow(flows.takes_int, n) for n in range(1_001))))

    flows.CASES["many"] = many
    async with bench.worker():
        handle = await bench.durable.start(flows.probe, "many")
        assert await handle.result(timeout=120) == ["", str(1_001 * 1_000 // 2)]


async def test_a_failing_branch_takes_its_siblings_along(bench: Bench) -> None:
    async def fail() -> None:
        await sleep(0.01)
        raise ValueError("inner")

    async def nested() -> Any:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(call_workflow(flows.waits, ref="sibling"))
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail())
                inner.create_task(wait_for_event("never", timeout=timedelta(days=1), timeout_value=RAISE))

    flows.CASES["nested"] = nested
    async with bench.worker():
        handle = await bench.durable.start(flows.probe, "nested", id="p")
        assert (await handle.result(timeout=30))[0] == "ExceptionGroup"
        assert (await bench.outcome("p/sibling")).status == "cancelled"
        await bench.alive()
