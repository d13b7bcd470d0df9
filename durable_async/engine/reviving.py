"""Going on from a failure: what of a journal still counts when a failed run is taken up again.

The journal is append-only, so what is void stays in it: behind the outcome comes a `V` line, behind that the owner's
record (`Kind.REVIVE`) that says which lines do not count. They are found out once, by replaying:

1. The whole past is replayed to the failure. The outcomes of steps and children whose exceptions are in its chain
   (cause, context, exception groups) are what has failed: they are void, and so are the failed attempts before them.
2. The past without them is replayed. Up to the first of them everything must fit. Behind it a line counts if it fits:
   if the body has asked for what it settles. What the failure has led to does not fit, and is void.
3. A step's name may have been used by what the failure has led to, and number the others differently. That shows: an
   outcome fits nobody. Then no outcome of that name counts behind the failure, and 2 is repeated.

So what is completed stays, and nothing is ever given to a call that did not ask for it. The run then goes on: children
asked for whose end is not known are asked for again, and found by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from durable_async.engine.calling import ask_again
from durable_async.engine.failures import unpack_error
from durable_async.engine.matching import is_same_record
from durable_async.engine.messages import wants
from durable_async.engine.records import Entry, Kind, parse_message, parse_outcome, parse_record, record
from durable_async.engine.renewal import take_over
from durable_async.errors import CorruptPayload

if TYPE_CHECKING:
    from durable_async.engine.run import Run

NEVER_AGAIN: Final = (Kind.CUT, Kind.SAGA, Kind.UNDO_FAILED)
OF_STEPS: Final = (Kind.STEP, Kind.ATTEMPT, Kind.LAUNCH)


def count_revivals(journal: Sequence[bytes]) -> int:
    """How often the run was taken up again in this life."""
    return sum(line[:1] == b"V" for line in journal)


def surviving(journal: Sequence[bytes]) -> tuple[list[bytes], bytes | None]:
    """The lines that count, and the outcome that is void, if nobody has found out yet what goes with it.

    Raises:
        CorruptPayload: if a record that says what is void cannot be read.
    """
    lines: list[bytes] = []
    outcome, pending = b"", None
    for raw in journal:
        if raw[:1] == b"Z":
            outcome = raw
        elif raw[:1] == b"V":
            pending = outcome
        else:
            if raw[:1] == b"R" and (values := parse_record(raw))[0] == Kind.REVIVE:
                gone = set(_numbers(values[3]))
                lines = [line for at, line in enumerate(lines) if at not in gone]
                pending = None
            lines.append(raw)
    return lines, pending


def find_void(fresh: Callable[[], Run], lines: Sequence[bytes], outcome: bytes) -> list[int]:
    """Which of the lines do not count, after this failure.

    Raises:
        NonDeterministicReplay: if the code does not ask for what is recorded before the failure.
        CorruptPayload: if a line cannot be read.
    """
    if not outcome:
        return []
    codec = fresh().codec
    if unpack_error(parse_outcome(outcome).payload, codec).type == "RunTimeout":
        # Its time was over, and has begun anew: what that has led to begins with the first line that does not fit.
        causes = set[int]()
        first = next(iter(_Trial(fresh(), 0, causes, set(), set()).run_over(lines)), len(lines))
    else:
        causes = _causes(fresh(), lines)
        if not causes:
            return []
        first = min(causes)
    steps = {parse_record(lines[at])[2] for at in causes if lines[at][:1] == b"R"}
    shared: set[str] = set()
    while True:
        trial = _Trial(fresh(), first, causes, steps, shared)
        gone = trial.run_over(lines)
        if trial.shifted <= shared:
            return gone
        shared |= trial.shifted


def _causes(run: Run, lines: Sequence[bytes]) -> set[int]:
    _begin(run, lines)
    run.replay(iter(lines[run.position :]))
    found: set[int] = set()
    todo, seen = [run.failure], set[int]()
    while todo:
        error = todo.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        line = getattr(error, "_durable_line", None)
        if isinstance(line, int):
            found.add(line)
        todo += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
    run.abandon()
    return found


def _begin(run: Run, lines: Sequence[bytes]) -> None:
    if not lines or lines[0][:1] != b"S":
        raise CorruptPayload(f"the journal of run {run.identity.id} does not begin with its start")
    at = take_over(run, lines)
    run.begin(lines[0], has_past=True, position=at)


class _Trial:
    """One replay of what may be left."""

    def __init__(self, run: Run, first: int, causes: set[int], steps: set[str], shared: set[str]) -> None:
        self._run = run
        self._first = first
        self._causes = causes
        self._steps = steps
        """Identities of the steps that have failed: none of their attempts counts."""
        self._shared = shared
        self.shifted: set[str] = set()
        """Names of steps with an outcome that fits nobody."""

    def run_over(self, lines: Sequence[bytes]) -> list[int]:
        run = self._run
        _begin(run, lines)
        gone = []
        for at in range(run.position, len(lines)):
            raw = lines[at]
            run.position = at
            if at in self._causes or self._is_attempt(raw) or (at >= self._first and not self._fits(raw)):
                gone.append(at)
            else:
                run.replay(iter((raw,)))
        run.abandon()
        return gone

    def _is_attempt(self, raw: bytes) -> bool:
        if raw[:1] != b"R" or not self._steps:
            return False
        values = parse_record(raw)
        return values[0] in OF_STEPS and step_of(values) in self._steps

    def _fits(self, raw: bytes) -> bool:
        run = self._run
        if raw[:1] == b"M":
            message = parse_message(raw)
            if message.kind == "C" and message.letter == "x":
                return False  # cancelled because of it, or by somebody: it is asked for again
            return message.kind in "EIC" and wants(run, message)
        values = parse_record(raw)
        kind, identity = values[0], values[2]
        if kind == Kind.TICK or kind == Kind.REVIVE:
            return True
        if kind in NEVER_AGAIN:
            return False
        if kind in OF_STEPS:
            return self._fits_step(values)
        entry = run.expected.get(identity)
        if entry is None:
            return False
        return is_same_record(parse_record(entry.value), values, run.codec, 2 * run.limits.payload)

    def _fits_step(self, values: list[Any]) -> bool:
        run, identity = self._run, values[2]
        name = step_of(values).rpartition("#")[0]
        if name in self._shared:
            return False
        if run.steps.knows(identity) or identity in run.expected:
            return True
        if values[0] == Kind.STEP:
            self.shifted.add(name)
        return False


def step_of(values: list[Any]) -> str:
    """The identity of the step that a record is of."""
    return str(values[3] if values[0] == Kind.LAUNCH else values[2])


def revive(run: Run, gone: Sequence[int]) -> None:
    """Records what is void, and has the run go on from there; called at the end of its past, still in the replay."""
    run.append(record(Kind.REVIVE, run.now_ms, "", _text(gone)))
    go_on(run)


def go_on(run: Run) -> None:
    """What the body waits for and nobody will settle any more is asked for again, under the same ids."""
    run.revivals += 1
    if run.has_children:
        for child in run.children.by_ref.values():
            if not child.is_settled and not child.given_up and not child.cancel_asked:
                ask_again(run, child)
    if run.has_questions:
        for question in run.questions.all():
            identity = f"input:{question.name}#{question.number}"
            if identity not in run.expected and not question.future.done():
                line = record(Kind.INPUT, run.now_ms, f"{identity}~{run.revivals}", question.name, question.kind)
                asked = ("a", question.name, question.head, question.payload)
                run.issue(f"{identity}~{run.revivals}", Entry("R", line, question=asked))


def _text(numbers: Sequence[int]) -> str:
    """Ascending numbers as ranges: `3,5-9`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _numbers(text: str) -> Iterator[int]:
    try:
        for piece in filter(None, text.split(",")):
            first, _, last = piece.partition("-")
            if not 0 <= int(last or first) - int(first) < 1_000_000:
                raise ValueError
            yield from range(int(first), int(last or first) + 1)
    except ValueError:
        raise CorruptPayload("a journal record of kind 'revive' cannot be read") from None


def forked(lines: Sequence[bytes], rename: Callable[[str], str], time_ms: int) -> list[bytes]:
    """The lines of another run's past as those of a new run; `rename` gives the new id of a child by its ref."""
    ids: dict[str, str] = {}
    found = [_renamed(raw, ids, rename) for raw in lines]
    return [*found, b"V%d" % time_ms, record(Kind.REVIVE, time_ms, "", "")]


def _renamed(raw: bytes, ids: dict[str, str], rename: Callable[[str], str]) -> bytes:
    if raw[:1] == b"M":
        message = parse_message(raw)
        if message.kind != "C" or message.key not in ids:
            return raw
        return b"%sC%s%s\n%s" % (message.head, message.letter.encode(), ids[message.key].encode(), message.payload)
    if raw[:1] != b"R":
        return raw
    values = parse_record(raw)
    if values[0] not in (Kind.CHILD, Kind.AWAIT, Kind.CANCEL):
        return raw
    if values[0] == Kind.CHILD:
        ids[values[3]] = rename(values[2].removeprefix("child:").partition("#")[0])
    values[3] = ids.get(values[3], values[3])
    return record(*values)
