"""For servers that lose what they acknowledged: a client that asks again, and a judge of what is there at the end.

The promise of such rows is another one: a run may go back in time or be gone, and what is there never contradicts
itself. A client that cares starts it again under the same id, and then it ends as it would have.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import redis
from semantics.leaks import LOOK, parse_look

from durable_async import Durable, RunNotFound, StoreUnavailable
from durable_async.store.keys import Keys

from . import flows
from .book import Book
from .fleet import PATIENCE_S, Fleet, until
from .invariants import check_invariants


def most_losses(trees: int) -> int:
    """A machine that is slow must not lose for ever what it has just done."""
    return 10 + trees // 10


class Insistent:
    """A client that repeats what matters, with the same id, until it has its answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.again = 0
        """How many starts had been acknowledged and were gone."""
        self.mended = 0
        """How many kinds of damage the sweeper has met at the end, and mended."""

    async def tree(self, durable: Durable, n: int, *, pause_s: float = 0.05) -> None:
        """Starts a tree and has its result."""
        id, book = f"w{n}", self._fleet.book
        given = {"ledger": book.path, "n": n, "pause_s": pause_s, "canary": self._fleet.canary}
        async with asyncio.timeout(2 * PATIENCE_S):
            while True:
                try:
                    handle = await durable.start(flows.tree, given, id=id)
                    book.write("start", id=id)
                    assert await handle.result() == flows.TREE_RESULT
                except RunNotFound:
                    self.again += 1
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    book.write("result", id=id, status="completed")
                    return

    async def load(self, trees: int, pace_s: float) -> None:
        """Many trees, some time apart."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            durable = await self._fleet.come_in(stack)
            for n in range(trees):
                tasks.create_task(self.tree(durable, n))
                await asyncio.sleep(self._fleet.random.uniform(0, 2 * pace_s))

    async def ask_again(self, trees: int) -> None:
        """A loss may have come after the last answer: whoever cares asks once more."""
        async with AsyncExitStack() as stack:
            durable = await self._fleet.come_in(stack)
            await asyncio.gather(*(self.tree(durable, n) for n in range(trees)))


async def judge_what_is_there(fleet: Fleet, trees: int) -> int:
    """Every tree is there, whole; what observers and steps saw of a lost future says nothing.

    Returns: how much the sweeper has mended. It is there for this: a call that was on its way when the store went back,
    such as an acknowledgement, is of a future that has not been, and may take away what counts again.
    """
    book = Book(fleet.book.path + ".after")
    book.write("namespace", namespace=fleet.namespace)
    book.write("canary", text=fleet.canary)
    for n in range(trees):
        book.write("start", id=f"w{n}")
        book.write("expect", id=f"w{n}", value=flows.TREE_RESULT)
    keys = Keys(fleet.namespace)
    with redis.Redis.from_url(fleet.url) as raw:
        async with fleet.client() as durable, durable.worker(lease=1.0, drain_timeout=5.0) as janitor:

            def left() -> list[str]:
                return parse_look(raw.eval(LOOK, 0, keys.base)).left(keys, janitor.id)  # type: ignore[arg-type]  # a union

            with suppress(AssertionError):
                await until(lambda: not left(), "cleared away")
        found = check_invariants(raw, book, logs=fleet.logs)
        mended = len(fleet.mended(raw))
    assert not found, "\n".join(found)
    return mended
