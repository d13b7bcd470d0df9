"""Makes a run in memory of what a claim answered: replay, in pages if the journal is long."""

from __future__ import annotations

from durable_async.engine.renewal import take_over
from durable_async.engine.reviving import count_revivals, find_void, revive, surviving
from durable_async.engine.run import Run
from durable_async.engine.spec import RunIdentity
from durable_async.errors import CorruptPayload
from durable_async.store.commands import Claimed
from durable_async.store.keys import queue_of
from durable_async.store.store import PAGE, Store


def identity_of(id: str, claimed: Claimed) -> RunIdentity:
    """What the record says a run is."""
    # In the order of the fields: see `Claimed`.
    return RunIdentity(
        id,
        id.partition("/")[0],
        claimed.parent or None,
        claimed.ref or None,
        queue_of(claimed.queue),
        claimed.depth,
        claimed.attempt,
        claimed.created_ms,
        claimed.started_ms,
        claimed.version,
        claimed.gen,
        claimed.gen - count_revivals(claimed.journal) if claimed.gen > 1 else 1,
        claimed.deadline_ms,
    )


async def fetch_rest(store: Store, id: str, claimed: Claimed) -> list[bytes]:
    """The whole journal. Only its owner appends to it, so the pages fit together."""
    journal = list(claimed.journal)
    key = store.keys.journal(id)
    while len(journal) < claimed.journal_length:
        page = await store.caller.call(("LRANGE", key, len(journal), len(journal) + 10 * PAGE - 1))
        if not page:
            break
        journal += page
    return journal


def begin_run(run: Run, claimed: Claimed) -> None:
    """Brings a run to where its journal ends.

    Raises:
        NonDeterministicReplay: if the code does not ask for what is recorded.
        CorruptPayload: if the journal cannot be read.
    """
    journal = claimed.journal
    if not journal or journal[0][:1] != b"S" or len(journal) < claimed.journal_length:
        what = "input" if journal and journal[0][:1] == b"@" else "journal"
        raise CorruptPayload(f"the {what} of run {run.identity.id} is incomplete")
    if run.identity.gen > run.identity.born:
        _begin_again(run, journal)
        return
    at = take_over(run, journal) if run.identity.gen > 1 else 1
    if len(journal) == at:
        run.begin(journal[0], has_past=False, position=at)
        return
    past = run.past = iter(journal[at:])
    run.begin(journal[0], has_past=True, position=at)
    run.replay(past)
    run.replayed()
    run.past = None


def _begin_again(run: Run, journal: list[bytes]) -> None:
    """A run that has failed and was taken up again: what the failure has led to does not count."""
    lines, outcome = surviving(journal)
    gone: list[int] = []
    if outcome is not None:
        gone = find_void(lambda: Run(run.spec, run.identity, run.codec, run.limits), lines, outcome)
        void = set(gone)
        lines = [line for at, line in enumerate(lines) if at not in void]
    at = take_over(run, lines)
    past = run.past = iter(lines[at:])
    run.begin(lines[0], has_past=True, position=at)
    run.replay(past)
    if outcome is not None:
        revive(run, gone)
    run.replayed()
    run.past = None
