"""What happens to each recorded run from outside: its input, its events, its cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from durable_async import Durable, Handle, RunError
from durable_async.types import Status

from . import asking, flows, later, undoing

MODULES = [flows, undoing, asking, later]
Act = Callable[[Durable, Handle[Any]], Awaitable[None]]


async def until_waiting(durable: Durable, id: str, words: str) -> None:
    """Returns when the run waits for this."""
    async with asyncio.timeout(30):
        while True:
            with suppress(Exception):
                info = await durable.get(id)
                if info.status is Status.WAITING and words in (info.waiting_for or ""):
                    return
            await asyncio.sleep(0.005)


async def send_events(durable: Durable, handle: Handle[Any]) -> None:
    await handle.send_event("a", 1)
    await handle.send_event("unused", "for nobody")
    for name, payload in (("a", {"two": 2}), ("b", None), ("y", "why"), ("z", False), ("x", "ex")):
        await until_waiting(durable, handle.id, "event")
        await handle.send_event(name, payload)


async def let_go(durable: Durable, handle: Handle[Any]) -> None:
    await until_waiting(durable, f"{handle.id}/left", "event go")
    await handle.result(timeout=30)
    await durable.send_event(f"{handle.id}/left", "go", "gone")


async def answer(durable: Durable, handle: Handle[Any]) -> None:
    for name, value in (("name", "me"), ("size", 42), ("fine?", True), ("form", {"a": "x", "b": "y"})):
        async with asyncio.timeout(30):
            while name not in [question.name for question in await durable.pending_inputs(handle.id)]:
                await asyncio.sleep(0.005)
        await durable.provide_input(handle.id, name, value)


async def cancel(durable: Durable, handle: Handle[Any]) -> None:
    await until_waiting(durable, handle.id, "")
    await asyncio.sleep(0.1)
    assert await handle.cancel("enough")


async def send_late(durable: Durable, handle: Handle[Any]) -> None:
    await handle.send_event("late", "kept over lives")


async def mend(durable: Durable, handle: Handle[Any]) -> None:
    with suppress(RunError):
        await handle.result(timeout=30)
    later.mended.add("shop")
    await durable.retry(handle.id)
    await until_waiting(durable, f"{handle.id}/waits", "event go")
    await durable.send_event(f"{handle.id}/waits", "go", "went")


async def nothing(durable: Durable, handle: Handle[Any]) -> None: ...


STORIES: dict[str, tuple[Any, Any, Act]] = {
    "steps": (flows.steps, flows.Order(7, ["tea"], Decimal("1.50")), nothing),
    "retries": (flows.retries, None, nothing),
    "fails": (flows.fails, "why", nothing),
    "long_one": (flows.long_one, 130, nothing),
    "at_once": (flows.at_once, 25, nothing),
    "naps": (flows.naps, None, nothing),
    "events": (flows.events, None, send_events),
    "children": (flows.children, None, nothing),
    "children_given_up": (flows.children_given_up, None, let_go),
    "race": (flows.race, None, nothing),
    "branches": (flows.branches, None, nothing),
    "cleans_up": (flows.cleans_up, None, cancel),
    "swallows": (flows.swallows, None, cancel),
    "facts": (flows.facts, None, nothing),
    "plumbing": (flows.plumbing, None, nothing),
    "patches": (flows.patches, None, nothing),
    "undone": (undoing.undone, None, nothing),
    "undone_by_a_cancel": (undoing.undone_by_a_cancel, None, cancel),
    "not_undone": (undoing.not_undone, None, nothing),
    "cut": (undoing.cut, None, cancel),
    "asks": (asking.asks, None, answer),
    "at_most_once": (later.at_most_once, None, nothing),
    "says_how_far": (later.says_how_far, 3, nothing),
    "third_time": (later.third_time, 7, send_late),
    "continues": (later.continues, 3, send_late),
    "timed_out": (later.timed_out, None, nothing),
    "taken_up": (later.taken_up, 4, mend),
    "step_calls": (later.step_calls, 4, nothing),
}


async def play(durable: Durable, name: str) -> None:
    """One of them, from its start until the whole tree has ended."""
    definition, given, act = STORIES[name]
    handle = await durable.start(definition, given, id=name)
    await act(durable, handle)
    with suppress(RunError):
        await handle.result(timeout=30)
    async with asyncio.timeout(30):
        while any(not run.status.is_terminal for run in (await durable.list(id_prefix=name, limit=100)).items):
            await asyncio.sleep(0.01)
