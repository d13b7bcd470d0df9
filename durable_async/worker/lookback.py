"""Looks whether runs that are long in a step are still what this worker believes.

Whoever sends a run a message nudges its owner, as the record names it. A server that came back without its last writes
may have lost the claim, or the nudge: then nobody is nudged, and the worker would learn of it when the step ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from durable_async.store.store import Store
from durable_async.worker.resident import Resident

log = logging.getLogger("durable_async.worker")

FIELDS = ("status", "epoch", "nonce", "seq", "mail", "taken")


class Lookback:
    """One worker's looks back at the runs in its memory.

    Args:
        store: where the records are.
        residents: the runs in memory.
        nudged: makes a run commit, even if it has nothing to say: a copy that does not count is told so by that.
    """

    def __init__(self, store: Store, residents: Iterable[Resident], nudged: Callable[[str], object]) -> None:
        self._store = store
        self._residents = residents
        self._nudged = nudged
        self._before: dict[str, tuple[Resident, int]] = {}

    async def look(self) -> int:
        """Reads the records of runs that have said nothing since the last look; how many of them were nudged."""
        before = self._before
        # One that has a call under way learns all of this from the answer.
        quiet = {r.id: (r, r.seq) for r in self._residents if not r.is_parked and not r.is_out}
        self._before = quiet
        doubtful = [(r, seq) for id, (r, seq) in quiet.items() if before.get(id) == (r, seq)]
        if not doubtful:
            return 0
        count = 0
        rows = await self._store.fields([r.id for r, _ in doubtful], FIELDS)
        for (resident, seq), row in zip(doubtful, rows, strict=True):
            has_gone_on = resident.seq != seq or resident.is_out or resident.is_parked or resident.is_dropped
            if not has_gone_on and (is_lost(resident, row) or has_unheard(resident, row)):
                count += 1
                self._nudged(resident.id)
        if count:
            log.warning("%d runs in long steps had messages, or an owner, that this worker had not heard of", count)
        return count


def is_lost(resident: Resident, row: list[bytes | None]) -> bool:
    """Whether a record is not the one that the last call of this copy has left."""
    left = ("running", str(resident.epoch), resident.nonce, str(resident.seq))
    return tuple((value or b"").decode(errors="replace") for value in row[:4]) != left


def has_unheard(resident: Resident, row: list[bytes | None]) -> bool:
    """Whether a message is there that this copy was not told."""
    mail, taken = (int(value) if value and value.isdigit() else 0 for value in row[4:])
    return mail > max(taken, resident.run.fed)
