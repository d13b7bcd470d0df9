"""One run in memory: feed it outcomes and messages, take its turns.

A `Run` owns the deterministic loop on which the body executes. Everything that happens to the body comes in through
`feed_message`, `step_returned`, `step_failed` and `tick`, each of which appends what the journal must hold *before* it
lets the body go on; everything the body wants leaves through `take_turn`. Replay feeds the journal through the same
code: what the body asks for is then matched against the records instead of being asked for again.

It must not know Redis, a clock or the outer loop. Times come with what is fed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from durable_async.codec import Codec, convert
from durable_async.codec.lines import pack_line
from durable_async.engine.asking import Questions
from durable_async.engine.children import Children
from durable_async.engine.closing import live, time_out
from durable_async.engine.events import Mailbox
from durable_async.engine.loop import DeterministicLoop
from durable_async.engine.messages import give, wants
from durable_async.engine.records import (
    MAX_TIME_MS,
    UNKNOWN,
    Entry,
    Kind,
    Message,
    Outcome,
    Turn,
    Want,
    parse_message,
    record,
)
from durable_async.engine.renewal import Past, Renewal, renewal_turn
from durable_async.engine.replaying import replay
from durable_async.engine.saga import Saga
from durable_async.engine.spec import RunIdentity, StepCall, WorkflowSpec
from durable_async.engine.stepping import Steps
from durable_async.engine.waiting import describe
from durable_async.errors import CorruptPayload
from durable_async.types import Limits

EFFECTS_PER_COMMIT = 64
"""Children created or cancelled by one commit at most: a script's work is bounded, the rest goes with the next."""


NO_CONTEXT: dict[str, bytes] = {}
"""Of most runs: never written to. A parked run is to be small."""
NOTHING: dict[str, Entry] = {}
"""What is expected while nothing is replayed: never written to."""


class Run:
    """One run of a workflow, resident in memory."""

    __slots__ = (
        "_children",
        "_list",
        "_questions",
        "_replaying",
        "_saga",
        "_waiting_shown",
        "body",
        "cancel_seen",
        "cancelled_ms",
        "codec",
        "context",
        "context_dirty",
        "continuation",
        "corrupt",
        "counters",
        "events",
        "expected",
        "failure",
        "fed",
        "identity",
        "is_ending",
        "journal_bytes",
        "journal_entries",
        "late",
        "limits",
        "loop",
        "outcome",
        "overrun",
        "past",
        "pasts",
        "patches",
        "position",
        "progress",
        "renewal",
        "revivals",
        "spec",
        "start_line",
        "steps",
    )

    def __init__(
        self,
        spec: WorkflowSpec,
        identity: RunIdentity,
        codec: Codec,
        limits: Limits,
        around: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.spec = spec
        self.identity = identity
        self.codec = codec
        self.limits = limits
        self.loop = DeterministicLoop(identity.started_ms / 1000, seed=crc32(identity.id.encode()), around=around)
        self.loop.owner = self
        self._children: Children | None = None
        self._saga: Saga | None = None
        self._questions: Questions | None = None
        self.events = Mailbox()
        self.steps = Steps(self)
        self.context = NO_CONTEXT
        self.context_dirty = False
        self.progress: bytes | None = None
        """What `progress` said last and the record does not hold yet."""
        self.counters: dict[str, int] = {}
        self.outcome: Outcome | None = None
        self.past: Iterator[bytes] | None = None
        """While it is replayed: the lines that are still to be fed."""
        self.patches: dict[str, bool] | None = None
        self.failure: BaseException | None = None
        self.revivals = 0
        """How often it was taken up again after a failure, in this life."""
        self.renewal: Renewal | None = None
        """Set with an outcome that is no end: another life of this run begins."""
        self.continuation: bytes | None = None
        self.pasts: tuple[Past, ...] = ()
        self.start_line = b""
        self.position = 0
        self.journal_entries = 0
        self.journal_bytes = 0
        self._list: list[Entry] = []
        self.expected = NOTHING
        self._replaying = False
        self.is_ending = False
        self.overrun = ""
        self.late = ""
        self.cancel_seen: str | None = None
        self.cancelled_ms = 0
        self.fed = 0
        self._waiting_shown = ""
        self.body: asyncio.Task[Any] | None = None
        self.corrupt: CorruptPayload | None = None
        """Set if the body asked for something stored that cannot be read: whatever it makes of that does not count."""

    # ------------------------------------------------------------------ life

    def begin(self, start: bytes, *, has_past: bool, position: int = 1) -> None:
        """Starts the body from the first line of its journal; `has_past` if `replay` follows, from this line on."""
        self._replaying = has_past
        if has_past:
            self.expected = {}
        self.position = position
        self.grown(start)
        if self.spec.retry is not None:
            self.start_line = start
        payload = start[1:]
        self.body = self.loop.create_task(live(self, payload), name="body")
        if self.identity.deadline_ms is not None:
            self.loop.call_at(self.identity.deadline_ms / 1000, time_out, self)
        self.loop.run_ready()

    @property
    def is_over_time(self) -> bool:
        """Whether the run's own timeout has elapsed; the body has been told by a cancel."""
        return bool(self.late)

    def abandon(self) -> None:
        """Drops the run from memory: its coroutines are closed, and nothing they still do is durable."""
        self.loop.abandon()
        # Its parts know it: with these ties cut it is freed at once, not when the garbage collector looks.
        self.loop.owner = None
        self.steps.disconnect()
        if self._saga is not None:
            self._saga.disconnect()

    @property
    def children(self) -> Children:
        """The run's children; made at the first use, since most runs have none."""
        if self._children is None:
            self._children = Children()
        return self._children

    @property
    def has_children(self) -> bool:
        """Whether the body has asked for any child."""
        return self._children is not None

    @property
    def saga(self) -> Saga:
        """What is to be undone; made at the first use."""
        if self._saga is None:
            self._saga = Saga(self)
        return self._saga

    @property
    def has_saga(self) -> bool:
        """Whether there has been anything to undo."""
        return self._saga is not None

    @property
    def is_unwinding(self) -> bool:
        """Whether compensations have begun."""
        return self._saga is not None and self._saga.is_unwinding

    @property
    def is_cleaning_up(self) -> bool:
        """Whether what is started now is started because the run ends: a cancel of the run does not reach it."""
        return self.cancel_seen is not None or self.is_unwinding

    @property
    def questions(self) -> Questions:
        """What the run asks people; made at the first use, since most runs ask nothing."""
        if self._questions is None:
            self._questions = Questions()
        return self._questions

    @property
    def has_questions(self) -> bool:
        """Whether the body has asked anybody."""
        return self._questions is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the body has been told of a cancel."""
        return self.cancel_seen is not None

    @property
    def cancel_reason(self) -> str:
        """Why the run was cancelled; empty if it was not."""
        return self.cancel_seen or ""

    @property
    def now_ms(self) -> int:
        """Durable time: of the last thing fed, in milliseconds by the server's clock."""
        return round(self.loop.time() * 1000)

    @property
    def is_replaying(self) -> bool:
        """Whether the body is being shown its past."""
        return self._replaying

    # ------------------------------------------------------------------ feeding

    def feed_messages(self, raws: Iterable[bytes]) -> None:
        """Takes or drops messages from the inbox, each once, in the order of their numbers."""
        for raw in raws:
            message = parse_message(raw)
            if message.number > self.fed:
                self.fed = message.number
                self._feed_live(message, raw)

    def _feed_live(self, message: Message, raw: bytes) -> None:
        self._pass_timers(message.time_ms)
        if not wants(self, message):
            self._list.append(Entry("D", message.head))
            return
        self._list.append(Entry("T", message.head))
        self.grown(raw)
        give(self, message)

    def step_returned(self, call: StepCall, value: object, now_ms: int, duration_ms: int) -> None:
        """A step attempt returned. Ignored if the body has given the step up."""
        # A timer that was due by then may be what gives the step up.
        if self.steps.is_current(call) and (not self._pass_timers(now_ms) or self.steps.is_current(call)):
            self.steps.returned(call, value, now_ms, duration_ms)
            self.loop.run_ready()

    def step_failed(self, call: StepCall, error: BaseException, now_ms: int, duration_ms: int, spread: float) -> None:
        """A step attempt raised; `spread` is a random number in 0..1 for the jitter of its back-off."""
        if self.steps.is_current(call) and (not self._pass_timers(now_ms) or self.steps.is_current(call)):
            self.steps.failed(call, error, now_ms, duration_ms, spread)
            self.loop.run_ready()

    def tick(self, now_ms: int) -> None:
        """Lets time pass, if a timer is due by then."""
        self._pass_timers(now_ms)

    def _pass_timers(self, now_ms: int) -> bool:
        """Fires what was due by then; whether anything was."""
        if not self.loop.has_timers:
            return False
        # Time moves only through what is journaled: a record of its own, if timers fire because of it.
        due_ms = self.next_due_ms()
        if due_ms is not None and due_ms <= now_ms and self.outcome is None:
            self.append(record(Kind.TICK, now_ms, ""))
            self.advance(now_ms)
            return True
        return False

    def advance(self, time_ms: int) -> None:
        """Moves durable time, firing what is due by then; only through what is journaled."""
        # A due time rounded to a millisecond may lie a hair before the timer it stands for.
        self.loop.advance(time_ms / 1000 + 1e-6)

    def next_due_ms(self) -> int | None:
        """When the earliest timer of the body is due, by the server's clock."""
        due = self.loop.next_due()
        # `sleep(math.inf)` and what comes close: it never comes.
        return None if due is None or due * 1000 > MAX_TIME_MS else math.ceil(due * 1000 - 1e-3)

    # ------------------------------------------------------------------ what the body asks for

    def append(self, raw: bytes) -> None:
        """A record of something that happened to the run."""
        self.grown(raw)
        self._list.append(Entry("R", raw))

    def put(self, entry: Entry) -> Entry:
        """As `append`, with an effect."""
        self.grown(entry.value)
        self._list.append(entry)
        return entry

    def issue(self, identity: str, entry: Entry) -> None:
        """A record of something the body asked for, with its effect; in a replay it is only expected."""
        if self._replaying:
            self.expected[identity] = entry
        else:
            self.grown(entry.value)
            self._list.append(entry)

    def count(self, name: str) -> int:
        """The number of this use of a name in the run, from 1: deterministic, because the loop is."""
        number = self.counters.get(name, 0) + 1
        self.counters[name] = number
        return number

    def grown(self, raw: bytes) -> None:
        """Counts a line of the journal against the limits."""
        self.journal_entries += 1
        self.journal_bytes += len(raw)
        if self.journal_entries > self.limits.journal_entries or self.journal_bytes > self.limits.journal_bytes:
            self._stop_growing()

    def _stop_growing(self) -> None:
        if not self.overrun and self.body is not None and not self.is_ending:
            self.overrun = (
                f"the journal of run {self.identity.id} has {self.journal_entries} records and {self.journal_bytes} "
                "bytes, more than its limits allow; split the work into children"
            )
            self.body.cancel("the journal is full")

    # ------------------------------------------------------------------ replay

    def replay(self, journal: Iterable[bytes]) -> None:
        """Feeds a page of the journal, after its first line.

        Raises:
            NonDeterministicReplay: if the code does not ask for what is recorded.
            CorruptPayload: if a line cannot be read.
        """
        replay(self, journal)

    def replayed(self) -> None:
        """The journal is over: what the body asked for and no record holds goes out with the next commit."""
        self._replaying = False
        for entry in self.expected.values():
            self.grown(entry.value)
            self._list.append(entry)
        self.expected = NOTHING
        self.steps.replayed()

    # ------------------------------------------------------------------ turns

    def has_news(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._list) or self.outcome is not None or self.context_dirty

    def take_turn(self) -> Turn:
        """What to commit now; the caller has no other call of this run outstanding."""
        entries = self._cut()
        busy = bool(self._list) or self.steps.is_busy()
        sets: list[Any] = [] if self._saga is None else self._saga.take_sets()
        if self.context_dirty:
            self.context_dirty = False
            sets += ["context", self.pack_context()]
        if self.progress is not None:
            sets += ["progress", self.progress]
            self.progress = None
        if self.renewal is not None and not self._list:
            turn = renewal_turn(self, self.renewal, entries)
            turn.sets += sets
            return turn
        if self.outcome is not None and not self._list:
            return Turn(entries, self.outcome.status, self.outcome.payload, None, sets)
        if busy:
            return Turn(entries, Want.GO, b"", None, sets)
        if self.has_children:
            self.children.rest()
        self.loop.rest()
        waiting = describe(self)
        if waiting != self._waiting_shown:
            self._waiting_shown = waiting
            sets += ["waiting", waiting]
        return Turn(entries, Want.PARK, b"", self.next_due_ms(), sets)

    def _cut(self) -> list[Entry]:
        effects = 0
        for at, entry in enumerate(self._list if len(self._list) > EFFECTS_PER_COMMIT else ()):
            if entry.has_effect:
                effects += 1
                if effects > EFFECTS_PER_COMMIT:
                    cut, self._list = self._list[:at], self._list[at:]
                    return cut
        cut, self._list = self._list, []
        return cut

    def pack_context(self) -> bytes:
        """The published context as stored in the record."""
        return pack_line([[key, value] for key, value in self.context.items()])

    def decode(self, payload: bytes, annotation: Any, what: str, was: object = UNKNOWN) -> Any:
        """A stored value as its annotated type; the same on the first run and on replay. `was` is what has just been
        encoded, if it has."""
        if type(was) in self.codec.unchanging:
            return convert(was, annotation, what)
        try:
            plain = self.codec.decode(payload, limit=2 * self.limits.payload)
        except CorruptPayload as error:
            self.corrupt = CorruptPayload(f"{what}: {error}")
            raise self.corrupt from None
        return convert(plain, annotation, what)
