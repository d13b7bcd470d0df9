"""A worker: intake and runner, as in durable_async/worker, with a fold in place of the engine.

What it reads it takes up at once; of each run at most one call is outstanding; an entry is judged by a script.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .bodies import Body, find_void, items_of, surviving
from .keys import add_nudge, drop_entry, passed_of, queue_of
from .room import enter_queue
from .store import claim_runs, commit_run, release_entry, resume_runs
from .words import Broken, Call, Commit, Held, Message, Program, Resident, Scene, State


@lru_cache(maxsize=500_000)
def body_of(program: Program, life: int, seen: tuple[Any, ...]) -> Body:
    """A body that has been told this; not to be told more."""
    return Body(program, life, seen)


class Worker:
    """The moves of one worker on a state, which they change."""

    def __init__(self, scene: Scene, s: State, name: str) -> None:
        self.scene, self.s, self.name = scene, s, name

    def resident(self, rid: str) -> Resident | None:
        return self.s[f"mem:{self.name}:{rid}"]  # type: ignore[no-any-return]

    def keep(self, rid: str, resident: Resident | None) -> None:
        self.s[f"mem:{self.name}:{rid}"] = resident

    def body(self, rid: str, resident: Resident) -> Body:
        return body_of(self.scene.programs[rid], resident.life, resident.seen)

    # ------------------------------------------------------------------ intake

    def take(self, held: Held) -> None:
        """An entry that was read, or that waited for a reply."""
        rid, resident = held.run, self.resident(held.run)
        if resident is not None and resident.out is not None:
            if self.scene.has("an entry waits for the reply"):
                self.keep(rid, resident._replace(deferred=(*resident.deferred, held)))
            else:
                self.ack(held)
        elif resident is not None and resident.parked:
            self._resume(rid, resident, held)
        elif resident is not None and resident.held is not None and resident.held[:3] == held[:3]:
            return
        else:
            self._claim(held)

    def _is_limited(self, rid: str, held: Held) -> bool:
        return ("l" + queue_of(self.scene, rid)) in self.s["known:" + self.name] and not held.entered

    def _resume(self, rid: str, resident: Resident, held: Held) -> None:
        script = "enter_queue" if self._is_limited(rid, held) else "resume_runs"
        args = (held,) if script == "enter_queue" else self._copy(resident, held)
        self.keep(rid, resident._replace(parked=False, held=held, out=Call(script, rid, args)))

    def _copy(self, resident: Resident, held: Held) -> tuple[Any, ...]:
        return held, resident.epoch, resident.nonce, resident.seq, resident.owner_no

    def _claim(self, held: Held) -> None:
        if self._is_limited(held.run, held) and held.stream[:6] == "queue:":
            self._call(Call("enter_queue", held.run, (held,)))
        else:
            self._call(Call("claim_runs", held.run, (self._nonce(held), held)))

    def _call(self, call: Call) -> None:
        self.s["calls:" + self.name] += (call,)

    def _nonce(self, held: Held) -> str:
        number = self.s["nonces:" + self.name]
        used = {call.args[0] for call in self.s["calls:" + self.name] if call.script == "claim_runs"}
        nonce = f"{self.name}{held.name}"
        run = self.s["run:" + held.run]
        while (
            (run is not None and run.nonce == f"{nonce}.{number}")
            or f"{nonce}.{number}" in used
            or self._is_used(f"{nonce}.{number}", held.run)
        ):
            number += 1
        if self.scene.faults.get("tail"):
            self.s["nonces:" + self.name] = number + 1
        return f"{nonce}.{number}"

    def _is_used(self, nonce: str, rid: str) -> bool:
        for worker in self.scene.workers:
            resident = self.s[f"mem:{worker}:{rid}"]
            if resident is not None and resident.nonce == nonce:
                return True
        late = [call for who, call in self.s["late"] if who != "op"]
        return any(call.script == "claim_runs" and call.args[0] == nonce for call in late)

    def ack(self, held: Held) -> None:
        """What a script has found settled leaves its stream."""
        drop_entry(self.s, held.name, held.stream)

    def give_back(self, held: Held, epoch: int | None = None) -> None:
        """Puts an entry back into its run's queue."""
        self._call(Call("release_entry", held.run, (epoch, held)))

    def forget(self, rid: str) -> tuple[Held, ...]:
        """A copy leaves memory; what it had deferred is to be judged."""
        resident = self.resident(rid)
        self.keep(rid, None)
        return resident.deferred if resident is not None else ()

    def again(self, deferred: tuple[Held, ...]) -> None:
        for held in deferred:
            self.take(held)

    # ------------------------------------------------------------------ replies

    def execute(self, call: Call) -> Any:
        """What the server makes of a call."""
        scene, s, rid, args = self.scene, self.s, call.run, call.args
        if call.script == "claim_runs":
            nonce, held = args
            return (*claim_runs(scene, s, rid, self.name, nonce, held), passed_of(s, rid))
        if call.script == "resume_runs":
            return (*resume_runs(scene, s, rid, *args), passed_of(s, rid))
        if call.script == "enter_queue":
            return enter_queue(scene, s, rid, args[0].name)
        if call.script == "release_entry":
            return release_entry(scene, s, rid, args[1].stream, args[1].name, args[0])
        return (*commit_run(scene, s, rid, args), passed_of(s, rid))

    def receive_claim(self, at: int) -> None:
        """The reply to a claim, or to entering a queue before it."""
        calls = self.s["calls:" + self.name]
        call = calls[at]
        self.s["calls:" + self.name] = calls[:at] + calls[at + 1 :]
        answer = call.reply[0]
        held: Held = call.args[-1]
        if call.script == "release_entry":
            return
        if call.script == "enter_queue":
            if answer == "OK":
                entered = held._replace(entered=True)
                self._call(Call("claim_runs", held.run, (self._nonce(held), entered)))
            elif answer == "HELD":
                self._refused(held)
            else:
                self.ack(held)
        elif answer == "HELD":
            self._refused(held) if call.reply[1] == "p" else self._call(Call("enter_queue", held.run, (held,)))
        elif answer == "OK":
            has_old = self.resident(held.run) is not None
            deferred = self.forget(held.run)
            self._take_over(held, call.reply)
            if has_old and self.scene.has("a copy that replaces another looks for messages"):
                self.nudged(held.run)
            self.again(deferred)
        else:
            self.ack(held)

    def _refused(self, held: Held) -> None:
        # Its queue will not be read from here on, by this worker.
        self.s["known:" + self.name] |= {"p" + queue_of(self.scene, held.run)}
        if self.scene.has("a refused entry goes back"):
            self.give_back(held)
        else:
            self.ack(held)

    def _take_over(self, held: Held, reply: Any) -> None:
        _, epoch, nonce, gen, owner_no, hint, journal, unread, passed = reply
        rid = held.run
        life = journal[0][1]
        program = self.scene.programs[rid]
        lines, is_pending = surviving(journal)
        more: tuple[Any, ...] = ()
        if is_pending:
            gone = find_void(program, life, lines)
            lines = [line for at, line in enumerate(lines) if at not in gone]
            more = (("R", "revive", gone),)
            lines.append(more[0])
        seen = items_of(lines)
        try:
            body = body_of(program, life, seen)
        except Broken as error:
            raise Broken(f"{rid}: {error}") from None
        asked = {line[2] for line in lines if line[0] == "R" and line[1] == "ask"}
        if asked - set(body.asks):
            raise Broken(f"a replay of {rid} does not ask for {sorted(asked - set(body.asks))}")
        missing = [ask for ask in body.asks if ask not in asked]
        taken = max((line[1] for line in journal if line[0] == "M"), default=0)
        resident = Resident(
            epoch, nonce, gen, life, hint, owner_no, held, seen=seen, asked=frozenset(body.asks),
            lines=(*more, *(("R", "ask", ask) for ask in missing)), fed=taken,
        )  # fmt: skip
        self.keep(rid, resident)
        self.feed(rid, unread, passed)
        if ("early", rid) in self.s["known:" + self.name]:
            self.s["known:" + self.name] -= {("early", rid)}
            self.nudged(rid)

    def receive(self, rid: str) -> None:
        """The reply to the outstanding call of a run in memory."""
        resident = self.resident(rid)
        assert resident is not None
        assert resident.out is not None
        call = resident.out
        answer = call.reply[0]
        if call.script == "commit_run":
            self._committed(rid, resident._replace(out=None), call)
        elif call.script == "enter_queue":
            self._entered(rid, resident._replace(out=None), answer)
        else:
            self._resumed(rid, resident._replace(out=None), call)

    def _entered(self, rid: str, resident: Resident, answer: str) -> None:
        held = resident.held
        assert held is not None
        if answer == "OK":
            entered = held._replace(entered=True)
            call = Call("resume_runs", rid, self._copy(resident, entered))
            self.keep(rid, resident._replace(held=entered, out=call))
            return
        if answer == "HELD":
            self._refused(held)
        else:
            self.ack(held)
        self._rest(rid, resident)

    def _rest(self, rid: str, resident: Resident) -> None:
        self.keep(rid, resident._replace(parked=True, held=None, deferred=()))
        self.again(resident.deferred)

    def _resumed(self, rid: str, resident: Resident, call: Call) -> None:
        answer, held = call.reply[0], call.args[0]
        if answer == "OK":
            self.keep(rid, resident._replace(held=held, deferred=()))
            self.feed(rid, call.reply[1], call.reply[-1])
            self.again(resident.deferred)
        elif answer == "HELD" and call.reply[1] == "l":
            self.keep(rid, resident._replace(out=Call("enter_queue", rid, (held,))))
        elif answer == "HELD":
            self._refused(held)
            self._rest(rid, resident)
        else:
            self.keep(rid, None)
            if answer == "RELOAD":
                self._call(Call("claim_runs", rid, (self._nonce(held), held)))
            else:
                self.ack(held)
            self.again(resident.deferred)

    def _committed(self, rid: str, resident: Resident, call: Call) -> None:
        answer, unread = call.reply[0], call.reply[1]
        deferred = resident.deferred
        resident = resident._replace(deferred=())
        if answer == "FENCED":
            self.keep(rid, None)
            is_claimed = any(call.run == rid for call in self.s["calls:" + self.name])
            if is_claimed and self.scene.has("a copy that replaces another looks for messages"):
                self.s["known:" + self.name] |= {("early", rid)}
        elif answer == "OK":
            self.keep(rid, resident)
            self.feed(rid, unread, call.reply[-1])
        else:
            if resident.held is not None:
                self.ack(resident.held)
            self.keep(rid, resident._replace(parked=True, held=None) if answer == "PARKED" else None)
            elsewhere = call.reply[2] if len(call.reply) > 3 else ""
            parent = self.scene.parent.get(rid, "")
            if elsewhere and self.s["worker:" + elsewhere] is not None:
                add_nudge(self.s, parent, "worker:" + elsewhere)
        self.again(deferred)

    # ------------------------------------------------------------------ runner

    def feed(self, rid: str, unread: tuple[Message, ...], passed: frozenset[str]) -> None:
        """Messages, each once and in order; a timer that was due before one of them fires first."""
        for message in unread:
            resident = self.resident(rid)
            assert resident is not None
            if message.number <= resident.fed:
                continue
            self._tick(rid, message.passed)
            resident = self.resident(rid)
            assert resident is not None
            resident = resident._replace(fed=message.number)
            if self.body(rid, resident).wants(message.item) or not self.scene.has("what is late is dropped"):
                self.keep(rid, resident._replace(lines=(*resident.lines, ("T", message))))
                self._check_asker(rid, resident, message)
                if self.body(rid, resident).wants(message.item):
                    self._tell(rid, message.item)
                else:
                    self.keep(rid, self._kept(rid, message))
            else:
                self.keep(rid, resident._replace(lines=(*resident.lines, ("D", message))))
        self._tick(rid, passed)
        self.advance(rid)

    def _kept(self, rid: str, message: Message) -> Resident:
        # Journaled, and nobody was told: what a replay makes of that is what the law is for.
        resident = self.resident(rid)
        assert resident is not None
        return resident

    def _check_asker(self, rid: str, resident: Resident, message: Message) -> None:
        item = message.item
        if item[0] != "child":
            return
        kid = self.body(rid, resident).kids.get(item[1])
        if kid is None or kid.is_occupied:
            return
        if message.asker != (resident.gen, kid.creations) and message.asker[1]:
            raise Broken(
                f"{rid} takes the end of {item[1]} as asked for by its life {resident.gen}, call {kid.creations}, "
                f"and it is that of life {message.asker[0]}, call {message.asker[1]}"
            )

    def _tell(self, rid: str, item: tuple[Any, ...], line: tuple[Any, ...] | None = None) -> None:
        resident = self.resident(rid)
        assert resident is not None
        resident = resident._replace(seen=(*resident.seen, item))
        lines = resident.lines if line is None else (*resident.lines, line)
        body = self.body(rid, resident)
        fresh = tuple(ask for ask in body.asks if ask not in resident.asked)
        self.keep(
            rid,
            resident._replace(
                lines=lines + tuple(("R", "ask", ask) for ask in fresh), asked=resident.asked.union(fresh)
            ),
        )

    def _tick(self, rid: str, passed: frozenset[str]) -> None:
        while True:
            resident = self.resident(rid)
            assert resident is not None
            timer = self.body(rid, resident).timer
            if not timer or timer not in passed:
                return
            self._tell(rid, ("tick", timer), ("R", "tick", timer))

    def tick(self, rid: str) -> None:
        """A timer of the body is due."""
        self._tick(rid, passed_of(self.s, rid))
        self.advance(rid)

    def step_done(self, rid: str, step: str) -> None:
        """A step in flight has ended."""
        resident = self.resident(rid)
        assert resident is not None
        body = self.body(rid, resident)
        outcome = "bad" if step[0] == "x" and body.revivals == 0 else "ok"
        self.keep(rid, resident._replace(busy=resident.busy - {step}))
        self._tell(rid, ("step", step, outcome), ("R", "step", step, outcome))
        self.advance(rid)

    def nudged(self, rid: str) -> None:
        """A message waits for a running run: it is fetched by a commit, even of nothing."""
        resident = self.resident(rid)
        if resident is not None and not resident.parked:
            self.keep(rid, resident._replace(has_mail=True))
            self.advance(rid)
        elif self.scene.has("a nudge waits for the claim") and any(
            call.run == rid for call in self.s["calls:" + self.name]
        ):
            self.s["known:" + self.name] |= {("early", rid)}

    def missed_nudges(self) -> None:
        """Nobody could nudge while its stream was away: each run may have a message."""
        claimed = {call.run for call in self.s["calls:" + self.name]}
        for rid in self.scene.programs:
            if self.resident(rid) is not None or rid in claimed:
                self.nudged(rid)

    def is_in_doubt(self, rid: str, resident: Resident) -> bool:
        """Whether a look at the record of a run in a step shows another one, or a message that was not told."""
        if not self.scene.faults.get("tail") or not self.scene.has("who is long in a step looks back"):
            return False  # as the sweeper: whatever else happens must be right without it
        if resident.parked or resident.out is not None:
            return False
        run = self.s["run:" + rid]
        if run is None or run.status != "running":
            return True
        left = resident.epoch, resident.nonce, resident.seq
        return (run.epoch, run.nonce, run.seq) != left or run.mail > max(run.taken, resident.fed)

    def advance(self, rid: str) -> None:
        """After anything was fed and with no call outstanding: commit, launch, park or end."""
        resident = self.resident(rid)
        assert resident is not None
        body = self.body(rid, resident)
        wanted = body.steps()
        resident = resident._replace(busy=resident.busy & wanted)
        self.keep(rid, resident)
        if resident.out is not None:
            return
        if resident.lines or body.done or resident.has_mail or not wanted:
            self._commit(rid, resident, body)
        else:
            self.keep(rid, resident._replace(busy=wanted))

    def _commit(self, rid: str, resident: Resident, body: Body) -> None:
        asks = [line[2] for line in resident.lines if line[0] == "R" and line[1] == "ask"]
        held = resident.held
        commit = Commit(
            resident.epoch, resident.nonce, resident.seq + 1, held.name if held is not None else "",
            body.done or ("go" if body.steps() else "park"), resident.lines, body.timer, resident.fed,
            tuple(ask for ask in asks if ask[0] == "child"), tuple(ask[1] for ask in asks if ask[0] == "await"),
            tuple(ask[1] for ask in asks if ask[0] == "giveup"), resident.life + 1, tuple(body.mail), resident.hint,
            held is not None and held.entered, self.name, resident.seen, resident.owner_no,
        )  # fmt: skip
        self.keep(
            rid,
            resident._replace(seq=resident.seq + 1, lines=(), has_mail=False, out=Call("commit_run", rid, commit)),
        )
