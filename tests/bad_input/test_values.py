"""Values at and beyond the limits, results and exceptions of every unfriendly kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durable_async import Limits, NotSerializable, PayloadTooLarge, RunFailed

from . import flows
from .bench import Bench

LIMIT = 10_000
HEAD = 3
"""Bytes of msgpack before so many bytes."""


def of_size(size: int) -> bytes:
    return b"x" * (size - HEAD)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_sizes_at_the_limit(bench: Bench, over: int) -> None:
    size, limits = LIMIT + over, Limits(payload=LIMIT)
    flows.MADE["sized"] = lambda: of_size(size)
    async with bench.open(limits=limits) as durable, bench.worker(limits):
        if over > 0:
            with pytest.raises(PayloadTooLarge, match=r"^input"):
                await durable.start(flows.takes_any, of_size(size), id="r")
        else:
            await (await durable.start(flows.takes_any, of_size(size), id="r")).result(timeout=30)

        receiver = await durable.start(flows.receives)
        if over > 0:
            with pytest.raises(PayloadTooLarge, match=r"^payload"):
                await receiver.send_event("data", of_size(size))
            await receiver.cancel()
        else:
            await receiver.send_event("data", of_size(size))
            assert await receiver.result(timeout=30) == size - HEAD

        for handle in (
            await durable.start(flows.returns, "sized"),
            await durable.start(flows.runs_step, ["makes", "sized"]),
            await durable.start(flows.runs_step, ["thread", "sized"]),
            await durable.start(flows.publishes, size - HEAD),
        ):
            run = await bench.outcome(handle.id)
            assert run.status == ("failed" if over > 0 else "completed")
            if over > 0:
                assert run.error is not None and run.error.type == "PayloadTooLarge"
                assert str(LIMIT) in run.error.message.replace(",", "")
        await bench.alive()


def a_coroutine() -> Any:
    return asyncio.sleep(0)


async def a_generator() -> Any:
    yield 1


UNSTORABLE: dict[str, Callable[[], Any]] = {
    "coroutine": a_coroutine, "async generator": lambda: a_generator(), "generator": lambda: (n for n in "ab"),
    "object": object, "lock": threading.Lock, "lambda": lambda: lambda: 1, "surrogate": lambda: {"a": "\ud800"},
    "exception": lambda: ValueError("x"), "task": lambda: asyncio.Event(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", UNSTORABLE)
@pytest.mark.parametrize("where", ["output", "makes", "thread"])
async def test_results_that_cannot_be_stored(bench: Bench, name: str, where: str) -> None:
    flows.MADE[name] = UNSTORABLE[name]
    async with bench.worker():
        if where == "output":
            handle = await bench.durable.start(flows.returns, name)
        else:
            handle = await bench.durable.start(flows.runs_step, [where, name])
        run = await bench.outcome(handle.id)
        assert run.status == "failed" and run.error is not None and run.error.type == NotSerializable.__name__
        await bench.alive()


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ArgsError(Exception):
    @property
    def args(self) -> Any:
        raise RuntimeError("no args")


def cyclic() -> Exception:
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def long_chain() -> Exception:
    error = ValueError("0")
    for n in range(1, 2_000):
        outer = ValueError(str(n))
        outer.__cause__, error = error, outer
    return error


def unnamed() -> Exception:
    made: Exception = type("Unnamed", (Exception,), {"__module__": "\udfff"})("x")
    return made


ERRORS: dict[str, tuple[Callable[[], BaseException], str, str]] = {
    "hostile": (HostileError, "HostileError", "__str__ raised RuntimeError"),
    "args": (ArgsError, "ArgsError", ""),
    "cycle": (cyclic, "ValueError", "one"),
    "chain": (long_chain, "ValueError", "1999"),
    "group": (lambda: ExceptionGroup("many", [ValueError("a"), HostileError()]), "ExceptionGroup", "ValueError: a"),
    "large": (lambda: ValueError("m" * 100_000_000), "ValueError", "mmm"),
    "surrogate": (lambda: ValueError("a\ud800"), "ValueError", r"a\\ud800"),
    "unnamed": (unnamed, "Unnamed", "x"),
    "unstorable": (lambda: ValueError(object(), open), "ValueError", "object object"),
    "exit": (lambda: SystemExit(3), "SystemExit", "3"),
    "interrupt": (lambda: KeyboardInterrupt(), "KeyboardInterrupt", ""),
    "stop": (lambda: StopIteration(1), "RuntimeError", "StopIteration"),
    "cancelled": (lambda: asyncio.CancelledError("own"), "CancelledError", "own"),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("where", ["body", "step"])
async def test_exceptions(bench: Bench, name: str, where: str) -> None:
    make, kind, words = ERRORS[name]
    flows.MADE[name] = make
    async with bench.worker():
        if where == "body":
            handle = await bench.durable.start(flows.raises, name)
        else:
            handle = await bench.durable.start(flows.runs_step, ["fails", name])
        with pytest.raises(RunFailed):
            await handle.result(timeout=30)
        error = (await handle.info()).error
        assert error is not None
        known = f"{error.type} {error.message}".replace("\\", "\\\\")
        assert kind in known and words in known, known[:300]
        assert len(error.message) <= 10_000
        assert len(await bench.durable.history(handle.id)) >= 2
        for key in (bench.keys.journal(handle.id), bench.keys.run(handle.id)):
            assert int(bench.server.memory_usage(key) or 0) < 200_000
        await bench.alive()
