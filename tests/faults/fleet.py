"""Worker processes under workload W: trees of three levels from two clients; events, timers, retries, cancels."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import redis
from semantics.crowd import Nursery, is_alive
from semantics.leaks import LOOK, parse_look

from durable_async import Durable, RunCancelled, RunNotFound, RunNotWaiting, StoreUnavailable
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .invariants import check_invariants, observe

PATIENCE_S = float(os.environ.get("DURABLE_FAULTS_PATIENCE_S", "60"))
"""How long a test waits for what must happen; `matrix.py`, which loads the machine itself, waits longer."""
CANCELLED = 0.1
"""The share of trees that a client cancels at a random moment."""


class Fleet:
    """The worker processes of one namespace, and its clients."""

    def __init__(
        self,
        url: str,
        namespace: str,
        nursery: Nursery,
        book: Book,
        seed: int,
        *,
        size: int = 3,
        lease: float = 1.0,
        via: str = "",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.url = url
        """Where the store is judged."""
        self.via = via or url
        """Where workers and clients connect to: through a proxy, perhaps."""
        self.options = options or {}
        self.namespace = namespace
        self.book = book
        self.lease = lease
        self.random = random.Random(seed)
        self.faults = 0
        self.is_damaged = False
        """Set by a test that damages the store by hand: otherwise the sweeper may find nothing to mend."""
        self.canary = f"S3CR3T-{secrets.token_hex(8)}"
        """In every input, and in no log."""
        self.logs: list[Path] = []
        self.flows = "faults.flows"
        self.cancelled_share = CANCELLED
        self.broken: list[str] = []
        """What the observer saw that must never be."""
        self._size = size
        self._started = 0
        self._nursery = nursery
        self.pids: list[int] = []
        book.write("namespace", namespace=namespace)
        book.write("canary", text=self.canary)

    def spawn(self, *, via: str = "", nursery: Nursery | None = None, flows: str = "") -> int:
        """One more worker process."""
        options = {"lease": self.lease, "drain_timeout": 5.0, "concurrency": 20, **self.options}
        pid = (nursery or self._nursery).spawn(
            url=via or self.via,
            namespace=self.namespace,
            flows=[flows or self.flows],
            options=options,
            limits={},
            insists=True,
        )
        self.pids.append(pid)
        return pid

    def end(self, pid: int, signals: tuple[signal.Signals, ...] = (signal.SIGKILL,)) -> None:
        """Signals for a worker that does not count any more."""
        self.pids.remove(pid)
        for number in signals:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_one(self) -> None:
        """SIGKILL for a random one, and a new one in its place."""
        pid = self.random.choice(self.pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.pids.remove(pid)
        self.hit("kill", pid=pid)
        self.spawn()

    def hit(self, what: str, *, cuts_steps: bool = True, **fields: Any) -> None:
        """A fault has been injected; one that cuts no step does not excuse that one is repeated."""
        self.faults += 1
        self.book.write("fault" if cuts_steps else "harmless", what=what, **fields)

    def client(self) -> Durable:
        return Durable(self.via, workflows=[flows], namespace=self.namespace)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Workers run inside the block; at the end they drain, and nothing may be left."""
        for _ in range(self._size):
            self.spawn()
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self.leave()

    async def leave(self) -> None:
        """All workers drain."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await until(lambda: not any(map(is_alive, self.pids)), "the workers have left")

    async def _watch(self) -> None:
        """Samples every run, on a connection that shares no code with what is tested."""
        with redis.Redis.from_url(self.url) as raw:
            while True:
                with suppress(redis.RedisError):
                    self.broken += await asyncio.to_thread(observe, raw, self.book)
                await asyncio.sleep(0.5)

    async def judge(self) -> None:
        """What dead processes left is cleared away by a janitor; then every invariant must hold."""
        keys = Keys(self.namespace)
        with redis.Redis.from_url(self.url) as raw:
            async with self.client() as durable, durable.worker(lease=self.lease, drain_timeout=5.0) as janitor:

                def left() -> list[str]:
                    look = parse_look(raw.eval(LOOK, 0, keys.base))  # type: ignore[arg-type]  # a union
                    return look.left(keys, janitor.id)

                with suppress(AssertionError):
                    await until(lambda: not left(), "cleared away")
            found = self.broken + check_invariants(raw, self.book, logs=self.logs) + self.mended(raw)
        assert not found, "\n".join(found)

    def mended(self, raw: redis.Redis) -> list[str]:
        """What the sweeper has repaired and no transition may have broken."""
        if self.is_damaged:
            return []
        counts: Any = raw.hgetall(Keys(self.namespace).meta)
        return [f"no transition may leave damage: {k} {n}" for k, n in counts.items() if k.startswith(b"fixed:")]

    # ------------------------------------------------------------------ clients

    async def come_in(self, stack: AsyncExitStack) -> Durable:
        """A client that is connected. One that comes while there is no server is told so, and comes again."""
        give_up_at = monotonic() + PATIENCE_S
        while True:
            try:
                return await stack.enter_async_context(self.client())
            except StoreUnavailable:
                if monotonic() > give_up_at:
                    raise
                await asyncio.sleep(0.05)

    async def load(self, trees: int, *, pace_s: float = 0.1) -> None:
        """Two clients start trees and wait for all of them; called again, further ones."""
        first, self._started = self._started, self._started + trees
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            one, two = await self.come_in(stack), await self.come_in(stack)
            for n in range(first, first + trees):
                tasks.create_task(self._tree((one, two)[n % 2], f"w{n}", n))
                await asyncio.sleep(self.random.uniform(0, 2 * pace_s))

    async def _tree(self, durable: Durable, id: str, n: int) -> None:
        given = {
            "ledger": self.book.path,
            "n": n,
            "pause_s": round(self.random.uniform(0, 0.2), 3),
            "canary": self.canary,
        }
        is_doomed, when = self.random.random() < self.cancelled_share, self.random.uniform(0, 1)
        handle = await durable.start(flows.tree, given, id=id)
        self.book.write("start", id=id)
        self.book.write("expect", id=id, value=flows.TREE_RESULT)
        events = asyncio.create_task(self._events(durable, id))
        if is_doomed:
            await asyncio.sleep(when)
            self.book.write("cancel", id=id, did=await durable.cancel(id, "by the client"))
        status = "completed"
        try:
            async with asyncio.timeout(PATIENCE_S):
                await handle.result()
        except RunCancelled:
            status = "cancelled"
        self.book.write("result", id=id, status=status)
        events.cancel()
        await asyncio.gather(events, return_exceptions=True)

    async def _events(self, durable: Durable, id: str) -> None:
        """To every leaf that may wait for one, as soon as it exists; the first leaf gets each twice."""
        for leaf in flows.EVENT_LEAVES:
            event, child = f"e-{id}-{leaf}".replace("/", "-"), f"{id}/{leaf}"
            for again in range(2 if leaf == flows.EVENT_LEAVES[0] else 1):
                while True:
                    try:
                        await durable.send_event(child, "go", {"event": event}, event_id=event)
                    except RunNotFound:
                        await asyncio.sleep(0.05)
                        continue
                    except RunNotWaiting:
                        break
                    if not again:
                        self.book.write("event", id=child, name="go", event=event)
                    break


async def until(predicate: Callable[[], Any], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Polls for a fact about other processes."""
    give_up_at = monotonic() + patience_s
    while not predicate():
        if monotonic() > give_up_at:
            raise AssertionError(f"never came true: {what}")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def injecting(
    inject: Callable[[], Any], pause_s: Callable[[], float], *, is_fair: bool = False, most: float = inf
) -> AsyncIterator[None]:
    """A fault again and again inside the block, with a pause before each.

    A fair one leaves the store in peace for as long as the one before took: on a slow machine a server that is killed
    twice a second would never be up. One that takes back what was done wants a limit, `most`, as well.
    """

    over = asyncio.Event()

    async def go_on() -> None:
        took_s, times = 0.0, 0
        while times < most:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause_s(), took_s)):
                    await over.wait()
                return
            began, times = monotonic(), times + 1
            done = inject()
            if isinstance(done, Awaitable):
                await done
            took_s = monotonic() - began if is_fair else 0.0

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        # What is half done, a server that is down say, is seen to its end.
        over.set()
        results = await asyncio.gather(task, return_exceptions=True)
    if isinstance(results[0], BaseException):
        raise results[0]
