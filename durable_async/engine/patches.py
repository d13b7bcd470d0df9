"""Which way a run goes where its code was changed: decided once per run and name, and the same on every replay.

A run goes the new way if it gets there with nothing of its journal left to replay; a record says so. It goes the old
way if more is left: then the old code went past this place. Which of the two is so never changes later: a journal only
grows, and the record comes before anything that the new way asks for.
"""

from __future__ import annotations

from copy import copy
from operator import length_hint
from typing import TYPE_CHECKING, Final

from durable_async.engine.records import Entry, Kind, parse_record, record

if TYPE_CHECKING:
    from durable_async.engine.run import Run

PREFIX: Final = "patch:"
_HEAD: Final = record(Kind.PATCH, 0, "")[: 3 + len(Kind.PATCH)]
"""How the line of every such record begins."""


def is_patched(run: Run, name: str) -> bool:
    """Whether the run goes the new way at `name`."""
    if run.patches is None:
        run.patches = {}
    known = run.patches.get(name)
    if known is None:
        identity = PREFIX + name
        known = _is_ahead(run, identity) or not _went_past(run)
        run.patches[name] = known
        if known:
            run.issue(identity, Entry("R", record(Kind.PATCH, run.now_ms, identity)))
    return known


def remember(run: Run, identity: str) -> None:
    """The journal has a record of a new way that the code does not ask for: not yet, or not any more.

    The old way is gone from the code, or asked for later than it was; the run stays on the new one.
    """
    if run.patches is None:
        run.patches = {}
    run.patches[identity.removeprefix(PREFIX)] = True


def _rest(run: Run) -> list[bytes]:
    # A copy of the iterator that the replay goes through: what it has not fed yet.
    return [] if run.past is None or not length_hint(run.past) else list(copy(run.past))


def _is_ahead(run: Run, identity: str) -> bool:
    return any(raw.startswith(_HEAD) and parse_record(raw)[2] == identity for raw in _rest(run))


def _went_past(run: Run) -> bool:
    # What the body has asked for on its way here may have been written by an earlier commit than this record was to be
    # in: a commit has bounds. Anything else came after this place.
    return any(raw[:1] != b"R" or parse_record(raw)[2] not in run.expected for raw in _rest(run))
