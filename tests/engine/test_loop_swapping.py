"""What stepping a loop from within another one leaves behind: nothing that the other one, or its generators, notice."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncGenerator

import pytest

from durable_async.engine.asyncgens import _owners
from durable_async.engine.loop import DeterministicLoop
from durable_async.engine.swapping import STEPPED
from durable_async.workflow.current import find_run


async def numbers(said: list[str], name: str) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        loop = asyncio.get_running_loop()
        said.append(f"{name} in {type(loop).__name__}")


async def first_of(said: list[str], name: str, kept: list[AsyncGenerator[int, None]]) -> None:
    kept.append(numbers(said, name))
    assert await anext(kept[0]) == 1
    await asyncio.get_running_loop().create_future()


def stepped(said: list[str], name: str, kept: list[AsyncGenerator[int, None]]) -> DeterministicLoop:
    loop = DeterministicLoop()
    loop.create_task(first_of(said, name, kept))
    loop.run_ready()
    return loop


def test_generators_of_the_outer_loop_stay_its_own() -> None:
    said: list[str] = []
    outer_kept: list[object] = []

    async def main() -> None:
        loop = stepped(said, "inner", [])
        generator = numbers(said, "outer")  # after a loop of ours has been stepped
        outer_kept.append(generator)
        await anext(generator)
        dropped = numbers(said, "dropped")
        await anext(dropped)
        del dropped
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert said == [f"dropped in {type(asyncio.get_running_loop()).__name__}"]
        said.clear()
        loop.abandon()
        assert said == ["inner in DeterministicLoop"]
        said.clear()

    before = sys.get_asyncgen_hooks()
    asyncio.run(main())  # which closes what is unfinished
    assert len(said) == 1 and said[0].startswith("outer in ") and "Deterministic" not in said[0]
    assert sys.get_asyncgen_hooks() == before


def test_a_generator_freed_while_its_loop_rests_is_closed_by_its_own_loop() -> None:
    said: list[str] = []

    async def main() -> None:
        kept: list[AsyncGenerator[int, None]] = []
        loop = stepped(said, "inner", kept)
        other = stepped(said, "other", [])
        kept.clear()
        await asyncio.sleep(0)
        assert said == []
        loop.abandon()
        await asyncio.sleep(0)
        assert said == ["inner in DeterministicLoop"]
        other.abandon()

    asyncio.run(main())
    assert said == ["inner in DeterministicLoop", "other in DeterministicLoop"]


def test_no_registry_grows_with_generators_that_have_ended() -> None:
    async def all_of() -> None:
        for _ in range(1_000):
            async for _number in numbers([], "ended"):
                pass

    async def main() -> None:
        loop = DeterministicLoop()
        loop.create_task(all_of())
        loop.run_ready()
        assert len(_owners) <= 200
        loop.create_task(loop.wind_up())
        loop.run_ready()
        loop.abandon()

    gc.collect()
    before = len(_owners)
    asyncio.run(main())
    assert len(_owners) == before


def test_hooks_and_running_loop_are_put_back_without_an_outer_loop() -> None:
    before = sys.get_asyncgen_hooks()
    loop = stepped([], "inner", [])
    assert sys.get_asyncgen_hooks() == before and not STEPPED
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    loop.abandon()


def test_a_loop_that_has_stopped_does_not_become_the_running_one() -> None:
    async def make() -> DeterministicLoop:
        loop = DeterministicLoop(around=asyncio.get_running_loop())
        loop.create_task(asyncio.sleep(1))
        loop.run_ready()
        return loop

    loop = asyncio.run(make())
    loop.advance(2)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    loop.abandon()


def test_each_thread_has_a_loop_of_its_own_to_step() -> None:
    found: list[object] = []

    async def look() -> None:
        def ask() -> None:
            found.append(find_run())

        thread = threading.Thread(target=ask)
        with_thread.append(thread)
        found.append(find_run())

    with_thread: list[threading.Thread] = []
    loop, owner = DeterministicLoop(), object()
    loop.owner = owner
    loop.create_task(look())
    loop.run_ready()
    with_thread[0].start()
    with_thread[0].join()
    assert found == [owner, None] and find_run() is None
    loop.abandon()


def test_a_loop_stepped_within_another_one_gives_way_to_it() -> None:
    seen: list[object] = []

    async def inner() -> None:
        seen.append(asyncio.get_running_loop())

    async def outer() -> None:
        within = DeterministicLoop()
        within.create_task(inner())
        # A callback, as a task may not be entered while another one of the same thread runs on later Pythons.
        asyncio.get_running_loop().call_soon(within.run_ready)
        await asyncio.sleep(0)
        seen.append(asyncio.get_running_loop())
        seen.append(STEPPED[threading.get_ident()])
        within.abandon()

    loop = DeterministicLoop()
    loop.create_task(outer())
    loop.run_ready()
    assert len(seen) == 3 and seen[0] is not loop and seen[1] is loop and seen[2] is loop
    loop.abandon()
