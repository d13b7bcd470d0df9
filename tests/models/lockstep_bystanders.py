"""Clients, timers, walks, sweeps: who calls the store beside the owners of runs; and the end of everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_async.errors import RunNotFound
from durable_async.store.scheduling import ScheduleRecord, Tick
from durable_async.store.scripts import BY_SHA

from .lockstep import differences
from .lockstep_actors import GRACE_MS, LIMITS, WORKERS, Actors, pick
from .reference.keyspace import HOUR_MS
from .reference.state import Lines, State

SCHEDULES = ("s1", "s2")
EMPTY = State()
STAYS = ("store.meta", "store.streams['queue:", "store.streams['client:", "store.gates['v", "store.rooms")
"""Kept when every run is over: see `Keys.permanent`. A client's stream has a time to live, and so has what a room knows
of the last starts."""
CHUNK = 2
"""Children in a step of a walk."""


class Everybody(Actors):
    """All that call the store."""

    # ------------------------------------------------------------------ outside

    def cancel(self, number: int, shape: int) -> None:
        if id := self.some_run(number):
            self.store.is_late = shape % 4 == 3
            token = f"c{shape % 3}" if shape % 2 else f"c{self.fresh()}"
            self._try(self.store.cancel_run(id, "because \u00fc", token, GRACE_MS))

    def settle(self, number: int, shape: int) -> None:
        if id := self.some_run(number):
            self.store.is_late = shape % 4 == 3
            cause = ("terminate", "grace", "timeout", "poison")[shape % 4]
            status = "failed" if cause == "poison" or shape % 8 == 2 else "cancelled"
            token = f"e{shape % 3}" if cause == "terminate" else ""
            bound = 2 if cause == "poison" else GRACE_MS
            self._try(self.store.settle_run(id, cause, status, b"why", bound=bound, token=token))

    def send(self, number: int, shape: int) -> None:
        if id := self.some_run(number):
            self.store.is_late = shape % 4 == 3
            event = f"e{shape % 3}" if shape % 2 else f"e{self.fresh()}"
            self._try(self.store.send_event(id, event, b"body \x00\xff %d" % shape, 4))

    def answer(self, number: int, shape: int) -> None:
        """An open question, or one that is not open any more."""
        members = sorted(self.step.state.questions) or ["a\nn0"]
        id, _, name = (pick(number, members) or "").partition("\n")
        head = self.step.state.questions.get(f"{id}\n{name}", b"1 2 -\n").partition(b"\n")[0].decode() + "\n"
        due = head.split()[2]
        head = "1 2 3\n" if shape % 5 == 4 else head
        self.store.is_late = shape % 4 == 3
        token = f"a{shape % 2}" if shape % 3 == 2 else f"a{self.fresh()}"
        expires_ms = None if due == "-" else int(due)
        self._try(self.store.provide_input(id, name, head, expires_ms, token, b"yes", 5))

    def _try(self, call: Any) -> Any:
        try:
            return self.wait(call)
        except RunNotFound:
            return None

    def retry(self, number: int, shape: int) -> None:
        if id := self.some_run(number, "failed") or self.some_run(number):
            self.store.is_late = shape % 4 == 3
            self._try(self.store.retry_run(id, 2_000 if shape % 2 else 0))

    def remove(self, number: int) -> None:
        if id := self.some_run(number):
            self.wait(self.store.remove_run(id, id.rpartition("/")[0]))

    def unblock(self, number: int, shape: int) -> None:
        state = self.step.state
        ids = sorted(state.blocked) or [id for id in [self.some_run(number)] if id]
        if ids:
            worker, token = (WORKERS[shape % 2], "") if shape % 3 else ("", f"u{shape % 2}")
            self.wait(self.store.unblock_runs(ids[: 1 + shape % 2], worker=worker, token=token))
        self.wait(self.store.blocked_runs())

    def client(self, number: int, shape: int) -> None:
        """Somebody waits for a run, or watches it."""
        id, client = self.some_run(number) or "nobody", f"C{shape % 2}"
        if shape % 5 == 0:
            self.wait(self.store.open_client(client, HOUR_MS))
        elif shape % 5 == 1:
            self.store.unwatch_run(id, client)
        elif shape % 5 == 2:
            self.wait(self.store.subscribe_client(id, client))
        else:
            gen = self.runs[id].gen if id in self.runs and shape % 2 else 1
            self.wait(self.store.watch_run(id, client, str(gen), shape % 7))

    # ------------------------------------------------------------------ queues

    def queues(self, number: int, shape: int) -> None:
        queue = "lim" if shape % 4 else "q"
        if number % 6 < 3:
            self.wait(self.store.limit_queue("lim", LIMITS[shape % len(LIMITS)]))
        elif number % 6 == 3:
            self.wait(self.store.pause_queue(queue))
        elif number % 6 == 4:
            self.wait(self.store.resume_queue(queue))
        else:
            self.wait(self.store.admit_runs("lim"))
        if number % 7 == 6:
            found = self.wait(self.store.sweep_rooms())
            assert not found, f"{found} are in a room without right"

    # ------------------------------------------------------------------ time

    def timers(self, number: int, ms: int) -> None:
        """Time passes, and a worker looks at what is due."""
        self.pass_time(ms)
        _, due, _, walks, _ = self.wait(self.store.poll_due(2 if number % 3 else 50))
        for member in due:
            if number % 4 == 3:
                continue  # it died: they come again
            self.fire(member)
        if number % 2:
            for item, cursor in walks[:2]:
                self.walk(item, cursor)

    def fire(self, member: str) -> None:
        letter, id = member[0], member[1:]
        if letter in "wd":
            self.wait(self.store.fire_timers([member]))
        elif letter == "q":
            self.wait(self.store.admit_runs(id))
        elif letter == "g":
            self._settle_due(id, "grace", member)
        else:
            self._settle_due(id, "timeout", member)

    def _settle_due(self, id: str, cause: str, member: str) -> None:
        status = "cancelled" if cause == "grace" else "failed"
        if self._try(self.store.settle_run(id, cause, status, b"time is over", bound=GRACE_MS)) is None:
            # As workers do with timers of what is gone.
            self.step.environment(
                f"timer {member} is removed",
                lambda: self.step.send("ZREM", self.keys.timers, member),
                lambda: self.step.model.state.timers.pop(member, None),
            )

    def fire_any(self, number: int) -> None:
        """One that was handed out long ago, or never existed."""
        members = sorted(self.step.state.timers)
        if member := pick(number, [m for m in members if m[0] in "wd"]):
            self.wait(self.store.fire_timers([member]))
        elif id := self.some_run(number):
            self.wait(self.store.fire_timers(["wd"[number % 2] + id]))

    # ------------------------------------------------------------------ walks

    def walk_some(self, number: int) -> None:
        walks = sorted(self.step.state.walks.items())
        if chosen := pick(number, walks):
            self.walk(*chosen)

    def walk(self, item: str, cursor: bytes) -> None:
        """A chunk of a walk, as workers do it."""
        letter, id = item[0], item[1:]
        state = self.step.state
        run = state.runs.get(id)
        if letter == "c":
            call = self.store.cancel_run(id, cursor.decode(), f"walk:{item}", GRACE_MS, walk=item)
            if self._try(call) is None:
                self.wait(self.store.advance_walk(item, cursor, ""))
        elif letter in "ep":
            first, listed = int(cursor), self._listed(id)
            chunk = listed[first : first + CHUNK]
            more = str(first + CHUNK) if len(chunk) == CHUNK else ""
            if letter == "e":
                # Of what is gone, the children go as well.
                ttl_ms = 0 if run is None else -1 if run.retention_ms is None else run.retention_ms
                self.wait(self.store.expire_children(item, cursor.decode(), more, chunk, ttl_ms))
            else:
                self.wait(self.store.persist_children(item, cursor.decode(), more, chunk))
        elif run is None or run.status not in {"t": ("cancelled",), "o": ("failed", "compensation_failed")}.get(
            letter, (run.status,)
        ):
            self.wait(self.store.advance_walk(item, cursor, ""))
        else:
            self._spread(item, int(cursor))

    def _listed(self, id: str) -> list[str]:
        family = self.step.state.families.get(id)
        return [] if family is None else [c for c, _ in sorted(family.numbers.items(), key=lambda each: each[1])]

    def _spread(self, item: str, cursor: int) -> None:
        letter, id = item[0], item[1:]
        run = self.runs[id]
        last = min(cursor + CHUNK, run.cancel_kids)
        numbers = self.step.state.families[id].numbers if id in self.step.state.families else {}
        for child in [c for c in self._listed(id) if cursor + 1 <= numbers[c] <= last]:
            if letter == "o" and child in self.runs and self.runs[child].leaves:
                continue
            if letter == "t":
                self._try(self.store.settle_run(child, "terminate", "cancelled", b"ancestor"))
            else:
                self._try(self.store.cancel_run(child, "ancestor", f"walk:{item}", GRACE_MS, walk=item))
        self.wait(self.store.advance_walk(item, str(cursor), str(last) if last < run.cancel_kids else ""))

    # ------------------------------------------------------------------ workers and sweeps

    def worker(self, number: int) -> None:
        """One goes, or comes back."""
        worker = WORKERS[number % 2]
        if number % 3 == 0:
            self.wait(self.store.close_worker(worker, ""))
        elif number % 3 == 1:
            self.join(worker)
        else:
            self.wait(self.store.drop_consumer("q", worker))

    def sweep(self, number: int) -> None:
        """Somebody looks for damage: there is none."""
        chunk = self.wait(self.store.take_sweep(100, 2, 3))
        if chunk is not None and number % 2:
            after = 0 if chunk.is_last else chunk.first + len(chunk.runs)
            self.wait(self.store.save_sweep(after, "0"))
        self.wait(self.store.purge_index(0, 5))
        self.inspect(sorted(self.step.state.index)[number % 3 :: 3], is_all=number % 2 == 0)

    def inspect(self, ids: Sequence[str], *, is_all: bool = True) -> None:
        if not ids:
            return
        links = [each for each in self.wait(self.store.sift_runs(ids, looks_at_all=is_all)) if each]
        self.wait(self.store.inspect(links, is_untold, may_fix=True))

    # ------------------------------------------------------------------ schedules

    def schedule(self, number: int, shape: int) -> None:
        name, expression = SCHEDULES[number % 2], f"e{shape % 2}"
        known = self.step.state.schedules.get(name)
        if number % 5 == 0:
            cursor = 0 if shape % 3 == 0 else int(known.cursor) if known and known.cursor else self.now
            record = ScheduleRecord(
                name=name, expression=expression, cursor_ms=cursor, next_ms=self.now + 500, workflow="w", queue="q"
            )
            self.wait(self.store.register_schedule(record))
        elif number % 5 == 1:
            self.wait(self.store.poll_schedules([(each, expression) for each in SCHEDULES]))
        elif number % 5 == 2:
            self.wait(self.store.change_schedule(name, ("pause", "resume", "remove")[shape % 3]))
        else:
            self._tick(name, shape)

    def _tick(self, name: str, shape: int) -> None:
        known = self.step.state.schedules.get(name)
        id = f"c{'' if shape % 3 else ':' + name}".replace(":", ".")
        tick = Tick(
            want=("start", "pass", "note", "trigger", "start", "start")[shape % 6], name=name,
            expression=known.expression if known else "e0", cursor_ms=int(known.cursor or 0) if known else 1,
            last_run=known.last_run if known and shape % 11 else "other", new_cursor_ms=self.now,
            next_ms=self.now + 500, look_ms=self.now + 500, overlap=("allow", "skip")[shape % 2],
            run=self.new(id, shape, queue="q", token=f"t{shape % 2}"), error="trouble" if shape % 2 else "",
        )  # fmt: skip
        self.wait(self.store.tick_schedule(tick))

    # ------------------------------------------------------------------ what was sent before

    def late(self, number: int) -> None:
        """A request that arrives after its own retry, and whatever else: any command of the past, as it was."""
        command = pick(number, self.step.history)
        if command is not None:
            first = 3 + command[2]
            has_now = BY_SHA[command[1]].args[:1] == ("given_now",)
            # The time is that at which it arrives.
            self.step.play((*command[:first], self.now, *command[first + 1 :]) if has_now else command)
            self.step.history.pop()

    # ------------------------------------------------------------------ the end of everything

    def wind_up(self) -> None:
        """P14 crash-refinement: whatever has happened, and whoever has died, one worker that lives brings everything to
        an end. P12 retention: and then nothing is left of it."""
        step, state = self.step, self.step.state
        for queue in ("q", "lim"):
            self.wait(self.store.resume_queue(queue))
        self.wait(self.store.limit_queue("lim", "0 0 0 0"))
        # They all died, with what they had in memory.
        self.copies.clear()
        self._reap_all()
        for round in range(40):
            state = step.state
            active = sorted(id for id, run in state.runs.items() if not run.is_over)
            if not active and not state.walks:
                break
            for id in active if round > 1 else []:
                self._try(self.store.cancel_run(id, "the end", f"end:{id}", GRACE_MS))
            self.pass_time(5_000)
            for member in self.wait(self.store.poll_due(100))[1]:
                self.fire(member)
            for item, cursor in sorted(step.state.walks.items()):
                if step.state.walks.get(item) == cursor:
                    self.walk(item, cursor)
            self._work_off()
        else:
            step.fail(f"P14: after {round} rounds there is still {active} and {sorted(state.walks)}")
        self._forget_everything()

    def _reap_all(self) -> None:
        """What is pending for anybody goes back."""
        self.entries.clear()
        for name, stream in list(self.step.state.streams.items()):
            for entry_id, consumer in list(stream.pending.items()):
                entry = (consumer, name, entry_id, "".join(stream.entries[entry_id]))
                self.entries.append(entry)
                self.reap(entry)

    def _work_off(self) -> None:
        """All that is in a stream is taken; what is running ends."""
        self.join("A")
        self.join("B")
        for worker in WORKERS:
            for source in range(4):
                while found := self.read(worker, source, 10):
                    for entry in found:
                        self.entries.remove(entry)
                        self.take(entry, 1)
        for copy in self.copies[:]:
            if self._is_current(copy):
                copy.known = list(self.step.state.inboxes.get(copy.id, Lines()).lines)
                want = "cancelled" if self.runs[copy.id].cancel_at else "completed"
                self._send_commit(copy, want, len(copy.known))

    def _forget_everything(self) -> None:
        """Times to live pass, the index is purged, streams are read, workers and schedules go: P12."""
        step = self.step
        self.pass_time(2 * HOUR_MS)
        for member in self.wait(self.store.poll_due(100))[1]:
            self.fire(member)
        self.inspect(sorted(step.state.index))
        for _ in range(200):
            kept = {**step.state.families, **step.state.shared}
            self.inspect(sorted(id for id, each in kept.items() if each.ttl_ms is None and id not in self.runs))
            for item, cursor in sorted(step.state.walks.items()):
                self.walk(item, cursor)
            if not self.doomed() and not step.state.walks:
                break
            self.expire(0)
        else:
            step.fail("P12: time passes, and does not end")
        self.wait(self.store.purge_index(0, 1_000))
        self._work_off()
        self._reap_all()
        for name in SCHEDULES:
            self.wait(self.store.change_schedule(name, "remove"))
        for worker in WORKERS:
            self.wait(self.store.close_worker(worker, ""))
        left = differences("store", step.state, EMPTY)
        left = [line for line in left if not line.startswith(STAYS)]
        left += [f"{name}: {s.entries}" for name, s in step.state.streams.items() if name[0] == "q" and s.entries]
        left += [f"{queue}: {r}" for queue, r in step.state.rooms.items() if r.starts_ttl_ms is None or r.tally]
        if left:
            step.fail("P12: something is left\n" + "\n".join(left))


def is_untold(journal: Sequence[bytes], child: str) -> bool:
    """Whether a journal does not hold the end of a child since it was last created."""
    asked = max((at for at, line in enumerate(journal) if line == b"Rchild " + child.encode()), default=0)
    ends = [b"C" + letter + child.encode() + b"\n" for letter in (b"c", b"f", b"x", b"u", b"v")]
    return not any(end in line for line in journal[asked:] if line[:1] == b"M" for end in ends)
