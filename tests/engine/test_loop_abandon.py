"""Dropping a run from memory: its code ends without doing anything, and nothing is logged."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from durable_async.engine import ending
from durable_async.engine.loop import Abandoned, DeterministicLoop


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does, nothing may be logged, warned about or printed by a destructor."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with caplog.at_level(logging.DEBUG):
        yield
        gc.collect()
    assert caplog.records == [] and unraisable == []


def started(main: Any) -> DeterministicLoop:
    loop = DeterministicLoop()
    loop.create_task(main)
    loop.run_ready()
    assert loop.tasks
    return loop


def test_pending_coroutines_are_closed_newest_first_and_finally_blocks_run() -> None:
    trace: list[str] = []

    async def branch(n: int) -> None:
        try:
            await asyncio.sleep(1)
        finally:
            trace.append(f"branch {n}")

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(2):
                    group.create_task(branch(n))
        except BaseException as error:
            trace.append(type(error).__name__)
            raise
        finally:
            trace.append("main")

    loop = started(main())
    loop.abandon()
    loop.abandon()
    assert trace == ["branch 1", "branch 0", "Abandoned", "main"]
    assert loop.is_closed() and loop.tasks == [] and loop.next_due() is None
    with pytest.raises(Abandoned):
        loop.run_ready()


def test_awaits_in_finally_blocks_just_end() -> None:
    trace: list[str] = []

    async def cleanup(name: str) -> None:
        trace.append(f"{name} must not run")

    async def main() -> None:
        try:
            try:
                try:
                    await asyncio.sleep(1)
                finally:
                    await asyncio.sleep(1)
                    trace.append("must not get here")
            finally:
                await asyncio.gather(cleanup("gathered"), cleanup("twice"))
                trace.append("must not get here")
        finally:
            task = asyncio.create_task(cleanup("task"))
            asyncio.get_running_loop().call_soon(trace.append, "must not run")
            asyncio.get_running_loop().call_later(1, trace.append, "must not run")
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                group.create_task(cleanup("grouped"))
                await task
            trace.append("must not get here")

    loop = started(main())
    loop.abandon()
    assert trace == []


def test_code_that_swallows_everything_cannot_spin() -> None:
    count = 0

    async def stubborn() -> None:
        nonlocal count
        while True:
            try:
                await asyncio.sleep(1)
            except BaseException:  # the point
                count += 1

    loop, kept = started(stubborn()), len(ending._immortal)
    loop.abandon()
    assert count == ending.MAX_THROWS
    assert len(ending._immortal) == kept + 1  # kept, because freeing it would run it again and print an error


def test_a_process_that_has_kept_such_code_ends() -> None:
    program = """
import asyncio
from durable_async.engine.loop import DeterministicLoop

async def stubborn():
    while True:
        try:
            await asyncio.sleep(1)
        except BaseException:
            pass

loop = DeterministicLoop()
loop.create_task(stubborn())
loop.run_ready()
loop.abandon()
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"", b"")


def test_finally_blocks_run_in_their_own_context_task_and_loop() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[Any] = []

    async def main() -> None:
        token = variable.set("mine")
        try:
            await asyncio.sleep(1)
        finally:
            task = asyncio.current_task()
            seen.extend([variable.get(), asyncio.get_running_loop() is loop, task is not None and task.get_name()])
            variable.reset(token)

    loop = started(main())
    loop.abandon()
    assert seen == ["mine", True, "Task-1"]


def test_futures_resolved_too_late_do_nothing() -> None:
    trace: list[str] = []
    loop = DeterministicLoop()
    future = loop.create_future()

    async def main() -> None:
        await future
        trace.append("must not run")

    loop.create_task(main())
    loop.create_task(main())
    loop.run_ready()
    loop.create_task(main())  # never begun
    loop.abandon()
    future.set_result(None)
    failed = loop.create_future()
    failed.set_exception(ValueError("nobody looks"))
    del failed
    assert trace == []


def test_async_generators_are_closed() -> None:
    trace: list[str] = []

    async def numbers(name: str) -> Any:
        try:
            try:
                yield 1
                await asyncio.sleep(10)
            finally:
                trace.append(f"sync {name}")
                await asyncio.sleep(1)
                trace.append("must not get here")
        finally:
            trace.append(f"outer {name}")

    async def main() -> None:
        kept.append(numbers("kept"))
        await anext(kept[0])
        async for _ in numbers("iterated"):
            pass

    kept: list[Any] = []
    loop = started(main())
    loop.abandon()
    assert trace == ["sync iterated", "outer iterated", "sync kept", "outer kept"]


def test_anyio_scopes_and_groups_are_left() -> None:
    trace: list[str] = []

    async def child() -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.sleep(10)
            finally:
                trace.append("child")
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)

    async def main() -> None:
        try:
            with anyio.move_on_after(100):
                async with anyio.create_task_group() as group:
                    group.start_soon(child)
                    group.start_soon(child)
        finally:
            trace.append("main")

    loop = started(main())
    loop.abandon()
    assert trace == ["child", "child", "main"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_finally_block_is_raised_when_everything_is_closed(error: type[BaseException]) -> None:
    trace: list[int] = []

    async def interrupting(n: int) -> None:
        try:
            await asyncio.sleep(1)
        finally:
            trace.append(n)
            raise error

    loop = started(interrupting(0))
    loop.create_task(interrupting(1))
    loop.run_ready()
    with pytest.raises(error):
        loop.abandon()
    assert trace == [1, 0] and loop.is_closed()


def test_an_error_in_a_finally_block_is_dropped() -> None:
    async def main() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            raise ValueError("clean-up failed")

    started(main()).abandon()


def test_memory_is_free_at_once() -> None:
    class Thing:
        pass

    async def waits(thing: Thing, other: asyncio.Future[None]) -> None:
        await other

    gc.disable()
    try:
        loop = DeterministicLoop()
        things = [Thing(), Thing()]
        task = loop.create_task(waits(things[0], loop.create_future()))
        loop.create_task(waits(things[1], task))
        loop.run_ready()
        gone = [weakref.ref(x) for x in (*things, task, loop)]
        del things, task
        loop.abandon()
        del loop
        assert [ref() for ref in gone] == [None] * 4
    finally:
        gc.enable()
