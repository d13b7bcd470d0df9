"""Replay: what the body asks for is matched against its journal instead of being asked for again."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from durable_async.engine.closing import cut
from durable_async.engine.matching import is_same_record
from durable_async.engine.messages import give, wants
from durable_async.engine.patches import remember
from durable_async.engine.records import AS_RECORDED, Kind, Message, parse_message, parse_record
from durable_async.engine.reviving import go_on
from durable_async.engine.spawning import replay_spawn
from durable_async.errors import CorruptPayload, NonDeterministicReplay

if TYPE_CHECKING:
    from durable_async.engine.run import Run

WORDS = {"C": "child", "E": "event", "I": "input", "O": "occupied child", "X": "cancel"}


def replay(run: Run, journal: Iterable[bytes]) -> None:
    """Feeds a page of the journal, after its first line.

    Raises:
        NonDeterministicReplay: if the code does not ask for what is recorded.
        CorruptPayload: if a line cannot be read.
    """
    for raw in journal:
        run.grown(raw)
        if raw[:1] == b"M":
            message = parse_message(raw)
            run.fed = message.number
            _message(run, message)
        elif raw[:1] == b"R":
            _record(run, parse_record(raw))
        else:
            raise CorruptPayload(f"line {run.position} of its journal is neither a record nor a message")
        run.position += 1


def _message(run: Run, message: Message) -> None:
    if not wants(run, message):
        raise diverged(run, f"{WORDS[message.kind]} {message.key}", _ending(run))
    give(run, message)


def _record(run: Run, values: list[Any]) -> None:
    kind, time_ms, identity = values[0], values[1], values[2]
    if kind == Kind.TICK:
        run.advance(time_ms)
    elif kind == Kind.REVIVE:
        run.advance(time_ms)
        go_on(run)
    elif kind == Kind.CUT:
        if not run.is_cancelled and not run.is_over_time:
            raise diverged(run, "the end of its cleanup", _ending(run))
        cut(run)
        run.loop.run_ready()
    elif kind == Kind.STEP or kind == Kind.ATTEMPT:
        if not run.steps.knows(identity):
            raise diverged(run, identity, _ending(run))
        run.advance(time_ms)
        run.steps.replay(kind, values)
        run.loop.run_ready()
    elif kind in (Kind.SPAWN, Kind.JOIN, Kind.DROP):
        run.advance(time_ms)
        if not replay_spawn(run, kind, values):
            raise diverged(run, identity, _ending(run))
    elif kind == Kind.LAUNCH:
        # Also if the code has changed its mind about the step meanwhile.
        run.expected.pop(identity, None)
        run.steps.launched(values[3], values[4])
    elif kind == Kind.PROGRESS:
        # It is for people and decides nothing: what is said, and whether, may change with the code.
        run.expected.pop(identity, None)
    else:
        entry = run.expected.pop(identity, None)
        if entry is None and kind == Kind.PATCH:
            remember(run, identity)
            return
        if entry is None:
            raise diverged(run, identity, _ending(run))
        found = parse_record(entry.value)
        if kind in AS_RECORDED:
            run.saga.recorded(kind, values)
        elif not is_same_record(found, values, run.codec, 2 * run.limits.payload):
            raise diverged(run, f"{identity} {_shown(values)}", f"{identity} {_shown(found)}")


def _ending(run: Run) -> str:
    asked = sorted({*run.expected, *run.steps.open()})
    if asked:
        return ", ".join(asked[:5])
    return "the end of the workflow" if run.outcome is not None else "nothing"


def diverged(run: Run, expected: str, found: str) -> NonDeterministicReplay:
    """The code and the journal disagree: the run is blocked until one of them is mended."""
    return NonDeterministicReplay(
        f"run {run.identity.id}: record {run.position} of the journal is {expected}, but the code of workflow "
        f"{run.spec.name!r} asks for {found}; restore the code that wrote it, or change only what comes after",
        expected=expected,
        found=found,
        position=run.position,
    )


def _shown(values: list[Any]) -> str:
    # Of payloads the hash alone: this is logged, and shown as what the run waits for.
    rest = [blake2b(v, digest_size=4).hexdigest() if isinstance(v, bytes) else v for v in values[3:]]
    return f"{rest!r:.200}"
