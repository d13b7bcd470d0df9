"""The table of states and transitions that the docs quote: asked of the model, one of each at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable

from durable_async.store.status import Answer

from .model import Reference
from .owners import CommitCall
from .state import TERMINAL

NOW = 1_700_000_000_000
STATES = ("absent", "delayed", "ready", "running", "parked", "blocked", *TERMINAL)
FIELDS = ("workflow", "w", "queue", "q", "retention", 3_600_000)


def commit(m: Reference, want: str, *, seq: int = 0, due: str = "", parent: bool = False) -> list[object]:
    """The owner's next commit."""
    run = m.state.runs.get("r")
    epoch, nonce, entry = (str(run.epoch), run.nonce, run.entry) if run else ("1", "n", "Q1-0")
    number = seq or (run.seq + 1 if run else 1)
    return m.commit_run(
        CommitCall("r", epoch, nonce, number, entry, want, [], 100, 0, due=due, payload=b"out", lane="q")
    )


def claim(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    return m.claim_runs("B", "n2", 5, 100, [("r", run.entry if run and run.entry else "Q9-9")], has_entered=False)[1]


def resume(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    fence = (str(run.epoch), run.nonce, str(run.seq)) if run else ("1", "n", "1")
    return m.resume_runs(100, [("r", run.entry if run and run.entry else "Q9-9", *fence)], has_entered=False)[1]


def release(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    return m.release_entry(
        "r", "queue:q", "q", run.entry if run and run.entry else "Q9-9", "", 0, "", "q", is_crash=False
    )


def fire(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    member = ("d" if run and run.status == "delayed" else "w") + "r"
    m.now += 1_000
    return m.fire_timer(member, run.owner if run else "", "q")


def cancel(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    return m.cancel_run("r", "why", "t", 500, run.owner if run else "", None, "", "q", "q")


def settle(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    return m.settle_run("r", "terminate", "cancelled", b"why", run.owner if run else "", None, 0, "", "q", "q")


def event(m: Reference) -> list[object]:
    run = m.state.runs.get("r")
    return m.send_event("r", "e", b"x", run.owner if run else "", 10, "q")


TRANSITIONS: dict[str, Callable[[Reference], list[object]]] = {
    "start_run": lambda m: m.start_run("r", FIELDS, b"S", 0, 0, "", lane=""),
    "claim_runs": claim,
    "resume_runs": resume,
    "commit_run, go": lambda m: commit(m, "go"),
    "commit_run, park": lambda m: commit(m, "park"),
    "commit_run, block": lambda m: commit(m, "block"),
    "commit_run, renew": lambda m: commit(m, "renew", due="0 0"),
    "commit_run, completed": lambda m: commit(m, "completed"),
    "release_entry": release,
    "fire_timer": fire,
    "send_event": event,
    "cancel_run": cancel,
    "settle_run": settle,
    "unblock_runs": lambda m: m.unblock_runs("", "", [("r", "q")])[1][:1],
    "retry_run": lambda m: m.retry_run("r", "t", 0, "q", "q"),
    "remove_run": lambda m: m.remove_run("r", "r"),
}


def bring(state: str) -> Reference:
    """A run in this state, by the shortest way there; worker A has it, or had."""
    m = Reference()
    m.now = NOW
    if state == "absent":
        return m
    m.start_run("r", FIELDS, b"S", 1_000 if state == "delayed" else 0, 0, "", lane="")
    if state == "delayed":
        return m
    m.claim_runs("A", "n", 5, 100, [("r", m.state.runs["r"].entry)], has_entered=False)
    if state in ("ready", "parked"):
        commit(m, "park", due=str(NOW + 1_000))
    elif state == "blocked":
        commit(m, "block")
    elif state in TERMINAL:
        commit(m, state)
    if state == "ready":
        m.send_event("r", "woken", b"x", "A", 10, "q")
    return m


def cell(state: str, transition: str) -> str:
    """What becomes of it, and what is answered if that is not OK."""
    m = bring(state)
    before = copy.deepcopy(m.state)
    answer = Answer(TRANSITIONS[transition](m)[0])  # type: ignore[call-overload]
    run = m.state.runs.get("r")
    after = run.status if run else "absent"
    is_changed = m.state != before
    if after != state:
        return f"**{after}**" if answer == Answer.OK else f"**{after}** {answer.name}"
    if answer == Answer.OK:
        return "OK" if is_changed else "(OK)"
    return answer.name


def table() -> str:
    """The states that differ, in Markdown: bold where the run gets to, else what is answered."""
    shown = (*STATES[:6], "failed", "completed")
    lines = ["| | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    lines += [f"| `{each}` | " + " | ".join(cell(state, each) for state in shown) + " |" for each in TRANSITIONS]
    return "\n".join(lines)
