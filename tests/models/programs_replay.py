"""Journals of a store at rest, replayed without one: each ends as it did, and goes on from every line as it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faults.snapshot import Snapshot
from golden.history import KEPT, Recorded

from durable_async import Limits
from durable_async.codec import MsgpackCodec
from durable_async.engine.failures import unpack_error
from durable_async.engine.records import AS_RECORDED, Kind, parse_outcome, parse_record
from durable_async.engine.run import Run
from durable_async.worker.rebuild import begin_run, identity_of

CODEC = MsgpackCodec()


def replayed(snap: Snapshot, specs: Mapping[str, Any], *, every_line: bool = False) -> list[str]:
    """What does not replay, as lines of text."""
    found = []
    for run in snap.runs.values():
        if not run.is_terminal or not run.record.get("started"):
            continue
        recorded = Recorded(run.id, {k: v for k, v in run.record.items() if k in KEPT}, run.journal)
        spec = specs[run.record["workflow"]]
        try:
            found += _whole(recorded, spec)
            if every_line:
                found += _from_every_line(recorded, spec)
        except Exception as error:
            found.append(f"run {run.id} does not replay: {error!r}")
    return found


def _rebuilt(recorded: Recorded, spec: Any, length: int) -> Run:
    claimed = recorded.claimed(length)
    run = Run(spec, identity_of(recorded.id, claimed), CODEC, Limits())
    begin_run(run, claimed)
    return run


def _whole(recorded: Recorded, spec: Any) -> list[str]:
    run = _rebuilt(recorded, spec, len(recorded.journal) - 1)
    try:
        turn, ended = run.take_turn(), parse_outcome(recorded.journal[-1])
        now, then = (turn.want, _said(turn.want, turn.payload)), (ended.status, _said(ended.status, ended.payload))
        if now != then or turn.entries:
            return [f"run {recorded.id} ended as {then}, its replay as {now}, and wants {turn.entries}"]
        return []
    finally:
        run.abandon()


def _said(status: str, payload: Any) -> Any:
    if status in ("completed", "cancelled"):
        return payload
    error = unpack_error(payload, CODEC)
    return error.type, error.message


def _from_every_line(recorded: Recorded, spec: Any) -> list[str]:
    """Whatever it wants to have recorded from there is what was recorded."""
    journal = recorded.journal
    carried = [line for line in journal if line[:1] == b"R" and parse_record(line)[0] in (Kind.PAST, Kind.CARRY)]
    found = []
    for length in range(1 + len(carried), len(journal)):
        run = _rebuilt(recorded, spec, length)
        try:
            later = [_timeless(line) for line in journal[length:-1] if line[:1] == b"R"]
            wanted = [_timeless(entry.value) for entry in run.take_turn().entries if entry.letter == "R"]
            if strange := [values for values in wanted if values not in later]:
                found.append(f"run {recorded.id} after {length} lines wants {strange}, recorded was {later}")
        finally:
            run.abandon()
    return found


def _timeless(line: bytes) -> list[Any]:
    kind, _, *rest = parse_record(line)
    return [kind, *(rest[:1] if kind in AS_RECORDED else rest)]
