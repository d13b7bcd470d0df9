"""Calling, starting, awaiting and cancelling children from a body.

The states of a child within its parent: issued (the record is in the journal, the child exists), settled (told), given
up (its last awaiter left: it is cancelled, and what it still says is dropped).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from durable_async.checking import to_ms
from durable_async.engine.children import Child, child_id
from durable_async.engine.failures import child_error, mark_line, unpack_error
from durable_async.engine.records import Entry, Kind, NewChild, record, start_record
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import ChildTimeout, CorruptPayload, WorkflowDepthExceeded
from durable_async.types import RAISE, Retry

if TYPE_CHECKING:
    from durable_async.engine.run import Run


def issue_child(
    run: Run,
    spec: WorkflowSpec,
    value: object,
    *,
    ref: str | None,
    queue: str | None,
    awaited: bool,
    on_close: str,
    delay_ms: int = 0,
    retry: Retry | None = None,
) -> Child:
    """The child of this call: the one its ref names, or a new one.

    Raises:
        RefConflict: if the ref names another workflow or input, or is spent.
        WorkflowDepthExceeded: if the child would be deeper than the limit.
        PayloadError: if the input cannot be stored.
        Exception: what the key function of its queue raises.
    """
    child, new = new_child(
        run, spec, value, ref=ref, queue=queue, awaited=awaited, on_close=on_close, delay_ms=delay_ms, retry=retry
    )
    if new is not None:
        _create(run, child, new, f"child:{child.ref}")
        if retry is not None or run.identity.gen > 1:
            child.new = new
    return child


def new_child(
    run: Run,
    spec: WorkflowSpec,
    value: object,
    *,
    ref: str | None,
    queue: str | None,
    awaited: bool,
    on_close: str,
    delay_ms: int = 0,
    retry: Retry | None = None,
    by_step: bool = False,
) -> tuple[Child, NewChild | None]:
    """The child that a ref names, and what it is to be created from if it is new. Raises as `issue_child`."""
    left_out = not spec.takes_input or (value is None and spec.has_default)
    start = start_record(b"" if left_out else run.codec.encode(value, limit=run.limits.payload, what="input"))
    digest = run.codec.fingerprint(value)
    ref = run.children.pick_ref(ref, spec.name)
    child = run.children.find(ref, spec, digest)
    if child is not None:
        return child, None
    depth = run.identity.depth + 1
    if depth > run.limits.depth:
        raise WorkflowDepthExceeded(
            f"run {run.identity.id} is {run.limits.depth} levels below its root, the most that is allowed; "
            f"child {ref!r} was not started",
            id=run.identity.id,
        )
    start = run.children.one_of(digest, start)
    id, queue = child_id(run.identity.id, ref), queue or spec.queue
    key = spec.key_in(queue, value)
    child = Child(id, ref, spec.name, digest, spec.output_type, awaited, on_close, retry=retry, first_ms=run.now_ms)
    run.children.add(child)
    child.is_cleanup, child.is_spawned = run.is_cleaning_up, by_step
    if spec.compensate is not None and not run.is_unwinding and not by_step:
        child.undo = spec.compensate
        run.saga.watch(child)
    # What was undone is done again, and what undoes it as well.
    keeps = (run.identity.attempt > 1 or run.revivals > 0) and not run.is_unwinding and ref not in run.children.undone
    mode = ("c" if child.is_cleanup else "") + ("k" if keeps else "")
    new = NewChild(id, spec.name, queue, ref, start, digest, depth, awaited, delay_ms, mode, key=key)
    new.timeout_ms, new.leaves = spec.timeout_ms, on_close == "leave"
    return child, new


def _create(run: Run, child: Child, new: NewChild, identity: str) -> None:
    line = record(Kind.CHILD, run.now_ms, identity, child.id, child.workflow, child.digest, int(new.notify))
    run.issue(identity, Entry("R", line, create=new))


def child_ended(run: Run, child: Child, letter: str, payload: bytes) -> None:
    """A child's message: who waits for it goes on, unless it is run again."""
    if child.is_occupied:
        # That was what an earlier life of this run had started: the id is free now.
        child.is_occupied = False
        _run_again(run, child)
        if child.is_spawned:
            child.is_vacant = True
            child.tell_listeners()
        run.children.look_again()
    elif letter not in "fu" or not _is_retried(run, child, payload):
        child.settle(letter, payload)
        child.line = run.position
        if letter == "c" and child.undo is not None:
            run.saga.add_child(child)


def _is_retried(run: Run, child: Child, payload: bytes) -> bool:
    """Whether a child that has just failed is run again under its id; if so, its awaiters go on waiting.

    The attempt starts after the policy's delay, a timer of this run. Its jitter comes from the run and the ref, so that
    a replay sees the same time. The exception is known as data only: its types are told by their names.
    """
    policy = child.retry
    if policy is None or child.new is None or child.attempt >= policy.max_attempts:
        return False
    if not policy.allows_named(unpack_error(payload, run.codec).type):
        return False
    delay_ms = policy.delay_ms(child.attempt, Random(f"{run.identity.id}:{child.ref}:{child.attempt}").random())
    if policy.max_elapsed is not None and run.now_ms + delay_ms - child.first_ms > to_ms(policy.max_elapsed):
        return False
    child.attempt += 1
    child.is_resting = True
    run.loop.call_later(delay_ms / 1000, _run_again, run, child)
    return True


def _run_again(run: Run, child: Child) -> None:
    if child.given_up or child.cancel_asked or child.new is None:
        return
    child.is_resting = False
    child.creations += 1
    new = replace(child.new, attempt=child.attempt, delay_ms=0 if child.attempt > 1 else child.new.delay_ms)
    new.notify = child.awaited
    _create(run, child, new, f"child:{child.ref}#{child.creations}")


def ask_again(run: Run, child: Child) -> None:
    """A child whose end is not known is asked for again, and found by its id; not one that is only about to be."""
    if f"child:{child.ref}" not in run.expected and not child.is_resting and child.new is not None:
        child.is_occupied = False
        child.new.mode = child.new.mode.replace("k", "") + "k"
        _run_again(run, child)


async def until_started(run: Run) -> None:
    """Returns when no child is left that was asked for and could not be started yet; a cancel ends the wait."""
    while not run.is_cancelled and not run.is_over_time:
        if not any(child.is_occupied and not child.given_up for child in run.children.by_ref.values()):
            return
        await run.children.news(run.loop)


async def await_child(
    run: Run, child: Child, *, timeout_ms: int | None, timeout_value: Any, on_timeout: str, owned: bool
) -> Any:
    """A child's result, or `timeout_value`. With `owned`, the last awaiter to leave takes the child with it.

    Raises:
        ChildError: if the child ended without a result.
        ChildTimeout: if the time elapsed and `timeout_value` is RAISE.
    """
    if not child.awaited:
        child.awaited = True
        identity = f"await:{child.ref}"
        run.issue(identity, Entry("R", record(Kind.AWAIT, run.now_ms, identity, child.id), await_child=child.id))
    if not child.is_settled and not await _settled(run, child, timeout_ms, owned):
        if on_timeout == "cancel" and not child.waiters:
            give_up(run, child, f"the call in {run.identity.id} timed out")
        elif on_timeout == "leave" and owned:
            child.on_close = "leave"  # it was told to go on: the end of this run is no reason to stop, either
        if timeout_value is RAISE:
            raise ChildTimeout(f"child {child.id} did not end in time", child_id=child.id, workflow=child.workflow)
        return timeout_value
    if child.letter == "c":
        return run.decode(child.payload, child.output_type, f"output of child {child.id}")
    try:
        error = child_error(child, run.codec)
    except CorruptPayload as corrupt:
        run.corrupt = corrupt
        raise
    if run.is_replaying:
        mark_line(error, child.line)
    raise error


async def _settled(run: Run, child: Child, timeout_ms: int | None, owned: bool) -> bool:
    """Waits until the child is settled (True) or the time is over (False)."""
    future: asyncio.Future[None] = run.loop.create_future()
    run.children.wait(child, future)
    handle = None
    if timeout_ms is not None:
        handle = run.loop.call_later(timeout_ms / 1000, _elapse, future)
    try:
        await future
    except asyncio.CancelledError:
        run.children.leave(child, future)
        if owned and not child.waiters and not child.is_settled:
            give_up(run, child, _loss(run))
        raise
    finally:
        if handle is not None:
            handle.cancel()
    run.children.leave(child, future)
    return child.is_settled


def _elapse(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _loss(run: Run) -> str:
    if run.is_cancelled:
        return f"parent {run.identity.id} was cancelled: {run.cancel_reason}"
    return f"the call in {run.identity.id} was cancelled"


def give_up(run: Run, child: Child, reason: str) -> None:
    """Cancels a child that nobody waits for any more; its ref is spent."""
    child.given_up = True
    ask_cancel(run, child, reason)
    child.tell_listeners()


def ask_cancel(run: Run, child: Child, reason: str) -> None:
    """Has the child cancelled, by durable work of the store: once per child."""
    if not child.cancel_asked and not child.is_settled:
        child.cancel_asked = reason or "cancelled by its parent"
        identity = f"cancel:{child.ref}"
        line = record(Kind.CANCEL, run.now_ms, identity, child.id, child.cancel_asked)
        run.issue(identity, Entry("R", line, cancel_child=(child.id, child.cancel_asked)))


def close_children(run: Run) -> None:
    """The run ends: started children that are not to outlive it are cancelled."""
    if not run.has_children:
        return
    reason = _loss(run) if run.is_cancelled else f"parent {run.identity.id} ended"
    for child in run.children.by_ref.values():
        if child.on_close == "cancel":
            ask_cancel(run, child, reason)
