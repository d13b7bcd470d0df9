"""Workers and clients in this process that are struck at a chosen call: before it leaves, or when its reply has come.

A *strike* is one of

* ``crash-before`` the n-th call is not sent, and the worker is dead from there on: nothing it still does reaches the
  server, no reply reaches it, its connections are cut;
* ``crash-after`` the n-th call was executed, its reply is never seen, and the worker is dead;
* ``lose-request`` the n-th call is dropped with its connection, the worker lives;
* ``lose-reply`` the n-th call was executed, its reply is lost with its connection, the worker lives.

Calls are counted where they leave (`Transport.submit`), on all of a worker's connections. Not counted are the polls
that come with the clock (their number would differ from run to run); of reads and polls those that brought something
count when their reply comes, so only the ``-after`` and ``-reply`` strikes meet them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

import durable_async.client.listener
import durable_async.client.session
import durable_async.worker.worker
from durable_async import Durable
from durable_async.store.errors import ConnectionLost
from durable_async.store.scripts import BY_SHA
from durable_async.store.transport import open_transport

from .book import Book, clock
from .fleet import PATIENCE_S

STRIKES = ("crash-before", "crash-after", "lose-request", "lose-reply")
FEW_STRIKES = (
    "crash-after",
    *(pytest.param(strike, marks=pytest.mark.long) for strike in STRIKES if strike != "crash-after"),
)
"""For what rests on the same transitions: all four in the long run, one of them each time."""
BY_THE_CLOCK = frozenset(
    {
        "poll_due", "poll_schedules", "purge_index", "HGETALL", "XINFO", "XPENDING", "XREADGROUP", "INFO", "CONFIG",
        "PING", "CLIENT", "take_sweep", "sift_runs", "repair_run", "SCAN", "XRANGE", "ZMSCORE", "HSET", "PEXPIRE",
        "PTTL",
    }
)  # fmt: skip
LEASE_S = 0.7

current: ContextVar[Plan | None] = ContextVar("current", default=None)


@dataclass
class Plan:
    """Which call is struck, and how; what happened."""

    at: int = 0
    """The number of the call, from 1; 0 for none."""
    strike: str = ""
    name: str = ""
    """Only calls of this name have numbers; all have, if it is empty."""
    what: str = ""
    """The struck call."""
    names: list[str] = field(default_factory=list)
    """The calls counted so far."""
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    died: asyncio.Event = field(default_factory=asyncio.Event)
    on_crash: Callable[[], None] = lambda: None

    @property
    def is_dead(self) -> bool:
        """Whether a crash has happened."""
        return self.died.is_set()

    def _is_due(self, name: str) -> bool:
        self.names.append(name)
        numbered = self.names.count(self.name) if self.name else len(self.names)
        is_due = numbered == self.at and name == (self.name or name)
        if is_due:
            self.what = name
        return is_due

    def counts(self, name: str, args: Any) -> bool:
        """Whether a call counts when it leaves."""
        return name not in BY_THE_CLOCK and not (name == "ZRANGE" and str(args[1]).endswith(":index"))

    def wrap(self, transport: Any) -> None:
        """Counts and strikes what is submitted to a transport."""
        submit = transport.submit

        def submitted(args: Any, on_reply: Any) -> None:
            if self.is_dead:
                return
            name = name_of(args)
            counts = self.counts(name, args)
            is_due = counts and self._is_due(name)
            if is_due and self.strike == "crash-before":
                self._crash()
            elif is_due and self.strike == "lose-request":
                self.struck.set()
                transport._fail_soon(on_reply)
                transport.reconnect("the request was lost")
            else:
                submit(args, self._judge(transport, name, on_reply, is_due, counts))

        transport.submit = submitted

    def _judge(self, transport: Any, name: str, on_reply: Any, is_due: bool, counts: bool) -> Any:
        def replied(reply: Any) -> None:
            if self.is_dead:
                return
            due = is_due
            if not counts and self.strike in ("crash-after", "lose-reply", "") and brought(name, reply):
                due = self._is_due(name)
            if due and self.strike == "crash-after":
                self._crash()
            elif due and self.strike == "lose-reply":
                self.struck.set()
                transport.reconnect("the reply was lost")
                on_reply(ConnectionLost("the reply was lost", sent=True))
            else:
                on_reply(reply)

        return replied

    def _crash(self) -> None:
        self.died.set()
        self.struck.set()
        self.on_crash()


def name_of(args: Any) -> str:
    """What a command is: the script's name, or its own."""
    if args[0] in ("EVALSHA", "EVAL"):
        script = BY_SHA.get(args[1])
        return script.name if script is not None else "EVAL"
    return str(args[0])


def brought(name: str, reply: Any) -> bool:
    """Whether a poll brought something."""
    if isinstance(reply, Exception):
        return False
    if name == "poll_schedules":
        return bool(reply[3])
    return bool(reply) if name == "XREADGROUP" else name == "poll_due" and bool(reply[2] or reply[4])


async def _open(*args: Any, **options: Any) -> Any:
    transport = await open_transport(*args, **options)
    plan = current.get()
    if plan is not None:
        plan.wrap(transport)
    return transport


@contextmanager
def wired() -> Iterator[None]:
    """Inside, connections that are opened under a plan follow it."""
    modules: Any = (
        durable_async.worker.worker,
        durable_async.client.session,
        durable_async.client.listener,
    )
    for module in modules:
        module.open_transport = _open
    try:
        yield
    finally:
        for module in modules:
            module.open_transport = open_transport


class StruckWorker:
    """A worker that follows a plan."""

    def __init__(self, durable: Durable, plan: Plan) -> None:
        self.worker = durable.make_worker(durable.worker_settings(lease=LEASE_S, drain_timeout=5.0))
        self.plan = plan
        plan.on_crash = self._crash

    def _crash(self) -> None:
        runner = getattr(self.worker, "runner", None)
        if runner is not None:
            # What the current callback still does is the doing of a dead process.
            runner.steps.launch = lambda *call: None
            self.worker.kill()

    async def until_dead(self, doing: Coroutine[Any, Any, Any]) -> None:
        """Does something, unless the worker dies over it."""
        await until_struck_dead(self.plan, doing)

    async def start(self) -> None:
        """Starts, or dies."""
        # Tasks inherit the plan.
        token = current.set(self.plan)
        try:
            await self.until_dead(self.worker.start(wait_s=PATIENCE_S))
        finally:
            current.reset(token)

    async def cut(self) -> None:
        """Takes a dead worker's connections away."""
        for transport in list(self.worker._transports):
            await transport.close()
        heartbeat = getattr(self.worker, "_heartbeat", None)
        if heartbeat is not None:
            heartbeat.stop()
            await asyncio.to_thread(heartbeat.join)


async def until_struck_dead(plan: Plan, doing: Coroutine[Any, Any, Any]) -> Any:
    """What `doing` returns; None if whoever does it dies over it."""
    task = asyncio.create_task(doing)
    dead = asyncio.create_task(plan.died.wait())
    await asyncio.wait({task, dead}, return_when=asyncio.FIRST_COMPLETED)
    dead.cancel()
    if plan.is_dead and not task.done():
        # What a dead one began never ends by itself.
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        return None
    return await task


@asynccontextmanager
async def stalls(book: Book, seconds: float) -> AsyncIterator[None]:
    """Notes as a fault whenever this loop, and so every worker on it, stood still for so long."""

    async def watch() -> None:
        while True:
            began = clock()
            await asyncio.sleep(seconds / 10)
            if clock() - began > seconds:
                book.write("fault", what="stall", t=began, until=clock())

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
