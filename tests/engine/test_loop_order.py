"""Sets of tasks, scopes and coroutines are visited in the same order in every process."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from durable_async.engine.loop import DeterministicLoop
from durable_async.engine.ordering import OrderedSet

PROCESSES = 20


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


async def asyncio_races(note: Callable[[Any], None]) -> None:
    """Everything in asyncio that loops over a set."""

    async def named(n: int) -> int:
        try:
            await asyncio.sleep(n % 5)
            note(f"slept {n}")
            return n
        except asyncio.CancelledError:
            note(f"cancelled {n}")
            raise

    async def failing() -> None:
        await asyncio.sleep(2)
        raise ValueError

    pending = {asyncio.create_task(named(n)) for n in range(50)}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        note([task.result() for task in done])
        note([task.get_name() for task in pending])
    for first in asyncio.as_completed([named(n) for n in range(50)]):
        note(await first)
    groups = [asyncio.gather(named(n), named(n)) for n in range(20)]
    done_groups, _ = await asyncio.wait(groups)
    note([future.result() for future in done_groups])
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(named(n))
            group.create_task(failing())
    except ExceptionGroup:
        note("group failed")
    kept = [asyncio.create_task(named(n + 3)) for n in range(20)]
    note([task.get_name() for task in asyncio.all_tasks()])
    for task in set(kept):
        task.cancel()
    await asyncio.wait(kept)


async def anyio_races(note: Callable[[Any], None]) -> None:
    """Everything in anyio that loops over a set."""

    async def nested(n: int) -> None:
        with anyio.CancelScope(), anyio.move_on_after(1000):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep, 100 + n)
                    await anyio.sleep_forever()
            finally:
                note(f"left {n}")

    async def receiver(n: int, stream: Any) -> None:
        try:
            await stream.receive()
        except anyio.ClosedResourceError:
            note(f"closed {n}")

    async with anyio.create_task_group() as group:
        for n in range(40):
            group.start_soon(nested, n)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    send, receive = anyio.create_memory_object_stream[int]()
    with send:
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(receiver, n, receive)
            await anyio.sleep(1)
            receive.close()


def traces(seed: int = 0) -> list[str]:
    random.seed(seed)
    # Junk first, so that addresses differ from one process to the next.
    junk: list[Any] = [bytearray(random.randrange(1, 5000)) for _ in range(random.randrange(1, 5000))]
    random.shuffle(junk)
    del junk[:: random.randrange(1, 5)]
    trace: list[str] = []

    def note(what: Any) -> None:
        junk.append([object()] * random.randrange(40))
        trace.append(repr(what))

    for program in (asyncio_races, anyio_races):
        run(program(note))
    return trace


@pytest.mark.slow
def test_the_same_trace_in_every_process() -> None:
    here = os.path.dirname(os.path.abspath(__file__))

    def trace_of(n: int) -> str:
        code = f"import test_loop_order as t; print('\\n'.join(t.traces({n})))"
        environment = {**os.environ, "PYTHONHASHSEED": str(n), "PYTHONPATH": os.pathsep.join([here, *sys.path])}
        return subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
        ).stdout

    seen: dict[str, list[int]] = {}
    with ThreadPoolExecutor(4) as pool:
        for n, output in enumerate(pool.map(trace_of, range(PROCESSES))):
            seen.setdefault(output, []).append(n)
    assert len(seen) == 1, f"processes differ: {list(seen.values())}"
    assert len(next(iter(seen)).splitlines()) > 200


def test_the_seed_does_not_change_the_order() -> None:
    def order(seed: int) -> list[str]:
        loop = DeterministicLoop(seed=seed)
        out: list[str] = []

        async def nothing() -> None:
            loop.create_future()

        async def main() -> None:
            tasks = {asyncio.create_task(nothing(), name=str(n)) for n in range(200)}
            out.extend(task.get_name() for task in tasks)
            for name in out[::3]:
                tasks -= {task for task in tasks if task.get_name() == name}
            out.extend(task.get_name() for task in tasks)

        loop.create_task(main())
        loop.run_ready()
        loop.close()
        return out

    assert order(0) == order(1) == order(0xFFFFF) == order(2**64 + 12345)


def test_coroutines_start_in_the_order_given() -> None:
    async def main() -> list[int]:
        started: list[int] = []

        async def begin(n: int) -> None:
            started.append(n)

        for first in asyncio.as_completed([begin(n) for n in range(100)]):
            await first
        return started

    assert run(main()) == list(range(100))


def test_other_loops_keep_their_sets() -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        done, pending = await asyncio.wait(tasks + tasks)
        assert done == set(tasks) and pending == set()
        outer = asyncio.gather(asyncio.sleep(0))
        assert hash(outer) == object.__hash__(outer)
        await outer
        with pytest.raises(TypeError, match="coroutines is forbidden"):
            await asyncio.wait([coroutine := asyncio.sleep(0)])  # type: ignore[type-var]  # the point
        coroutine.close()
        with anyio.CancelScope() as scope:  # noqa: ASYNC100  # only looked at
            assert type(scope._child_scopes) is set  # type: ignore[attr-defined]  # a private detail is amended

    DeterministicLoop()  # amends asyncio and anyio
    asyncio.run(main())


def test_coroutines_are_still_refused_by_wait() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="coroutines is forbidden"):
            await asyncio.wait([coroutine := asyncio.sleep(0)])  # type: ignore[type-var]  # the point
        coroutine.close()

    run(main())


def test_a_hash_does_not_change_between_loops() -> None:
    async def main() -> tuple[Any, int]:
        future = asyncio.gather(asyncio.sleep(0))
        number = hash(future)
        await future
        return future, number

    future, number = run(main())
    assert hash(future) == number


def test_ordered_set() -> None:
    items = OrderedSet()
    for n in (3, 1, 2, 3):
        items.add(n)
    items.remove(1)
    items.discard(7)
    assert list(items) == [3, 2] and 3 in items and bool(items)
    with pytest.raises(KeyError):
        items.remove(1)
