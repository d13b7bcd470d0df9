"""Finds and mends what no transition leaves behind: damage by hands, or by a server that lost what it acknowledged.

All workers together go round the store, one chunk every third of a lease, whoever asks first: the runs of the index,
the timers, the list of blocked runs, and, for what is listed nowhere, the keys of the server, with the oldest entries
of the queues among them. A run that is in order
costs one look per round, an ended one a hundredth of a look. What is mended is logged and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from durable_async.engine.untold import is_untold
from durable_async.store.store import Store
from durable_async.store.structure import DAMAGE, Finding, Links

log = logging.getLogger("durable_async.worker")

RUNS = 500
"""Of the index, in one chunk."""
CLOSER = 100
"""Of them, those that get a closer look; the rest begins the next chunk."""
OTHERS = 50
"""Timers, and blocked runs, in one chunk."""
KEYS = 200
"""Of the server, in one chunk."""
ENTRIES = 50
"""Of a queue that is met among the keys, the oldest ones: what nobody reads any more stays while those behind it go."""
REMEMBERED = 1_000


class Sweeper:
    """One worker's part in it.

    Args:
        store: where to look.
        lease_s: of this worker; the pause between two chunks is a third of it.
        on_stranger: called with the id of a worker that has a stream and no heartbeat.
    """

    def __init__(self, store: Store, lease_s: float, on_stranger: Callable[[str], None]) -> None:
        self._store = store
        self._pause_ms = max(1, int(lease_s * 1000 / 3))
        self._on_stranger = on_stranger
        self._reported: set[tuple[str, str]] = set()

    async def sweep(self) -> int:
        """One chunk, if it is time for one. Returns how much was mended."""
        store = self._store
        chunk = await store.take_sweep(self._pause_ms, RUNS, OTHERS)
        if chunk is None:
            return 0
        next_run = 0 if chunk.is_last else chunk.first + len(chunk.runs)
        chosen: list[Links] = []
        for at, links in enumerate(await store.sift_runs(chunk.runs)):
            if links is not None:
                if len(chosen) == CLOSER:
                    next_run = chunk.first + at
                    break
                chosen.append(links)
        chosen += await store.doubtful(chunk.timed, chunk.blocked)
        strays = await store.strays(chunk.cursor, KEYS)
        chosen += [links for links in await store.sift_runs(strays.runs, looks_at_all=True) if links is not None]
        for lane in strays.lanes:
            _, count = await store.garbage(lane, "", ENTRIES, may_fix=True)
            if count:
                log.warning("%d entries of queue %s belonged to no run: removed", count, lane)
        found = await store.inspect(list({links.id: links for links in chosen}.values()), is_untold, may_fix=True)
        for worker in strays.workers:
            self._on_stranger(worker)
        for each in found:
            self._report(each)
        for queue, id in await store.sweep_rooms() if chunk.is_last else ():
            log.warning("run %s had a place in queue %s, or waited for one, and is not there: mended", id, queue)
        await store.save_sweep(next_run, strays.cursor)
        return sum(each.is_fixed for each in found)

    def _report(self, found: Finding) -> None:
        if found.is_fixed:
            log.warning("run %s %s: mended (%s)", found.id, DAMAGE[found.kind], found.kind)
        elif (found.id, found.kind) not in self._reported:
            if len(self._reported) < REMEMBERED:
                self._reported.add((found.id, found.kind))
            log.error("run %s %s: only a person can mend that (%s)", found.id, DAMAGE[found.kind], found.kind)
