"""One program that checks a store against a ledger kept outside it: `check_invariants(store, ledger)`.

Also from the command line: ``python -m tests.faults.invariants URL LEDGER``. It is meant for a namespace at rest: every
client has its answer, every worker has left, the dead have been reaped. What it checks, by the numbers of the design:

* I1 every id for which `start()` returned has a record, and it is terminal.
* I2 a terminal run has one outcome that is not void, its last line, of its status; nothing any observer or client saw
  of it differs.
* I3 a journal is append-only: what an observer saw of it is a prefix of what there is. It begins with its start;
  message numbers rise; takes never exceed what was delivered.
* I4 a step has one recorded outcome; its code began more often than there are recorded attempts only with a fault (or a
  declared cancel of the run) between two beginnings.
* I5 every nonce that a later step was given is the recorded one of the earlier step.
* I6 a child is unique per parent and ref: one record of its creation in a life of its parent, and one of each time it
  was run again; listed once; its own record says the same.
* I7 an accepted event is in its run's journal at most once, is consumed at most once, and the order of consumption is
  the order of the journal (of a run that lives its first life: what went over from one to the next has no message).
* I8 no parked run has a message in its inbox, and none is parked on a child that has ended.
* I9 a sleep lasted as long as was asked by durable time, and no line of a journal is later than the server's clock.
* I10 below a cancelled run nothing is active; no child was created after its parent had ended; a run whose cancel was
  promised is `cancelled`.
* I11 epochs never went back for any observer, and no journal changed under a lower one.
* I12 a ready or running run has the entry its record names, no other run names one.
* I13 nothing is pending or queued, no timer, no walk, no inbox of an ended run, no place in a limited queue.
* I14 every key is of a documented kind, and all that belong to ended trees have a time to live.
* I15 no run was claimed more often in a row than the crash limit.
* I16 results are what the ledger says they must be.
* I17 the index lists the runs there are, and no others.
* I18 no canary of the ledger stands in the logs handed over.
* I20 is measured, not judged: `recoveries`.

Left out: quarantine and status counters (of I2, I15 and I17; no such features yet); memory (of
I14; a measurement, for benchmarks); I19 (tests/lua/test_error_atomicity.py holds every script to it).
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis

from durable_async import Codec, MsgpackCodec
from durable_async.codec.lines import unpack_line
from durable_async.store.keys import Keys

from .book import Book
from .snapshot import TERMINAL, Run, Snapshot, take

KINDS = ("run", "journal", "inbox", "children", "shared", "queue", "worker", "client", "schedule", "starts")
PLACES = ("room", "behind", "slots", "tally")
"""Kinds of keys that are there while runs wait for a limited queue or have a place in it."""
CRASH_LIMIT = 5
CLOCK_SLACK_MS = 50
"""Between two readings of one clock, by the server and by us."""
Found = Iterator[str]


class Check:
    """A store at rest, and the ledger, by subject."""

    def __init__(self, snap: Snapshot, book: Book, codec: Codec | None = None) -> None:
        self.snap = snap
        self.runs = snap.runs
        self.lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in book.lines():
            self.lines[line["kind"]].append(line)
        self.codec = codec if codec is not None else MsgpackCodec()
        self.steps: dict[tuple[str, str], list[str]] = defaultdict(list)
        """The recorded nonces of each step."""
        self.attempts: Counter[tuple[str, str]] = Counter()
        for run in snap.runs.values():
            for kind, _, identity, *rest in run.records():
                if kind == "attempt":
                    self.attempts[run.id, identity.partition(":")[2].partition("#")[0]] += 1
                if kind == "step" and rest[2]:
                    value = self.codec.decode(rest[3])
                    if isinstance(value, dict) and "nonce" in value:
                        self.steps[run.id, value["step"]].append(value["nonce"])

    def problems(self) -> Found:
        """Everything that is not as it must be."""
        for name in sorted(n for n in dir(self) if n[0] == "i" and n[1:].isdigit()):
            for problem in getattr(self, name)():
                yield f"{name.upper()}: {problem}"

    # ------------------------------------------------------------------ runs and journals

    def i01(self) -> Found:
        for id in dict.fromkeys(line["id"] for line in self.lines["start"]):
            run = self.runs.get(id)
            if run is None:
                yield f"run {id} was acknowledged and is not there"
        for run in self.runs.values():
            if not run.is_terminal:
                yield f"run {run.id} has not ended: {run.record}"

    def i02(self) -> Found:
        for run in self.runs.values():
            ends = [line for line in run.journal if line[:1] == b"Z"]
            voids = sum(line[:1] == b"V" for line in run.journal)
            if len(ends) != run.is_terminal + voids:
                yield f"run {run.id} is {run.status} and has {len(ends)} outcomes, {voids} of them void"
            end = run.outcome()
            if run.is_terminal and (end is None or end[1] != run.status):
                yield f"run {run.id} is {run.status}, its last line says {end}"
        for line in self.lines["result"]:
            run = self.runs.get(line["id"])
            if run is not None and run.status != line["status"]:
                yield f"a client saw {line['id']} end as {line['status']}, it is {run.status}"

    def i03(self) -> Found:
        for run in self.runs.values():
            if not run.journal or run.journal[0][:1] not in (b"S", b"@"):
                yield f"the journal of {run.id} does not begin with its start"
            numbers = [number for number, _, _ in run.messages()]
            if numbers != sorted(set(numbers)):
                yield f"messages of {run.id} were taken in the order {numbers}"
            if run.number("taken") > run.number("mail") or (numbers and numbers[-1] > run.number("mail")):
                yield f"run {run.id} took {run.number('taken')} of {run.number('mail')} messages"
        for line in self.lines["seen"]:
            run = self.runs.get(line["id"])
            if run is not None and digest(run.journal[: line["length"]]) != line["digest"]:
                yield f"the first {line['length']} lines of the journal of {run.id} have changed"

    def i04(self) -> Found:
        for run in self.runs.values():
            done = Counter(identity for kind, _, identity, *_ in run.records() if kind == "step")
            for identity, count in done.items():
                if count > 1:
                    yield f"step {identity} of {run.id} has {count} outcomes"
        faults = [(line["t"], line.get("until", line["t"])) for line in self.lines["fault"]]
        cancelled = {line["id"] for line in self.lines["cancel"]}
        for (id, step), begins in self._begins().items():
            spare = self.attempts[id, step]
            for first, second in pairwise(begins):
                if any(began <= second and first <= until for began, until in faults):
                    continue
                if spare > 0:
                    spare -= 1
                elif id.partition("/")[0] not in cancelled:
                    yield f"step {step} of {id} ran again after {second - first:.3f} s without a fault"

    def _begins(self) -> dict[tuple[str, str], list[float]]:
        begins = defaultdict(list)
        for line in self.lines["begin"]:
            begins[line["run"], line["step"]].append(line["t"])
        return begins

    def i05(self) -> Found:
        for line in self.lines["got"]:
            recorded = self.steps[line["run"], line["step"]]
            if [line["nonce"]] != recorded:
                yield f"{line['by']} of {line['run']} was given {line['nonce']} of {line['step']}, recorded: {recorded}"

    def i06(self) -> Found:
        for run in self.runs.values():
            kinds = ("child", "spawn")
            made = [(identity, rest[0]) for kind, _, identity, *rest in run.records() if kind in kinds]
            first = [child for identity, child in made if "#" not in identity]
            for what, names in (("identities", [i for i, _ in made]), ("ids", first)):
                if len(set(names)) != len(names):
                    yield f"run {run.id} created children of the same {what}: {names}"
            listed = [child for child, _ in run.children]
            is_first = run.number("gen") <= 1
            matches = set(listed) == set(first) if is_first else set(listed) >= set(first)
            # A child that is run again is numbered again.
            if not matches or len(set(listed)) != len(listed) or (is_first and len(made) != run.number("kids")):
                yield f"run {run.id} lists {listed}, its journal says {made}, its record {run.number('kids')}"
            scores = [score for _, score in run.children]
            if scores != sorted(set(scores)) or (scores and scores[-1] > run.number("kids")):
                yield f"run {run.id} numbers its children {run.children}"
            for child in listed:
                record = self.runs[child].record if child in self.runs else {}
                if record.get("parent") != run.id or child != f"{run.id}/{record.get('ref')}":
                    yield f"child {child} of {run.id} has the record {record}"

    # ------------------------------------------------------------------ messages and time

    def i07(self) -> Found:
        consumed: dict[str, list[str]] = defaultdict(list)
        for line in self.lines["consumed"]:
            if line["event"] not in consumed[line["run"]]:
                consumed[line["run"]].append(line["event"])
        for id, run in self.runs.items():
            taken = [self.payload_of(body) for _, _, body in run.messages() if body[:1] == b"E"]
            for line in self.lines["event"]:
                if line["id"] == id:
                    count = sum(line["event"].encode() in body for body in taken)
                    if count > 1:
                        yield f"event {line['event']} is {count} times in the journal of {id}"
            if run.number("gen") > 1:
                continue
            order = [next((i for i, body in enumerate(taken) if e.encode() in body), -1) for e in consumed[id]]
            if order != sorted(set(order)) or -1 in order:
                yield f"run {id} consumed {consumed[id]}, its journal has {taken}"

    def payload_of(self, event: bytes) -> bytes:
        """What an event says, as bytes in which it can be searched for."""
        name, payload = unpack_line(event[1:])
        return repr((name, self.codec.decode(payload))).encode()

    def i08(self) -> Found:
        for run in self.runs.values():
            if run.status == "parked" and run.inbox:
                yield f"run {run.id} is parked with {len(run.inbox)} messages"
            for child, _ in run.children:
                kid = self.runs.get(child)
                if run.status == "parked" and kid and kid.is_terminal and kid.record.get("notify") == "1":
                    told = any(body[2:].startswith(child.encode() + b"\n") for _, _, body in run.messages())
                    if not told:
                        yield f"run {run.id} is parked and was not told of {child}"

    def i09(self) -> Found:
        for line in self.lines["slept"]:
            if line["slept"] < line["asked"] - 0.001:
                yield f"run {line['run']} slept {line['slept']} s instead of {line['asked']}"
        for run in self.runs.values():
            times = [values[1] for values in run.records()] + [t for _, t, _ in run.messages()]
            if times and max(times) > self.snap.now_ms + CLOCK_SLACK_MS:
                yield f"the journal of {run.id} is of the future: {max(times)}"

    # ------------------------------------------------------------------ trees

    def i10(self) -> Found:
        # After the clock went back, an end has an earlier time than what came before it.
        has_order = all(line["offset_s"] >= 0 for line in self.lines["clock"])
        for run in self.runs.values():
            parent = self.runs.get(run.record.get("parent", ""))
            if parent is None or not parent.is_terminal:
                continue
            if parent.status == "cancelled" and not run.is_terminal:
                yield f"run {run.id} is {run.status} below {parent.id}, which is cancelled"
            if has_order and run.number("created") > parent.number("finished"):
                yield f"run {run.id} was created after its parent had ended"
        for line in self.lines["cancel"]:
            if line["did"] and self.runs[line["id"]].status != "cancelled":
                yield f"run {line['id']} was promised to be cancelled and is {self.runs[line['id']].status}"

    def i11(self) -> Found:
        highest: dict[str, tuple[int, int]] = {}
        for line in self.lines["seen"]:
            epoch, length = highest.get(line["id"], (0, 0))
            if line["epoch"] < epoch or line["length"] < length:
                yield f"run {line['id']} went back from epoch {epoch}, {length} lines, to {line}"
            highest[line["id"]] = line["epoch"], line["length"]

    def i12(self) -> Found:
        for run in self.runs.values():
            entry = run.record.get("entry", "")
            if run.status not in ("ready", "running"):
                if entry:
                    yield f"run {run.id} is {run.status} and names the entry {entry}"
                continue
            worker, queue = run.record.get("owner", ""), run.record.get("queue", "")
            # Let in into a limited queue, it is in the stream of priority 0.
            streams = [f"worker:{worker}"] if entry[:1] == "W" else [f"queue:{queue}", f"queue:{queue.split(':')[0]}"]
            if not any(entry[1:] in self.snap.entries.get(stream, ()) for stream in streams):
                yield f"run {run.id} is {run.status} without the entry it names ({entry})"

    def i13(self) -> Found:
        for name, (length, pending) in self.snap.streams.items():
            if length or pending:
                yield f"stream {name} holds {length} entries, {pending} of them pending"
        for member in self.snap.timers:
            yield f"timer {member} is left"
        for item in self.snap.walks:
            yield f"walk {item} is left"
        for name, ttl in self.snap.ttls.items():
            if name.partition(":")[0] in PLACES or (name.startswith("starts:") and ttl == -1):
                yield f"{name} of a limited queue is left"
        for run in self.runs.values():
            if run.inbox and run.is_terminal:
                yield f"run {run.id} has ended and has an inbox"

    def i14(self) -> Found:
        permanent = {name.removeprefix(self.snap.keys.base) for name in self.snap.keys.permanent()}
        for name, ttl in self.snap.ttls.items():
            kind, _, id = name.partition(":")
            if name not in permanent and kind not in KINDS + PLACES:
                yield f"key {name} is of no documented kind"
            if kind in ("run", "journal", "children") and ttl < 0 and self._has_ended(id):
                yield f"key {name} stays for ever"

    def _has_ended(self, id: str) -> bool:
        root = self.runs.get(id.partition("/")[0])
        return root is None or root.is_terminal

    def i15(self) -> Found:
        for run in self.runs.values():
            if run.number("claims") > CRASH_LIMIT:
                yield f"run {run.id} was claimed {run.number('claims')} times in a row"

    def i16(self) -> Found:
        for line in self.lines["expect"]:
            run = self.runs.get(line["id"])
            end = run.outcome() if run is not None else None
            if end is None or end[1] == "cancelled":
                continue
            value = self.codec.decode(end[2]) if end[1] == "completed" else end
            if value != line["value"]:
                yield f"run {line['id']} returned {value!r} instead of {line['value']!r}"

    def i17(self) -> Found:
        if strange := self.snap.index ^ set(self.runs):
            yield f"the index and the records differ in {sorted(strange)}"


def digest(lines: Sequence[bytes]) -> str:
    """Of some lines of a journal."""
    return hashlib.sha256(b"".join(hashlib.sha256(line).digest() for line in lines)).hexdigest()


def namespace_of(book: Book) -> str:
    """The namespace that a ledger is about."""
    return str(book.lines("namespace")[0]["namespace"])


def observe(server: redis.Redis, book: Book) -> list[str]:
    """Notes what every run looks like now; returns what must never be so, not even for a moment."""
    keys = Keys(namespace_of(book))
    broken = []
    for name in list(server.scan_iter(match=keys.run_prefix + "*", count=1000)):
        id = name.decode().removeprefix(keys.run_prefix)
        pipe = server.pipeline(transaction=True)
        pipe.hmget(name, "status", "epoch", "entry")
        pipe.lrange(keys.journal(id), 0, -1)
        pipe.llen(keys.inbox(id))
        (status, epoch, entry), journal, mail = pipe.execute()
        state = (status or b"").decode()
        book.write("seen", id=id, status=state, epoch=int(epoch or 0), length=len(journal), digest=digest(journal))
        if state == "parked" and mail:
            broken.append(f"I8: run {id} is parked with {mail} messages")
        if state in ("ready", "running") and not entry:
            broken.append(f"I12: run {id} is {state} without an entry")
        if state in TERMINAL and (mail or entry or not journal or journal[-1][:1] != b"Z"):
            broken.append(f"I2: run {id} is {state} with {mail} messages and the entry {entry!r}")
    return broken


def check_invariants(
    store: redis.Redis | Snapshot, ledger: Book, *, logs: Sequence[Path] = (), codec: Codec | None = None
) -> list[str]:
    """Everything that is wrong, as lines of text that begin with the invariant's number."""
    snap = store if isinstance(store, Snapshot) else take(store, namespace_of(ledger))
    found = list(Check(snap, ledger, codec).problems())
    canaries = [line["text"].encode() for line in ledger.lines("canary")]
    for path in logs:
        text = path.read_bytes()
        found += [f"I18: {path.name} holds a secret" for canary in canaries if canary in text]
    return found


def recoveries(book: Book) -> list[float]:
    """I20: seconds from each fault to the next beginning of every step that it cut."""
    begins: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in book.lines("begin"):
        begins[line["run"], line["step"]].append(line["t"])
    ended = {line["nonce"] for line in book.lines("end", "raise")}
    cut = {(line["run"], line["step"]) for line in book.lines("begin") if line["nonce"] not in ended}
    found = []
    for fault in book.lines("fault"):
        for key in cut:
            first, second = (begins[key] + [0.0, 0.0])[:2]
            if first <= fault["t"] <= second:
                found.append(second - fault["t"])
    return found


def pauses(book: Book) -> list[float]:
    """Seconds from the beginning of each fault, of whatever kind, to the next beginning of any step after its end."""
    begins = sorted(line["t"] for line in book.lines("begin"))
    found = []
    for fault in book.lines("fault", "harmless"):
        at = bisect(begins, fault.get("over", fault["t"]))
        if at < len(begins):
            found.append(begins[at] - fault["t"])
    return found


def figures_of(book: Book) -> tuple[int, list[float]]:
    """How many executions of steps had been begun before and had not failed by themselves, and `recoveries`.

    Counted per step: one begun n times of which m raised was run again n - m - 1 times without its own fault; one whose
    last attempt raised (its retry was cancelled) was not.
    """
    begun = Counter((line["run"], line["step"]) for line in book.lines("begin"))
    raised = Counter((line["run"], line["step"]) for line in book.lines("raise"))
    return sum(max(0, n - raised[step] - 1) for step, n in begun.items()), recoveries(book)


def main(url: str, ledger: str) -> int:
    """Prints what is wrong."""
    with redis.Redis.from_url(url) as server:
        found = check_invariants(server, Book(ledger))
    sys.stdout.write("".join(f"{line}\n" for line in found) or "all invariants hold\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))


__all__ = ["Check", "Run", "check_invariants", "figures_of", "observe", "pauses", "recoveries"]
