"""The transitions of those who do not own the run: starts, cancels, ends from outside, messages, another life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_async.store.status import Answer

from .base import Above
from .family import Siblings, is_same_digest
from .keyspace import put_fields
from .state import Run


class OutsideTransitions(Siblings):
    """`owner` is whose stream the caller declares: if that is somebody else's by now, it has to look again."""

    def start_run(
        self, id: str, fields: Sequence[Any], start: bytes, delay_ms: int, timeout_ms: int, token: str, *, lane: str
    ) -> list[Any]:
        """A run, unless the id is in use. A `lane` is noted, so that workers read it."""
        found = self.state.runs.get(id)
        if found and token and found.token == token:
            return [Answer.OK, self.now]
        if found:
            return [Answer.EXISTS, found.workflow, found.digest, found.status]
        self._begin(id, fields, start, delay_ms, timeout_ms)
        if lane:
            self.state.gates["v" + lane] = "1"
        return [Answer.OK, self.now]

    def _begin(self, id: str, fields: Sequence[Any], start: bytes, delay_ms: int, timeout_ms: int) -> None:
        run = Run()
        put_fields(run, fields)
        self.create(id, run, start, delay_ms, timeout_ms)
        self.state.index[id] = self.now

    def cancel_run(
        self, id: str, reason: str, token: str, grace_ms: int, owner: str, parent: Above | None, walk: str, lane: str,
        queue: str,
    ) -> list[Any]:  # fmt: skip
        """A promise: whatever its body returns, it ends cancelled. One that never started ends at once."""
        state, run = self.state, self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        # A walk of one is done by this: later it might be that of the run's next life.
        done = walk if walk == "c" + id else ""
        if run.cancel_token == token:
            state.walks.pop(done, None)
            return [Answer.OK, self.now, " ".join(run.clients) if run.is_over and not run.cancel_at else ""]
        if walk and walk not in state.walks:
            return [Answer.DONE]
        if run.is_over or run.cancel_at or run.saga == "undoing":
            state.walks.pop(done, None)
            return [Answer.DONE]
        if run.owner != owner:
            return [Answer.RETRY]
        state.walks.pop(done, None)
        run.cancel, run.cancel_token, run.cancel_kids = reason, token, run.kids
        clients = " ".join(run.clients) if run.started_ms is None else ""
        if run.started_ms is None:
            self.end_from_outside(id, "cancelled", reason.encode(), parent, lane, queue)
        else:
            run.grace_ms, run.cancel_at = self.now + grace_ms, run.mail + 1
            state.timers["g" + id] = run.grace_ms
            if run.status == "blocked":
                run.status = "parked"
                del state.blocked[id]
            self.deliver(id, b"X" + reason.encode(), owner, lane)
        if run.kids:
            state.walks["x" + id] = b"0"
        return [Answer.OK, self.now, clients]

    def settle_run(
        self, id: str, cause: str, status: str, payload: bytes, owner: str, parent: Above | None, bound: int,
        token: str, lane: str, queue: str,
    ) -> list[Any]:  # fmt: skip
        """The end of a run that its owner does not end; `cause` is `terminate`, `grace`, `timeout` or `poison`."""
        state, run = self.state, self.state.runs.get(id)
        if run is None or run.is_over:
            self.disarm(id, {"grace": "g", "timeout": "r"}.get(cause, ""))
            if run and token and run.ended_by == token:
                return [Answer.OK, self.now, " ".join(run.clients)]
            return [Answer.DONE if run else Answer.GONE]
        if run.owner != owner:
            return [Answer.RETRY]
        if (cause == "grace" and self._keeps_grace(id, run)) or (cause == "timeout" and self._has_time(id, run, bound)):
            return [Answer.DONE]
        if cause == "poison" and (run.status != "ready" or run.claims < bound):
            return [Answer.DONE]
        if cause == "poison" and run.saga == "undoing":
            status = "compensation_failed"
        run.ended_by = token or run.ended_by
        if run.kids:
            run.cancel = payload.decode() if status == "cancelled" else f"parent {id} ended: {status}"
            run.cancel_kids = run.kids
        clients = " ".join(run.clients)
        self.end_from_outside(id, status, payload, parent, lane, queue)
        if run.kids:
            state.walks[("t" if cause == "terminate" else "x" if status == "cancelled" else "o") + id] = b"0"
        state.blocked.pop(id, None)
        self.close_questions(id, run.asks)
        return [Answer.OK, self.now, clients]

    def _keeps_grace(self, id: str, run: Run) -> bool:
        """Nobody is cut before its time, and none that has something to undo."""
        if run.grace_ms is None or run.saga:
            self.disarm(id, "g")
            return True
        if run.grace_ms > self.now:
            self.state.timers["g" + id] = run.grace_ms
            return True
        return False

    def _has_time(self, id: str, run: Run, bound: int) -> bool:
        """Only a run that nobody serves is ended because of its time: every other one sees to that by itself."""
        due = run.deadline_ms
        if due is None:
            self.disarm(id, "r")
            return True
        if due > self.now:
            self.state.timers["r" + id] = due
            return True
        is_served = run.status not in ("ready", "blocked") or run.saga != "" or due + bound > self.now
        if run.started_ms is not None and is_served:
            self.state.timers["r" + id] = max(due + bound, self.now + 1000)
            return True
        return False

    def send_event(self, id: str, event_id: str, body: bytes, owner: str, limit: int, lane: str) -> list[Any]:
        """An event id is accepted once in a life."""
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if "event:" + event_id in run.seen:
            return [Answer.OK, self.now]
        if run.is_over:
            return [Answer.DONE]
        if run.owner != owner:
            return [Answer.RETRY]
        if run.mail - run.taken >= limit:
            return [Answer.FULL]
        run.seen.add("event:" + event_id)
        self.deliver(id, b"E" + body, owner, lane)
        return [Answer.OK, self.now]

    def provide_input(
        self, id: str, name: str, head: bytes, expires_ms: int | None, token: str, body: bytes, owner: str, limit: int,
        lane: str,
    ) -> list[Any]:  # fmt: skip
        """The answer closes the question and delivers itself."""
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if "answer:" + token in run.seen:
            return [Answer.OK, self.now]
        if run.is_over or run.cancel_at > run.taken:
            return [Answer.DONE]
        question = self.state.questions.get(f"{id}\n{name}")
        if question is None or not question.startswith(head):
            return [Answer.STALE]
        if expires_ms is not None and self.now >= expires_ms:
            return [Answer.DONE]
        if run.owner != owner:
            return [Answer.RETRY]
        if run.mail - run.taken >= limit:
            return [Answer.FULL]
        self.close_questions(id, [name])
        run.asks = [known for known in run.asks if known != name]
        run.seen.add("answer:" + token)
        self.deliver(id, b"I" + body, owner, lane)
        return [Answer.OK, self.now]

    def unblock_runs(self, worker: str, token: str, runs: Sequence[tuple[str, str]]) -> list[Any]:
        """Blocked runs are tried again: by the worker that asks, or by any. `runs`: id and lane as read."""
        answers = []
        for id, lane in runs:
            run = self.state.runs.get(id)
            if run is None or run.status != "blocked":
                self.state.blocked.pop(id, None)
                is_own = run is not None and token != "" and run.unblocked == token
                answers.append(Answer.GONE if run is None else Answer.OK if is_own else Answer.STALE)
                continue
            if run.lane != lane:
                answers.append(Answer.RETRY)
                continue
            run.status, run.waiting, run.unblocked = "ready", "", token or run.unblocked
            run.entry = self.add_entry(id, lane, worker)
            if run.entry[0] == "W":
                run.owner = worker
            self.state.blocked.pop(id, None)
            answers.append(Answer.OK)
        return [Answer.OK, answers]

    # ------------------------------------------------------------------ another life

    def retry_run(self, id: str, token: str, timeout_ms: int, queue: str, lane: str) -> list[Any]:
        """A failure is void: the journal goes on behind it, as another life."""
        run = self.state.runs.get(id)
        if run is None:
            return [Answer.GONE]
        if run.retried_by == token:
            return [Answer.OK, self.now]
        if run.status != "failed":
            return [Answer.DONE, run.status]
        if run.lane != queue:
            return [Answer.RETRY]
        self.journal(id).append(b"V%d" % self.now)
        run.ttl_ms = self.state.journals[id].ttl_ms = None
        if start := self.start_of(id, run.parent or id):
            self.journal(id)[0] = start
        self.hold(id, run.parent or id)
        for kept in (self.state.families, self.state.shared):
            if id in kept:
                kept[id].ttl_ms = None  # type: ignore[index]
        for letter in "exo":
            self.state.walks.pop(letter + id, None)
        if run.kids:
            self.state.walks["p" + id] = b"0"
        fresh = Run()
        for name in (
            "finished_ms", "cancel", "cancel_at", "cancel_kids", "cancel_token", "ended_by", "grace_ms", "deadline_ms",
            "notify", "saga", "waiting", "claims",
        ):  # fmt: skip
            setattr(run, name, getattr(fresh, name))
        # Whoever has it in memory has it as it was before it failed.
        run.status, run.nonce, run.gen, run.taken, run.retried_by = "ready", "", run.gen + 1, run.mail, token
        run.entry = self.add_entry(id, lane)
        if timeout_ms:
            run.deadline_ms = self.now + timeout_ms
            self.state.timers["r" + id] = run.deadline_ms
        return [Answer.OK, self.now]

    def fork_run(self, id: str, fields: Sequence[Any], token: str, length: int, timeout_ms: int) -> list[Any]:
        """A run with a past, which has been written before it."""
        found = self.state.runs.get(id)
        if found:
            return [Answer.OK if found.token == token else Answer.EXISTS, self.now]
        past = self.journal(id)
        if len(past) != length:
            return [Answer.GONE]
        self._begin(id, fields, b"", 0, timeout_ms)
        self.state.journals[id].lines = past
        return [Answer.OK, self.now]

    def remove_run(self, id: str, lister: str) -> list[Any]:
        """From the leaves up; a root has nobody that lists it."""
        state, run = self.state, self.state.runs.get(id)
        if (run and not run.is_over) or self.children(id):
            return [Answer.RETRY]
        for kept in (state.runs, state.journals, state.inboxes, state.families, state.index, state.shared):
            kept.pop(id, None)
        for letter in "xotepc":
            state.walks.pop(letter + id, None)
        self.children(lister).pop(id, None)
        return [Answer.OK if run else Answer.DONE]

    def tick_run(self, id: str, fields: Sequence[Any], start: bytes, delay_ms: int, timeout_ms: int) -> None:
        """The run of a schedule's tick: a start that has been decided."""
        self._begin(id, fields, start, delay_ms, timeout_ms)

    def is_same_call(self, id: str, fields: Sequence[Any]) -> bool:
        """Whether an id that is in use is that of the same call."""
        made, found = Run(), self.state.runs[id]
        put_fields(made, fields)
        return found.workflow == made.workflow and is_same_digest(made.digest, found.digest)
