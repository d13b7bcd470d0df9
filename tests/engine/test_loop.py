"""The deterministic loop: stepping, what of asyncio works on it, what it refuses."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from durable_async.engine.loop import Abandoned, DeterministicLoop
from durable_async.engine.no_io import IO_METHODS
from durable_async.errors import DeterminismError


def run(main: Coroutine[Any, Any, Any], *, until: float = 0.0) -> Any:
    """Run a body to its end on a loop of its own, then what `asyncio.run` does."""
    loop = DeterministicLoop()
    body = loop.create_task(main)
    loop.run_ready()
    if until:
        loop.advance(until)
    assert body.done(), loop.tasks
    ending = loop.create_task(loop.wind_up())
    loop.run_ready()
    assert ending.done()
    loop.close()
    assert not loop.errors
    return body.result()


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


# --- asyncio works ---


def test_gather_task_group_wait_and_friends() -> None:
    async def main() -> list[Any]:
        out: list[Any] = [await asyncio.gather(returns(1, 3), returns(2, 1), returns(3))]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(returns(n, 5 - n)) for n in range(3)]
        out.append([task.result() for task in tasks])
        races = [asyncio.create_task(returns(n, n)) for n in (3, 1, 2)]
        done, pending = await asyncio.wait(races, return_when=asyncio.FIRST_COMPLETED)
        out.append(([t.result() for t in done], len(pending)))
        done, pending = await asyncio.wait(pending, timeout=1)
        out.append((len(done), len(pending)))
        out.append([await f for f in asyncio.as_completed([returns(n, n) for n in (3, 1, 2)])])
        out.append(await asyncio.shield(returns("shielded", 1)))
        out.append(await asyncio.gather(returns(1), fails(), return_exceptions=True))
        return out

    out = run(main(), until=100)
    assert out[:4] == [[1, 2, 3], [0, 1, 2], ([1], 2), (1, 1)]
    assert out[4:6] == [[1, 2, 3], "shielded"]
    assert out[6][0] == 1 and isinstance(out[6][1], ValueError)


def test_timeouts() -> None:
    async def main() -> list[str]:
        out = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 1)
        out.append("wait_for")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        out.append("timeout")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + 1):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 0)
        async with asyncio.timeout(1) as scope:
            scope.reschedule(asyncio.get_running_loop().time() + 60)
            await asyncio.sleep(30)
        return out

    assert run(main(), until=100) == ["wait_for", "timeout"]


def test_a_failing_branch_of_a_task_group_cancels_the_others() -> None:
    trace: list[str] = []

    async def branch(n: int) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            trace.append(f"cancelled {n}")
            await asyncio.sleep(1)
            trace.append(f"cleaned {n}")
            raise

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(branch(n))
                group.create_task(fails(1))
        assert [type(e) for e in caught.value.exceptions] == [ValueError]

    run(main(), until=20)
    assert trace == [f"cancelled {n}" for n in range(3)] + [f"cleaned {n}" for n in range(3)]


def test_synchronisation() -> None:
    async def main() -> list[Any]:
        out: list[Any] = []
        lock, semaphore, event = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event()
        condition, barrier = asyncio.Condition(), asyncio.Barrier(3)
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

        async def worker(n: int) -> None:
            async with semaphore, lock:
                await asyncio.sleep(1)
                out.append(n)
            await barrier.wait()
            await event.wait()
            async with condition:
                await condition.wait_for(lambda: len(out) >= 4)
            await queue.put(n)

        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(worker(n))
            await asyncio.sleep(5)
            event.set()
            await asyncio.sleep(0)
            async with condition:
                out.append("notified")
                condition.notify_all()
            out.append([await queue.get() for _ in range(3)])
        return out

    assert run(main(), until=100) == [0, 1, 2, "notified", [2, 0, 1]]  # the last at a barrier goes on first


def test_names_contexts_and_futures() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

    async def show() -> str:
        return variable.get()

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        variable.set("body")
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        first, second = asyncio.create_task(show()), asyncio.create_task(show(), context=context, name="named")
        future = loop.create_future()
        future.add_done_callback(lambda f: variable.set("in a callback"))
        loop.call_soon(future.set_result, "set")
        bare: asyncio.Future[str] = asyncio.Future()
        bare.set_result("bare")
        assert isinstance(first, asyncio.Task) and asyncio.isfuture(future) and loop.is_running()
        names = [first.get_name(), second.get_name()]
        assert names[0].startswith("Task-")
        return [names[1], await first, await second, await future, await bare, variable.get()]

    out = run(main())
    assert out == ["named", "body", "given", "set", "bare", "body"]
    assert variable.get() == "outside"


def test_unfinished_tasks_are_kept_alive() -> None:
    loop = DeterministicLoop()
    trace: list[str] = []

    async def lonely() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        asyncio.create_task(lonely()).add_done_callback(lambda t: trace.append("ended"))  # noqa: RUF006  # the point

    loop.create_task(main())
    loop.run_ready()
    gc.collect()
    assert len(loop.tasks) == 1 and trace == []
    loop.abandon()


def test_finished_tasks_are_let_go() -> None:
    async def main() -> None:
        for _ in range(1000):
            await asyncio.create_task(returns(1))

    loop = DeterministicLoop()
    loop.create_task(main())
    loop.run_ready()
    assert len(loop._tasks) <= 65


def test_winding_up_cancels_what_the_body_left_in_order_of_creation() -> None:
    trace: list[Any] = []

    async def left(n: int) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            trace.append(n)
            await asyncio.sleep(0)
            if n == 1:
                asyncio.create_task(left(9))  # noqa: RUF006  # the point
            trace.append(n)

    async def main() -> str:
        for n in range(3):
            asyncio.create_task(left(n))  # noqa: RUF006  # the point
        await asyncio.sleep(0)
        return "done"

    assert run(main()) == "done"
    assert trace == [0, 1, 2, 0, 1, 2, 9, 9]


# --- async generators ---


def test_async_generators_dropped_half_way_are_closed() -> None:
    trace: list[str] = []

    async def numbers(name: str) -> Any:
        try:
            for n in range(10):
                yield n
        finally:
            await asyncio.sleep(0)
            trace.append(f"closed {name}")

    async def main() -> None:
        async for _ in numbers("dropped"):
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        trace.append("body goes on")
        main.kept = numbers("kept")  # type: ignore[attr-defined]  # outlives the body
        await anext(main.kept)  # type: ignore[attr-defined]  # outlives the body

    run(main())
    assert trace == ["closed dropped", "body goes on", "closed kept"]


def test_an_async_generator_in_a_cycle_is_closed_at_the_end_whenever_it_is_collected() -> None:
    def program(collect: bool) -> list[str]:
        trace: list[str] = []

        async def numbers() -> Any:
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                trace.append("closed")

        async def main() -> None:
            cycle: list[Any] = [numbers()]
            cycle.append(cycle)
            await anext(cycle[0])
            del cycle
            if collect:
                gc.collect()
            await asyncio.sleep(1)
            trace.append("body ends")

        run(main(), until=2)
        return trace

    gc.disable()
    try:
        assert program(True) == program(False) == ["body ends", "closed"]
    finally:
        gc.enable()


# --- refusals ---


@pytest.mark.parametrize("name", IO_METHODS)
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
