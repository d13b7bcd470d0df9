"""Turns what a run wants into a commit of the store."""

from __future__ import annotations

from durable_async.engine.children import LARGE
from durable_async.engine.records import Entry, NewChild, Turn
from durable_async.store.commands import NO_PARENT, Commit, NewRun
from durable_async.store.keys import lane_of, priority_of, queue_of
from durable_async.store.shared import shared_line
from durable_async.worker.resident import Resident
from durable_async.worker.shared import SharedInputs


def commit_of(resident: Resident, turn: Turn, worker_id: str, shared: SharedInputs) -> Commit:
    """The commit that says what a turn says; its number is counted when it is sent."""
    claimed = resident.claimed
    held = resident.held
    commit = Commit(
        id=resident.id,
        epoch=resident.epoch,
        nonce=resident.nonce,
        seq=resident.seq,
        entry=held.name if held is not None else "",
        want=turn.want,
        payload=turn.payload,
        due_ms=turn.due_ms,
        sets=turn.sets,
        slot_of=queue_of(claimed.queue) if held is not None and held.has_entered else "",
        seen=resident.run.fed,
        queue=claimed.queue,
        parent=(claimed.parent, claimed.hint, claimed.parent_queue) if claimed.parent else NO_PARENT,
    )
    for entry in turn.entries:
        commit.lines.append((entry.letter, entry.value))
        if entry.has_effect:
            _effect(commit, resident, entry, worker_id)
    if commit.children and (len(commit.children) > 1 or len(commit.children[0].start) > LARGE):
        _share(commit, shared)
    return commit


def _share(commit: Commit, shared: SharedInputs) -> None:
    """A large input that several of the new children have, or others of the tree, is stored once; they say where."""
    lots: dict[bytes, list[NewRun]] = {}
    for child in commit.children:
        if len(child.start) > LARGE:
            lots.setdefault(child.digest, []).append(child)
    for fingerprint, lot in lots.items():
        start = lot[0].start
        # Equal inputs come as one object; of others with this fingerprint each keeps its own.
        same = [child for child in lot if child.start is start]
        line = shared_line(commit.id, fingerprint)
        is_known = shared.known(line) is not None
        if len(same) > 1 or is_known:
            commit.shared[fingerprint] = start[1:]
            if is_known:
                commit.stored |= {fingerprint}
            else:
                shared.keep(line, start)
            for child in same:
                child.start = line


def _effect(commit: Commit, resident: Resident, entry: Entry, worker_id: str) -> None:
    if entry.create is not None:
        commit.children.append(_new_run(entry.create, resident, worker_id))
    elif entry.await_child:
        commit.awaits.append(entry.await_child)
    elif entry.cancel_child is not None:
        child_id, reason = entry.cancel_child
        commit.walks.append(("c" + child_id, reason.encode()))
    elif entry.question is not None:
        commit.questions.append(entry.question)


def _new_run(child: NewChild, resident: Resident, worker_id: str) -> NewRun:
    # A child is as urgent as its parent: in a queue of its own it would hold that up.
    priority = priority_of(resident.claimed.queue)
    return NewRun(
        id=child.id,
        workflow=child.workflow,
        queue=lane_of(child.queue, priority),
        digest=child.digest,
        start=child.start,
        retention_ms=resident.claimed.retention_ms,  # a tree is kept and goes as a whole
        delay_ms=child.delay_ms,
        parent=resident.id,
        ref=child.ref,
        hint=worker_id,
        parent_queue=resident.claimed.queue,
        depth=child.depth,
        notify=child.notify,
        mode=child.mode + "v" if priority else child.mode,
        attempt=child.attempt,
        timeout_ms=child.timeout_ms,
        leaves=child.leaves,
        parent_gen=resident.claimed.gen,
        key=child.key,
    )
