"""What of asyncio works on the deterministic loop: all that needs no I/O."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from durable_async.engine.loop import DeterministicLoop


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a body to its end, letting time pass whenever nothing else can happen; then end as asyncio.run does."""
    loop = DeterministicLoop()
    body = loop.create_task(main)
    loop.run_ready()
    while not body.done() and (due := loop.next_due()) is not None:
        loop.advance(due)
    ending = loop.create_task(loop.wind_up())
    loop.run_ready()
    assert ending.done()
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

    out = run(main())
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

    assert run(main()) == ["wait_for", "timeout"]


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

    async def branches() -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(branch(n))
            group.create_task(fails(1))

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await branches()
        assert [type(e) for e in caught.value.exceptions] == [ValueError]

    run(main())
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

    assert run(main()) == [0, 1, 2, "notified", [2, 0, 1]]  # the last at a barrier goes on first


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
        asyncio.create_task(lonely()).add_done_callback(lambda t: trace.append("ended"))  # the point

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

        run(main())
        return trace

    gc.disable()
    try:
        assert program(True) == program(False) == ["body ends", "closed"]
    finally:
        gc.enable()
