"""Workers, clients and time, one call after the other: what they hold in memory may be old, what they do is lawful.

Every method is one thing that one of them does; its arguments are small numbers, of which it makes what fits: `pick(7,
runs)` is some run. So any numbers are a program, and fewer or smaller ones are a smaller one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.connection import Connection

from durable_async.codec.flat import unpack_flat
from durable_async.store.commands import NO_PARENT, Commit, NewRun, Standing
from durable_async.store.keys import Keys, queue_of
from durable_async.store.shared import shared_line
from durable_async.store.status import Answer
from durable_async.store.store import Store

from .lockstep import Lockstep
from .reference.keyspace import CLAIM_FIELDS, HOUR_MS, picked
from .reference.state import ACTIVE, Run, Stream

T0 = 1_700_000_000_000
T = TypeVar("T")
WORKERS = ("A", "B")
ROOTS = ("a", "b", "c")
LANES = ("q", "q", "q:5", "lim")
LIMITS = ("0 0 0 0", "1 0 0 0", "2 0 0 1", f"1 1 {HOUR_MS} 0", "1 0 0 1")
ENDS = ("completed", "failed", "cancelled", "compensated", "compensation_failed")
GRACE_MS = 500
PAGE = 3
"""Of messages and lines, so that a few are more than one."""


def pick(number: int, found: Sequence[T]) -> T | None:
    return found[number % len(found)] if found else None


@dataclass
class Copy:
    """What the owner of a run has in memory."""

    id: str
    worker: str
    epoch: int
    nonce: str
    entry: str
    known: list[bytes]
    """Messages that it has been told and not taken."""
    parent: tuple[str, str, str]
    lane: str
    gen: int
    attempt: int
    seq: int = 0
    seen: int = 0
    has_entered: bool = False

    def learn(self, messages: Sequence[bytes]) -> None:
        self.known += messages
        if messages:
            self.seen = int(messages[-1][1 : messages[-1].index(b" ")])


class LaggingStore(Store):
    """Callers that read what to declare, and are slow to say it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.is_late = False
        self.read: dict[str, Standing] = {}

    async def standing(self, id: str) -> Standing:
        is_late, self.is_late = self.is_late, False
        if is_late and id in self.read:
            return self.read[id]
        self.read[id] = await super().standing(id)
        return self.read[id]


@dataclass
class Actors:
    """Everybody who calls the store."""

    server: Connection
    loop: asyncio.AbstractEventLoop
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = Keys("lockstep")
        self.step = Lockstep(self.server, self.keys, **self.more)
        self.store = LaggingStore(self.step, self.keys, given_now=T0)
        self.copies: list[Copy] = []
        self.entries: list[tuple[str, str, str, str]] = []
        """Worker, stream, id of the entry, run: read, and not acked."""
        self.used: list[tuple[str, str, str]] = []
        self.count = 0
        for lane in sorted(set(LANES)):
            self._make_group(f"queue:{lane}")
        for worker in WORKERS:
            self.join(worker)

    def wait(self, call: Awaitable[T]) -> T:
        async def run() -> T:
            return await call

        return self.loop.run_until_complete(run())

    def run(self, method: Any, *args: Any, **more: Any) -> Any:
        replies: list[Any] = []
        method(*args, replies.append, **more)
        return replies[0]

    @property
    def now(self) -> int:
        return int(self.store.given_now)

    @property
    def runs(self) -> dict[str, Run]:
        return self.step.state.runs

    def some_run(self, number: int, *statuses: str) -> str | None:
        return pick(number, sorted(id for id, run in self.runs.items() if not statuses or run.status in statuses))

    def fresh(self) -> int:
        self.count += 1
        return self.count

    # ------------------------------------------------------------------ what is no script

    def _make_group(self, stream: str) -> None:
        key = self.keys.base + stream

        def made() -> None:
            self.step.model.state.streams.setdefault(stream, Stream()).has_group = True

        self.step.environment(
            f"{stream} is made", lambda: self.step.send("XGROUP", "CREATE", key, "workers", "0", "MKSTREAM"), made
        )

    def join(self, worker: str) -> None:
        """A live worker makes its own stream, and its heart beats."""
        if f"worker:{worker}" not in self.step.state.streams:
            self._make_group(f"worker:{worker}")

    def pass_time(self, ms: int) -> None:
        self.store.given_now = self.now + ms

    def read(self, worker: str, number: int, count: int = 1) -> list[tuple[str, str, str, str]]:
        """A worker reads its own stream, or a queue."""
        streams = [f"worker:{worker}", "queue:q:5", "queue:q", "queue:lim"]
        stream = streams[number % 4]
        known = self.step.state.streams.get(stream)
        if known is None or not known.has_group:
            return []
        key = self.keys.base + stream
        reply = self.step.environment(
            f"{worker} reads {stream}",
            lambda: self.step.send("XREADGROUP", "GROUP", "workers", worker, "COUNT", count, "STREAMS", key, ">"),
            lambda: self.step.model.read_stream(stream, worker, count),
        )
        found = [
            (worker, stream, entry_id.decode(), fields[0].decode() + fields[1].decode())
            for _, entries in reply or []
            for entry_id, fields in entries
        ]
        self.entries += found
        return found

    def doomed(self) -> list[tuple[str, str]]:
        """What has a time to live."""
        state = self.step.state
        kinds = {"runs": state.runs, "families": state.families, "shared": state.shared}
        return sorted(
            (kind, id) for kind, kept in kinds.items() for id, each in kept.items() if each.ttl_ms is not None
        )

    def expire(self, number: int) -> None:
        """Times to live are over: of a run, or of a list of children."""
        chosen = pick(number, self.doomed())
        if chosen is None:
            return
        kind, id = chosen
        model = self.step.model.state
        names, kept = {
            "runs": (("run", "journal"), (model.runs, model.journals)),
            "families": (("children",), (model.families,)),
            "shared": (("shared",), (model.shared,)),
        }[kind]

        def forget() -> None:
            for each in kept:
                each.pop(id, None)

        keys = [f"{self.keys.base}{name}:{id}" for name in names]
        self.step.environment(f"{kind} {id} expires", lambda: self.step.send("DEL", *keys), forget)

    # ------------------------------------------------------------------ starts

    def new(self, id: str, number: int, **more: Any) -> NewRun:
        """A run; the number says what is special about it."""
        lane = LANES[number % 4]
        values: dict[str, Any] = {
            "workflow": "w2" if number % 29 == 28 else "w", "queue": lane, "digest": b"\xff\x00" + b"d" * 14,
            "start": b"Sin\x00put\n\xff", "retention_ms": HOUR_MS * (1 + number % 3) if number % 13 else 0,
        }  # fmt: skip
        if number % 5 == 4:
            values["delay_ms"] = 1_000
        if number % 7 == 6:
            values["timeout_ms"] = 2_000
        if number % 3 == 2:
            values["key"] = "k"
        if number % 4 == 1:
            values["client"] = "C1"
        return NewRun(id, **{**values, **more})

    def start(self, number: int, shape: int) -> None:
        id = ROOTS[number % 3]
        token = f"t{shape % 5}" if shape % 3 == 0 else ""
        self.wait(self.store.start_run(self.new(id, shape, token=token)))

    def fork(self, number: int, shape: int) -> None:
        """Under an id that is new, as clients do; or one that may be in use, with no journal written before."""
        source = self.some_run(number)
        if source is None:
            return
        lines, more = self.step.state.journals[source].lines[:PAGE], ("gen", 2, "mail", 1, "taken", 1)
        # A past is whole: what it shares goes with another run.
        lines = [b"Swhole" if line[:1] == b"@" else line for line in lines]
        if shape % 2:
            run = self.new(f"f{self.fresh()}", shape, token=f"f{self.fresh()}", delay_ms=0)
            self.wait(self.store.fork_run(run, more, lines))
            return
        k, run = self.keys, self.new(ROOTS[shape % 3], shape, token="f", delay_ms=0)
        keys = (k.run(run.id), k.journal(run.id), k.queue(run.queue), k.timers, k.index)
        self.wait(self.store._call("fork_run", keys, (self.now, run.id, run.fields(more), run.token, 1, 0)))

    # ------------------------------------------------------------------ owners

    def work(self, worker: str, number: int, *, source: int) -> None:
        """A worker takes what it has read, or reads first."""
        mine = [entry for entry in self.entries if entry[0] == worker]
        entry = pick(number, mine) if mine and number % 3 else None
        entry = entry or pick(0, self.read(worker, source))
        if entry is None:
            return
        self.entries.remove(entry)
        self.take(entry, number)

    def take(self, entry: tuple[str, str, str, str], number: int, *, has_entered: bool = False) -> None:
        worker, stream, entry_id, what = entry
        letter, id = "W" if stream[0] == "w" else "Q", what[1:]
        if what[0] == "n":
            self.ack(stream, entry_id)
            return
        copy = next((c for c in reversed(self.copies) if c.id == id and c.worker == worker), None)
        run = self.runs.get(id)
        reply: list[Any]
        if copy and run and (copy.epoch, copy.nonce) == (run.epoch, run.nonce) and number % 4:
            named = [(id, letter + entry_id, copy.epoch, copy.nonce, copy.seq)]
            reply = self.run(
                self.store.resume_runs, named, entered=(queue_of(self._lane(id)) or "lim") if has_entered else ""
            )[1]
            if reply[0] == Answer.OK:
                copy.entry, copy.has_entered, copy.known = letter + entry_id, has_entered, []
                copy.learn(reply[1])
                return
            if reply[0] == Answer.RELOAD:
                reply = self._claim(worker, id, letter + entry_id, has_entered=has_entered)
        else:
            reply = self._claim(worker, id, letter + entry_id, has_entered=has_entered)
        if reply[0] in (Answer.STALE, Answer.GONE):
            self.wait(self.store.release_entry(id, self.keys.base + stream, self._lane(id), letter + entry_id))
        elif reply[0] == Answer.POISON:
            self.wait(self.store.settle_run(id, "poison", "failed", b"poison", bound=1))
        elif reply[0] == Answer.HELD and reply[2] == b"l" and not has_entered:
            self._enter(entry, letter, id, number, reply[1].decode())
        elif reply[0] == Answer.HELD:
            self.wait(self.store.release_entry(id, self.keys.base + stream, self._lane(id), letter + entry_id))

    def _lane(self, id: str) -> str:
        return self.runs[id].lane if id in self.runs else "q"

    def _enter(self, entry: tuple[str, str, str, str], letter: str, id: str, number: int, lane: str) -> None:
        _, stream, entry_id, _ = entry
        queue = queue_of(lane) or "lim"
        reply = self.run(self.store.enter_queue, id, self.keys.base + stream, queue, letter + entry_id)
        if reply[0] == Answer.OK:
            self.take(entry, number, has_entered=True)
        elif reply[0] == Answer.HELD:
            self.wait(self.store.release_entry(id, self.keys.base + stream, lane, letter + entry_id))

    def _claim(self, worker: str, id: str, entry: str, *, has_entered: bool = False, nonce: str = "") -> list[Any]:
        is_late, nonce = nonce != "", nonce or f"n{self.fresh()}"
        entered = (queue_of(self._lane(id)) or "lim") if has_entered else ""
        reply: list[Any] = self.run(self.store.claim_runs, worker, nonce, 2, [(id, entry)], entered=entered)[1]
        # Nobody listens to the answer of a claim whose first one came.
        if reply[0] == Answer.OK and not is_late:
            told = picked(CLAIM_FIELDS, unpack_flat(reply[2]))
            parent = (told["parent"], told["hint"], told["parent_lane"]) if told.get("parent") else NO_PARENT
            copy = Copy(
                id, worker, reply[1], nonce, entry, [], parent, told["lane"], told["gen"], told["attempt"],
                has_entered=has_entered,
            )  # fmt: skip
            copy.learn(reply[5])
            self.copies.append(copy)
        return reply

    def claim(self, worker: str, number: int, which: int) -> None:
        """Any entry that was ever named, under any nonce."""
        id = self.some_run(number)
        if id is None:
            return
        named = [(c.entry, c.worker) for c in self.copies if c.id == id]
        entry = self.runs[id].entry
        named += [(entry if entry[:1] in ("Q", "W") else "Q0-1", self.runs[id].owner or worker)]
        entry, owner = named[-1 - which % len(named)]
        known = [c for c in self.copies if c.id == id]
        nonce = known[-1].nonce if known and which % 2 else ""
        if nonce:
            # A late request is that of whose nonce it has.
            entry, owner = known[-1].entry, known[-1].worker
        elif entry[0] != "W":
            # Nobody else reads a worker's own stream.
            owner = worker
        self._claim(owner, id, entry, nonce=nonce, has_entered=which % 3 == 0)

    def commit(self, number: int, want: str, shape: int, extra: int) -> None:
        """The owner's next commit, mostly of a run that is running. `shape`: what it takes and records; `extra`: what
        it asks for."""
        live = [c for c in self.copies if self._is_current(c)]
        copy = pick(number, live if live and number % 5 else self.copies)
        if copy is None:
            return
        n_taken = min(shape % 4, len(copy.known)) if shape % 3 else len(copy.known)
        self._send_commit(copy, want, n_taken, shape, extra)

    def _send_commit(self, copy: Copy, want: str, n_taken: int, shape: int = 0, extra: int = 0) -> None:
        lines = [
            ("D" if shape & 16 and at % 2 else "T", message[: message.index(b" ", message.index(b" ") + 1) + 1])
            for at, message in enumerate(copy.known[:n_taken])
        ]
        lines += [("R", b"R\x00\xff%d" % self.fresh())] * (shape % 2)
        commit = Commit(
            copy.id, copy.epoch, copy.nonce, copy.seq + 1, copy.entry, want, lines, payload=b"out\n\x00\xff",
            parent=copy.parent, seen=copy.seen, slot_of=queue_of(copy.lane) if copy.has_entered else "",
        )  # fmt: skip
        if want == "block":
            # Whatever the body did is not to be trusted: nothing of it is recorded.
            n_taken, commit.lines = 0, []
        else:
            self._ask(copy, commit, extra)
        self._want(copy, commit, shape)
        reply = self.run(self.store.commit_run, commit)
        if reply[0] == Answer.RETRY:
            # Not stored, though it was thought to be.
            commit.stored = frozenset()
            reply = self.run(self.store.commit_run, commit)
        if reply[0] == Answer.FENCED:
            return
        copy.seq += 1
        del copy.known[:n_taken]
        copy.learn(reply[2])
        if reply[0] != Answer.OK:
            self._settle(copy)

    def _is_current(self, copy: Copy) -> bool:
        run = self.runs.get(copy.id)
        return run is not None and (run.epoch, run.nonce, run.status) == (copy.epoch, copy.nonce, "running")

    def _settle(self, copy: Copy) -> None:
        """Acked a tick later: until then it is garbage."""
        stream = f"worker:{copy.worker}" if copy.entry[0] == "W" else f"queue:{copy.lane}"
        if self.fresh() % 2 and copy.entry[1:] in self.step.state.streams.get(stream, Stream()).entries:
            self.ack(stream, copy.entry[1:])

    def ack(self, stream: str, entry_id: str) -> None:
        self.run(self.store.ack_entries, self.keys.base + stream, [entry_id])

    def _ask(self, copy: Copy, commit: Commit, extra: int) -> None:
        """Children, awaits, walks and questions."""
        state, id = self.step.state, copy.id
        if extra & 1 and id.count("/") < 2:
            for ref in "xy"[: 1 + extra % 2]:
                shape = extra // 2
                mode = "k" * (shape & 1) + "c" * (self.runs[id].cancel_at > 0 if id in self.runs else 0)
                child = self.new(
                    f"{id}/{ref}", shape, parent=id, ref=ref, hint=copy.worker, parent_queue=copy.lane,
                    depth=id.count("/") + 1, notify=shape & 2 > 0, leaves=shape & 4 > 0, parent_gen=copy.gen,
                    client="",
                )  # fmt: skip
                known = self.runs.get(child.id)
                # Within a life it is called once: whoever waits for it goes on to.
                child.notify |= known is not None and known.notify and known.parent_gen == copy.gen
                child.mode = mode + "v" * (":" in child.queue)
                commit.children.append(child)
                commit.lines.append(("R", b"Rchild " + child.id.encode()))
            if extra & 4:
                # As large inputs are.
                commit.shared = {child.digest: b"in\x00put\n\xff" for child in commit.children}
                commit.stored = frozenset(commit.shared) if extra & 128 else frozenset()
                for child in commit.children:
                    child.start = shared_line(id, child.digest)
        listed = sorted(state.families[id].numbers) if id in state.families else []
        if extra & 8:
            commit.awaits += [child for child in listed[:1] if child not in [c.id for c in commit.children]]
        if extra & 16:
            commit.walks += [("c" + child, b"given up") for child in listed[-1:]]
        if extra & 32:
            number = self.fresh()
            name = f"n{extra % 2}"
            due = "-" if extra % 3 else self.now + 700
            commit.questions.append(("a", name, f"{number} {self.now} {due}\n", b"what"))
        elif extra & 64 and (asked := self._open_questions(id)):
            name, head = asked[0]
            commit.questions.append(("x" if extra % 3 else "c", name, head, b"told " + name.encode()))

    def _open_questions(self, id: str) -> list[tuple[str, str]]:
        """Name and head of each."""
        asked = self.step.state.questions.items()
        found = [(member.partition("\n"), question.partition(b"\n")[0].decode() + "\n") for member, question in asked]
        return sorted((name, head) for (run, _, name), head in found if run == id)

    def _want(self, copy: Copy, commit: Commit, shape: int) -> None:
        """What it wants, and what goes with that."""
        run = self.runs.get(copy.id, Run())
        if commit.want == "park":
            commit.due_ms = self.now + 100 * (shape % 8) if shape % 2 else None
            awaited = [c.id for c in commit.children if c.notify] + commit.awaits
            awaited += [
                id for id, r in self.runs.items() if r.parent == copy.id and r.notify and r.parent_gen == copy.gen
            ]
            active = [id for id in dict.fromkeys(awaited) if id not in self.runs or self.runs[id].status in ACTIVE]
            commit.sets = ["waiting", ", ".join(f"child {id}" for id in active)]
        elif commit.want == "block":
            commit.sets = ["waiting", "code: changed"]
        elif commit.want == "go":
            commit.sets = ["context", b"\x91\xc0\xff"] if shape & 8 else []
            if shape % 23 == 22:
                commit.sets = ["saga", "undoing" if run.saga else "pending"]
        else:
            # The last word about a question is the owner's.
            asked = dict(self._open_questions(copy.id))
            asked.update((name, head) for letter, name, head, _ in commit.questions if letter == "a")
            commit.questions += [("c", name, head, b"") for name, head in asked.items()]
            if commit.want == "renew":
                commit.due_ms = f"{300 * (shape % 2)} {2_000 if shape % 5 == 4 else 0}"
                commit.queue, commit.payload = copy.lane, b"Sagain"
                commit.sets = ["gen", copy.gen + 1, "attempt", copy.attempt + 1]
                commit.lines.append(("N", b"Rcarried over"))

    def release(self, number: int, shape: int) -> None:
        """A drain, a hand-back, or a reaper's finding."""
        copy, delay_ms = pick(number, self.copies), 300 * (shape % 2)
        waiting = "an unknown workflow" if delay_ms else ""
        if copy is not None and shape % 3:
            lane = self._lane(copy.id)
            source = self.store.source_key(copy.entry, copy.worker, lane)
            epoch = copy.epoch if shape % 4 else None
            self.wait(
                self.store.release_entry(
                    copy.id, source, lane, copy.entry, epoch=epoch, delay_ms=delay_ms, waiting=waiting
                )
            )
        elif entry := pick(number, self.entries):
            self.reap(entry)

    def reap(self, entry: tuple[str, str, str, str]) -> None:
        """What a dead worker held goes back."""
        _, stream, entry_id, what = entry
        self.entries.remove(entry)
        letter = "W" if stream[0] == "w" else "Q"
        if what[0] == "n":
            self.ack(stream, entry_id)
        else:
            lane = self._lane(what[1:])
            self.wait(
                self.store.release_entry(what[1:], self.keys.base + stream, lane, letter + entry_id, is_crash=True)
            )
