"""The deterministic loop: stepping, time, errors and refusals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from durable_async.engine.loop import Abandoned, DeterministicLoop
from durable_async.engine.no_io import NoIOLoop, Refused
from durable_async.errors import DeterminismError


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a body to its end, letting time pass whenever nothing else can happen."""
    loop = DeterministicLoop()
    body = loop.create_task(main)
    loop.run_ready()
    while not body.done() and (due := loop.next_due()) is not None:
        loop.advance(due)
    try:
        return body.result()
    finally:
        loop.close()
        assert not loop.errors


async def returns(value: Any, after: float = 0.0) -> Any:
    await asyncio.sleep(after)
    return value


async def fails(after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise ValueError("failed")


# --- stepping ---


def test_a_body_runs_until_it_waits_and_goes_on_when_fed() -> None:
    loop = DeterministicLoop()
    future = loop.create_future()
    trace: list[str] = []

    async def main() -> str:
        trace.append("begins")
        value: str = await future
        trace.append(value)
        return value * 2

    body = loop.create_task(main())
    assert trace == []
    loop.run_ready()
    assert trace == ["begins"] and loop.is_quiescent and not body.done()
    future.set_result("fed")
    assert trace == ["begins"] and not loop.is_quiescent
    loop.run_ready()
    assert body.result() == "fedfed"
    assert loop.tasks == []


def test_callbacks_run_in_the_order_in_which_they_became_ready() -> None:
    loop = DeterministicLoop()
    trace: list[int] = []
    loop.call_soon(trace.append, 1)
    loop.call_soon(trace.append, 2).cancel()
    loop.call_soon(lambda: loop.call_soon(trace.append, 4))
    loop.call_soon(trace.append, 3)
    loop.run_ready()
    assert trace == [1, 3, 4]


def test_the_running_loop_is_swapped_and_put_back_also_when_stepped_inside_a_task() -> None:
    async def outer() -> None:
        loop = DeterministicLoop()
        here, me = asyncio.get_running_loop(), asyncio.current_task()

        async def main() -> None:
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is body
            assert asyncio.all_tasks() == {body}
            await asyncio.sleep(0)

        body = loop.create_task(main())
        loop.run_ready()
        body.result()
        assert asyncio.get_running_loop() is here and asyncio.current_task() is me
        loop.close()

    asyncio.run(outer())


def test_stepping_from_a_plain_callback_of_the_outer_loop() -> None:
    async def outer() -> Any:
        loop = DeterministicLoop()
        body = loop.create_task(returns("done"))
        asyncio.get_running_loop().call_soon(loop.run_ready)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return body.result()

    assert asyncio.run(outer()) == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_at_once_and_the_outer_loop_is_restored(error: type[BaseException]) -> None:
    loop = DeterministicLoop()

    def interrupt() -> None:
        raise error

    loop.call_soon(interrupt)
    trace: list[str] = []
    loop.call_soon(trace.append, "later")
    with pytest.raises(error):
        loop.run_ready()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert trace == [] and not loop.is_running()
    loop.run_ready()
    assert trace == ["later"]


def test_errors_of_callbacks_are_kept_and_reported_and_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop = DeterministicLoop()
    trace: list[str] = []

    def broken() -> None:
        raise ValueError("broken callback")

    loop.call_soon(broken)
    loop.call_soon(trace.append, "next")
    loop.run_ready()
    assert [str(e) for e in loop.errors] == ["broken callback"] and trace == ["next"]
    assert "broken callback" in caplog.text


def test_an_exception_nobody_retrieved_is_reported_to_the_handler() -> None:
    loop = DeterministicLoop()
    seen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    loop.create_task(fails())
    loop.run_ready()
    loop.close()
    assert [type(context["exception"]) for context in seen] == [ValueError]


def test_a_body_that_never_rests_is_refused() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop = DeterministicLoop(max_callbacks=1000)
    loop.create_task(spin())
    with pytest.raises(DeterminismError, match="did not come to rest within 1,000 callbacks"):
        loop.run_ready()
    loop.abandon()


def test_a_loop_cannot_be_stepped_from_inside_itself() -> None:
    loop = DeterministicLoop()

    async def main() -> None:
        loop.call_soon(print)
        with pytest.raises(RuntimeError, match="already being stepped"):
            loop.run_ready()
        with pytest.raises(RuntimeError, match="abandoned by what runs on it"):
            loop.abandon()

    body = loop.create_task(main())
    loop.run_ready()
    body.result()
    loop.close()


# --- time ---


def test_time_moves_only_when_told_and_timers_fire_in_order_at_their_own_time() -> None:
    loop = DeterministicLoop(100.0)
    trace: list[tuple[str, float]] = []

    async def sleeper(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        trace.append((name, loop.time()))
        await asyncio.sleep(0)
        trace.append((name + "'", loop.time()))

    for name, delay in [("c", 3), ("a", 1), ("b", 2), ("b2", 2)]:
        loop.create_task(sleeper(name, delay))
    loop.run_ready()
    assert trace == [] and loop.next_due() == 101.0
    loop.advance(100.5)
    assert trace == [] and loop.time() == 100.5
    loop.advance(102.5)
    assert trace == [("a", 101), ("a'", 101), ("b", 102), ("b'", 102), ("b2", 102), ("b2'", 102)]
    assert loop.time() == 102.5 and loop.next_due() == 103.0
    loop.advance(50.0)
    assert loop.time() == 102.5
    loop.advance(103.0)
    assert loop.next_due() is None and trace[-1] == ("c'", 103)


def test_a_timer_set_by_a_timer_fires_in_the_same_advance() -> None:
    loop = DeterministicLoop()
    trace: list[float] = []

    async def main() -> None:
        for _ in range(3):
            await asyncio.sleep(10)
            trace.append(loop.time())

    loop.create_task(main())
    loop.run_ready()
    loop.advance(25)
    assert trace == [10, 20]
    loop.abandon()


def test_a_timer_that_is_not_in_the_future_is_ready_at_once() -> None:
    loop = DeterministicLoop(5.0)
    trace: list[str] = []
    timer = loop.call_later(0, trace.append, "now")
    loop.call_at(4.0, trace.append, "past")
    assert timer.when() == 5.0 and loop.next_due() is None
    loop.run_ready()
    assert trace == ["now", "past"]


def test_cancelled_timers_are_not_due_and_do_not_pile_up() -> None:
    loop = DeterministicLoop()
    keep = loop.call_later(9, print)
    for n in range(1, 5000):
        loop.call_later(n / 1000, print).cancel()
    assert loop.next_due() == 9 and len(loop._timers) < 200
    keep.cancel()
    keep.cancel()
    assert keep.cancelled() and loop.next_due() is None


# --- refusals ---


@pytest.mark.parametrize("name", [name for name, value in vars(NoIOLoop).items() if isinstance(value, Refused)])
def test_io_methods_refuse_by_name(name: str) -> None:
    with pytest.raises(DeterminismError, match=rf"loop\.{name}\(\).*move it into a @step"):
        getattr(DeterministicLoop(), name)(None)


def test_every_method_of_an_event_loop_is_implemented_or_refused() -> None:
    inherited = {
        name
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if callable(value) and getattr(DeterministicLoop, name) is value and not name.startswith("__")
    }
    assert inherited == set()


def test_io_through_asyncio_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(DeterminismError, match="create_connection"):
            await asyncio.open_connection("localhost", 1)
        with pytest.raises(DeterminismError, match="run_in_executor"):
            await asyncio.to_thread(print)
        with pytest.raises(DeterminismError, match="subprocess_exec"):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(DeterminismError, match="task factory"):
            asyncio.get_running_loop().set_task_factory(asyncio.Task)  # type: ignore[arg-type]  # refused anyway

    run(main())


def test_calls_from_another_thread_are_refused() -> None:
    loop = DeterministicLoop()
    trace: list[str] = []
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except DeterminismError as error:
            caught.append(error)

    loop.call_soon_threadsafe(trace.append, "here")
    loop.run_ready()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert trace == ["here"] and "another thread" in str(caught[0])


def test_a_closed_loop_cannot_be_stepped() -> None:
    loop = DeterministicLoop()
    loop.close()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(Abandoned):
        loop.run_ready()
    with pytest.raises(Abandoned):
        loop.advance(1)


def test_a_loop_that_rests_goes_on_as_if_it_had_not() -> None:
    trace: list[str] = []

    async def main() -> None:
        await asyncio.sleep(1)
        trace.append("timer")
        await future
        trace.append("future")

    loop = DeterministicLoop()
    future = loop.create_future()
    loop.create_task(main())
    loop.rest()  # not while something is ready
    loop.run_ready()
    loop.rest()
    loop.run_ready()
    loop.advance(2)
    loop.rest()
    assert loop.is_quiescent and trace == ["timer"]
    future.set_result(None)
    loop.run_ready()
    loop.rest()
    loop.call_at(0, trace.append, "late")
    loop.run_ready()
    loop.rest()
    loop.freeze()
    loop.abandon()
    loop.rest()
    loop.call_soon(trace.append, "never")
    assert trace == ["timer", "future", "late"]
