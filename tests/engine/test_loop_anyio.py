"""anyio on the deterministic loop, and its repeated cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from durable_async.engine import redelivery
from durable_async.engine.loop import DeterministicLoop
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


def test_task_groups_scopes_and_timeouts() -> None:
    async def main() -> list[Any]:
        out: list[Any] = []

        async def child(n: int, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
            task_status.started(n)
            await anyio.sleep(n)
            out.append(n)

        async def failing_group() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                await anyio.sleep(1)
                raise ValueError

        async with anyio.create_task_group() as group:
            out.append(("started", await group.start(child, 2)))
            group.start_soon(child, 1)
        with anyio.move_on_after(5) as scope:
            await anyio.sleep(10)
        out.append((scope.cancelled_caught, anyio.current_time()))
        with pytest.raises(TimeoutError):
            with anyio.fail_after(1):
                await anyio.sleep_forever()
        with pytest.raises(ExceptionGroup):
            await failing_group()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return out

    assert run(main()) == [("started", 2), 1, 2, (True, 7.0)]


def test_synchronisation_and_streams() -> None:
    async def main() -> list[Any]:
        out: list[Any] = []
        limiter, lock, semaphore = anyio.CapacityLimiter(2), anyio.Lock(), anyio.Semaphore(1)
        event, condition = anyio.Event(), anyio.Condition()
        send, receive = anyio.create_memory_object_stream[int](1)

        async def worker(n: int) -> None:
            async with limiter, lock, semaphore:
                await anyio.sleep(1)
            await event.wait()
            async with condition:
                await condition.wait()
            async with send.clone() as sender:
                await sender.send(n)

        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(worker, n)
            await anyio.sleep(10)
            event.set()
            await anyio.sleep(1)
            async with condition:
                condition.notify_all()
            await anyio.sleep(1)
            send.close()
            async with receive:
                out.extend([item async for item in receive])
        return out

    assert run(main()) == [0, 1, 2]


def test_threads_and_sockets_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(DeterminismError):
            await anyio.to_thread.run_sync(print)
        with pytest.raises(ExceptionGroup) as caught:  # anyio connects in a task group of its own
            await anyio.connect_tcp("127.0.0.1", 1)
        assert isinstance(caught.value.exceptions[0], DeterminismError)
        with pytest.raises(DeterminismError):
            await anyio.run_process(["true"])

    run(main())


class Feeder:
    """A body on a loop, and a future that plays the durable part."""

    def __init__(self, body: Callable[[Feeder], Awaitable[None]]) -> None:
        self.trace: list[str] = []
        self.loop = DeterministicLoop()
        self.future = self.loop.create_future()
        self.body = self.loop.create_task(body(self))  # type: ignore[arg-type]  # an async function all the same
        self.loop.run_ready()

    async def wait(self, name: str) -> None:
        self.trace.append(f"{name} waits")
        try:
            await asyncio.shield(self.future)
        except asyncio.CancelledError:
            self.trace.append(f"{name} cancelled")
            raise
        self.trace.append(f"{name} fed")

    def feed(self) -> None:
        self.future.set_result(None)
        self.future = self.loop.create_future()
        self.loop.run_ready()


def test_a_shielded_scope_waits_for_the_outside_after_the_outer_scope_was_cancelled() -> None:
    async def body(feeder: Feeder) -> None:
        with anyio.CancelScope() as outer:
            try:
                outer.cancel()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await feeder.wait("clean-up")
                await feeder.wait("unshielded")
        feeder.trace.append("left")

    feeder = Feeder(body)
    assert feeder.trace == ["clean-up waits"] and feeder.loop.is_quiescent
    feeder.loop.run_ready()
    feeder.feed()
    assert feeder.trace == ["clean-up waits", "clean-up fed", "unshielded waits", "unshielded cancelled", "left"]
    feeder.body.result()


async def stuck_in_a_cancelled_scope(feeder: Feeder) -> None:
    """An asyncio TaskGroup swallows every further cancellation while its child cleans up."""

    async def child() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await feeder.wait("first")
            await feeder.wait("second")

    with anyio.CancelScope() as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(0)
            scope.cancel()
    feeder.trace.append("left")


def test_a_body_comes_to_rest_while_anyio_cancels_over_and_over() -> None:
    feeder = Feeder(stuck_in_a_cancelled_scope)
    assert feeder.trace == ["first waits"] and feeder.loop.is_quiescent
    feeder.loop.run_ready()
    assert feeder.loop.is_quiescent
    feeder.feed()
    assert feeder.trace == ["first waits", "first fed", "second waits"] and feeder.loop.is_quiescent
    feeder.feed()
    assert feeder.trace[-2:] == ["second fed", "left"]
    feeder.body.result()
    feeder.loop.close()


def test_needless_steps_change_nothing() -> None:
    """A replay may step the loop more often than the first run did, or less."""

    def callbacks(steps: int) -> int:
        feeder = Feeder(stuck_in_a_cancelled_scope)
        for _ in range(steps):
            feeder.loop.run_ready()
        feeder.feed()
        for _ in range(steps):
            feeder.loop.run_ready()
        feeder.feed()
        feeder.body.result()
        return feeder.loop._number - feeder.loop._base

    assert callbacks(0) == callbacks(5)


def test_cancellation_is_delivered_again_at_each_await_as_anyio_promises() -> None:
    async def body(feeder: Feeder) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            for n in range(50):
                with contextlib.suppress(asyncio.CancelledError):
                    await feeder.wait(str(n))

    feeder = Feeder(body)
    assert feeder.body.done() and len(feeder.trace) == 100


def test_a_scope_that_lost_patience_delivers_once_more_when_all_else_is_at_rest() -> None:
    async def body(feeder: Feeder) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            for _ in range(redelivery.PATIENCE * 3):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            await feeder.wait("late")

    feeder = Feeder(body)
    assert feeder.trace == ["late waits", "late cancelled"] and feeder.body.done()


def test_two_scopes_that_spin_at_once() -> None:
    async def body(feeder: Feeder) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(stuck_in_a_cancelled_scope(feeder))
            group.create_task(stuck_in_a_cancelled_scope(feeder))

    feeder = Feeder(body)
    assert feeder.trace == ["first waits"] * 2
    feeder.feed()
    feeder.feed()
    assert feeder.trace.count("left") == 2 and feeder.body.done()


def test_many_cancelled_scopes_one_after_the_other_each_have_their_own_patience() -> None:
    async def body(feeder: Feeder) -> None:
        never = anyio.Event()
        for _ in range(redelivery.PATIENCE * 4):
            with anyio.move_on_after(0):
                await never.wait()
        feeder.trace.append("done")

    assert Feeder(body).trace == ["done"]
