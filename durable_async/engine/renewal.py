"""Further lives of a run under its id: another attempt after a failure, or the same with a new input.

A renewed run begins with a fresh journal. What goes over into it are lines of its own: the attempts that failed, the
context, and the events that nobody has consumed. Timers and awaited children end with the old life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final, NoReturn

from durable_async.checking import to_ms
from durable_async.engine.records import Entry, Kind, Turn, Want, parse_record, record, start_record
from durable_async.errors import ControlFlow

if TYPE_CHECKING:
    from durable_async.engine.run import Run

PASTS_KEPT: Final = 20
"""Failed attempts that a journal goes on telling of."""


class Continued(ControlFlow):
    """The body has ended this life of its run; nothing of it goes on."""


@dataclass(slots=True)
class Past:
    """An attempt of the run that failed."""

    at_ms: int
    attempt: int
    first_ms: int
    """When the first attempt started."""
    failure: bytes


@dataclass(slots=True)
class Renewal:
    """What another life begins with."""

    start: bytes
    attempt: int
    delay_ms: int
    pasts: list[Past]


def attempt_again(run: Run, error: BaseException | None, failure: bytes) -> Renewal | None:
    """The next attempt of a run that has just failed, if its policy allows one."""
    policy, attempt = run.spec.retry, run.identity.attempt
    if policy is None or error is None or not policy.allows(error, attempt):
        return None
    # The same on a replay, and so after a crash between the failure and its commit.
    spread = Random(f"{run.identity.id}:{run.identity.gen}").random()
    delay_ms = policy.delay_ms(attempt, spread)
    first_ms = run.pasts[-1].first_ms if run.pasts else run.identity.started_ms
    if policy.max_elapsed is not None and run.now_ms + delay_ms - first_ms > to_ms(policy.max_elapsed):
        return None
    pasts = [*run.pasts, Past(run.now_ms, attempt, first_ms, failure)][-PASTS_KEPT:]
    return Renewal(run.start_line, attempt + 1, delay_ms, pasts)


def continue_with(run: Run, payload: bytes) -> NoReturn:
    """Ends this life of the run; the next one has this input."""
    run.continuation = payload
    if asyncio.current_task(run.loop) is not run.body and run.body is not None:
        run.body.cancel("continued as new")
    raise Continued("this life of the run is over")


def continued(payload: bytes) -> Renewal:
    """The life that the body has asked for."""
    return Renewal(start_record(payload), 1, 0, [])


def renewal_turn(run: Run, renewal: Renewal, entries: list[Entry]) -> Turn:
    """The commit that begins the next life."""
    lines = [Entry("N", line) for line in _carried(run, renewal)]
    # What the old life has undone is done with.
    sets: list[Any] = ["saga", ""] if run.has_saga else []
    sets += ["gen", run.identity.gen + 1, "attempt", renewal.attempt, "waiting", _waiting(renewal)]
    times = f"{renewal.delay_ms} {run.spec.timeout_ms}"
    return Turn([*entries, *lines], Want.RENEW, renewal.start, times, sets)


def _waiting(renewal: Renewal) -> str:
    return f"attempt {renewal.attempt}" if renewal.attempt > 1 else ""


def _carried(run: Run, renewal: Renewal) -> Iterator[bytes]:
    for past in renewal.pasts:
        yield record(Kind.PAST, past.at_ms, "", past.attempt, past.first_ms, past.failure)
    for key, data in run.context.items():
        yield record(Kind.CARRY, run.now_ms, "", "context", key, data)
    if run.has_children:
        for ref in sorted(run.children.undone):
            yield record(Kind.CARRY, run.now_ms, "", "undone", ref, b"")
    for name, payload in run.events.unconsumed():
        yield record(Kind.CARRY, run.now_ms, "", "event", name, payload)


def take_over(run: Run, journal: Sequence[bytes]) -> int:
    """Gives a run, before its body starts, what came over from earlier lives. Returns where its own past begins."""
    at = 1
    while at < len(journal) and journal[at][:1] == b"R":
        values = parse_record(journal[at])
        kind, at_ms = values[0], values[1]
        if kind == Kind.PAST:
            run.pasts += (Past(at_ms, values[3], values[4], values[5]),)
        elif kind != Kind.CARRY:
            break
        elif values[3] == "undone":
            run.children.undone.add(values[4])
        elif values[3] == "context":
            run.context = {**run.context, values[4]: values[5]}
        else:
            run.events.put(values[4], values[5])
        run.grown(journal[at])
        at += 1
    return at
