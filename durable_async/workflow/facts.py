"""What a body may know without I/O: the time, its own identity, and numbers that every replay repeats."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from uuid import UUID

from durable_async.engine.run import Run
from durable_async.shapes import RunInfo
from durable_async.types import Status
from durable_async.workflow.current import current_run


def now() -> datetime:
    """Durable time, as an aware UTC datetime: the time of the last thing that happened to the run."""
    return datetime.fromtimestamp(current_run("now()").now_ms / 1000, UTC)


def uuid() -> UUID:
    """A UUID that is the same on every replay and differs between calls and runs. Not a secret."""
    run = current_run("uuid()")
    seed = f"{_life(run)}:{run.count('uuid')}"
    return UUID(bytes=blake2b(seed.encode(), digest_size=16).digest(), version=4)


def random() -> Random:
    """A random number generator with a seed of its own at each call, the same on every replay. Not for secrets."""
    run = current_run("random()")
    return Random(f"{_life(run)}:{run.count('random')}")


def _life(run: Run) -> str:
    me = run.identity
    return f"{me.id}:{me.created_ms}" if me.born == 1 else f"{me.id}:{me.created_ms}:{me.born}"


def info() -> RunInfo:
    """What this run is: id, root id, parent id, ref, queue, attempt, created and started times."""
    run = current_run("info()")
    me = run.identity
    return RunInfo(
        id=me.id,
        workflow=run.spec.name,
        queue=me.queue,
        status=Status.RUNNING,
        parent_id=me.parent_id,
        root_id=me.root_id,
        ref=me.ref,
        attempt=me.attempt,
        created_at=datetime.fromtimestamp(me.created_ms / 1000, UTC),
        started_at=datetime.fromtimestamp(me.started_ms / 1000, UTC),
        version=me.version,
    )
