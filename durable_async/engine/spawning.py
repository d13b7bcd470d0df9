"""Children that a step starts, on the run's side: what the journal holds of them, and what a replay makes of that.

A body asks for its children again in a replay; a step does not run in one. So its children are recorded as things that
happened to the run: `SPAWN` names a child (again, for a further attempt), `JOIN` says that its end is to be told,
`DROP` that it was given up or left alone. They share the run's name space and its inbox, and are created by the run's
own commit, so a crash leaves neither a child that the run does not know nor a second one: the step that runs again
finds the first.

What a step waits for is a future of the worker's loop, which no replay has. Nothing that the body does depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable_async.checking import check_name
from durable_async.engine.calling import give_up, new_child
from durable_async.engine.children import Child, child_id
from durable_async.engine.records import Entry, Kind, NewChild, record, start_record
from durable_async.engine.spec import WorkflowSpec

if TYPE_CHECKING:
    from durable_async.engine.run import Run

REASON = "the step that called it in {} was cancelled"


def spawn_child(
    run: Run,
    spec: WorkflowSpec,
    value: object,
    *,
    ref: str,
    queue: str | None,
    awaited: bool,
    on_close: str,
    delay_ms: int = 0,
    by: str = "",
) -> tuple[Child, Entry | None]:
    """The child of a step's call, and what has to be committed before it is there: None if that is so already.

    With `by`, the step's identity, it is given up with the step.

    Raises:
        RefConflict, WorkflowDepthExceeded, PayloadError: as `calling.issue_child`.
        ValueError: if the ref is no name.
    """
    check_name(ref, "ref")
    child, new = new_child(
        run, spec, value, ref=ref, queue=queue, awaited=awaited, on_close=on_close, delay_ms=delay_ms, by_step=True
    )
    if new is not None:
        child.by_step = by
        return child, _spawn(run, child, new)
    return child, join_child(run, child) if awaited else None


def spawn_again(
    run: Run,
    child: Child,
    spec: WorkflowSpec,
    value: object,
    queue: str | None,
    *,
    delay_ms: int = 0,
    is_attempt: bool,
) -> Entry:
    """A child under its id once more: a further attempt after a failure, or because the id was occupied until now."""
    left_out = not spec.takes_input or (value is None and spec.has_default)
    start = start_record(b"" if left_out else run.codec.encode(value, limit=run.limits.payload, what="input"))
    child.attempt += is_attempt
    child.creations += 1
    child.letter, child.payload, child.is_vacant = "", b"", False
    mode = ("c" if run.is_cleaning_up else "") + ("k" if run.identity.attempt > 1 else "")
    depth, awaited = run.identity.depth + 1, child.awaited
    new = NewChild(
        child.id, spec.name, queue or spec.queue, child.ref, start, child.digest, depth, awaited, delay_ms, mode
    )
    new.timeout_ms, new.attempt, new.leaves = spec.timeout_ms, child.attempt, child.on_close == "leave"
    return _spawn(run, child, new)


def _spawn(run: Run, child: Child, new: NewChild) -> Entry:
    identity = f"spawn:{child.ref}" + (f"#{child.creations}" if child.creations > 1 else "")
    facts = (child.id, child.ref, child.workflow, child.digest, int(new.notify), child.on_close, child.attempt)
    run.children.has_called |= bool(child.by_step)
    return run.put(Entry("R", record(Kind.SPAWN, run.now_ms, identity, *facts, child.by_step), create=new))


def join_child(run: Run, child: Child) -> Entry | None:
    """Has the end of a child told to the run; None if it is."""
    if child.awaited:
        return None
    child.awaited = True
    line = record(Kind.JOIN, run.now_ms, f"join:{child.ref}", child.id)
    return run.put(Entry("R", line, await_child=child.id))


def drop_child(run: Run, child: Child, reason: str, *, spends: bool) -> Entry | None:
    """A step has it cancelled, unless others wait for it; with `spends` its ref is spent."""
    if child.is_settled or child.cancel_asked or child.waiters or child.listeners:
        return None
    child.cancel_asked, child.given_up = reason, spends
    line = record(Kind.DROP, run.now_ms, f"drop:{child.ref}", child.id, reason, int(spends))
    return run.put(Entry("R", line, cancel_child=(child.id, reason)))


def step_given_up(run: Run, step: str) -> None:
    """The body has given a step up: so are the children that it had called. The same in a replay."""
    for child in run.children.by_ref.values():
        if child.by_step == step and child.on_close == "cancel" and not child.waiters and not child.is_settled:
            give_up(run, child, REASON.format(run.identity.id))


def leave_child(run: Run, child: Child) -> None:
    """A step does not wait any longer for a child, which is to go on also if the run ends."""
    if child.on_close != "leave":
        child.on_close = "leave"
        run.put(Entry("R", record(Kind.DROP, run.now_ms, f"leave:{child.ref}", child.id, "", 0)))


def replay_spawn(run: Run, kind: str, values: list[Any]) -> bool:
    """Takes what is recorded of a step's child; False if it cannot be."""
    if kind == Kind.SPAWN:
        id, ref, workflow, digest, notify, on_close, attempt, by = values[3:]
        if id != child_id(run.identity.id, ref) or on_close not in ("leave", "cancel") or attempt < 1:
            return False
        child = run.children.by_ref.get(ref)
        if child is None:
            child = Child(id, ref, workflow, digest, Any, bool(notify), on_close, by_step=by, is_spawned=True)
            run.children.add(child)
            run.children.has_called |= bool(by)
        else:
            child.creations += 1
        child.letter, child.payload, child.attempt, child.is_vacant = "", b"", attempt, False
        return True
    child = run.children.by_id.get(values[3])
    if child is None:
        return False
    if kind == Kind.JOIN:
        child.awaited = True
    elif values[4]:
        child.cancel_asked, child.given_up = values[4], bool(values[5])
    else:
        child.on_close = "leave"
    return True
