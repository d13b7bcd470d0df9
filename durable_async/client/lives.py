"""The part of a `Durable` by which a run lives again: taken up after a failure, forked, removed to begin anew."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from durable_async.checking import brief, check_run_id
from durable_async.client.base import Base
from durable_async.client.handle import Handle
from durable_async.client.reading import public_status
from durable_async.engine.children import child_id
from durable_async.engine.records import Kind, parse_message, parse_record
from durable_async.engine.reviving import forked, step_of, surviving
from durable_async.errors import RunNotFound, RunNotWaiting
from durable_async.store.commands import NewRun

if TYPE_CHECKING:
    from durable_async.client.durable import Durable

PAGE = 1_000
STEP_KINDS = (Kind.STEP, Kind.ATTEMPT, Kind.LAUNCH)
FIELDS = ("workflow", "queue", "digest", "retention", "version", "started", "created")


class Lives(Base):
    """Further lives of runs."""

    async def retry(self, id: str) -> Handle[Any]:
        """Takes a failed run up again, from where it failed.

        The final failure is void, and so is what was done and cancelled because of it: the step or child that failed
        runs again, with all its attempts; completed steps and children stay. A failure of the workflow's own code
        goes away only with other code. Its time begins anew if it has a `timeout`. A run that is blocked is tried
        again, too. The parent that saw the failure is not told again; clients that wait are.

        Not guaranteed: that a step of other branches is not run again, where the failure has led to calls of the same
        step: then no outcome of that step behind the failure counts.

        Raises:
            RunNotFound: if there is no such run.
            RunNotWaiting: if it has neither failed nor is blocked.
        """
        check_run_id(id)
        store = self._session.store
        [row] = await store.fields([id], ("workflow",))
        workflow = (row[0] or b"").decode(errors="replace")
        if not await store.unblock_run(id):
            known = self._workflows.get(workflow)
            status = await store.retry_run(id, 0 if known is None else known.spec.timeout_ms)
            if status != "failed":
                raise RunNotWaiting(f"run {id} is {status}: only a run that has failed, or is blocked, can be retried")
        return self._handle(id, workflow)

    async def fork(self, id: str, *, from_step: str | int) -> Handle[Any]:
        """Starts a new run that keeps what another run has seen before a step; from there on it goes its own way.

        Args:
            id: the other run, whatever its state; it is not touched.
            from_step: the name of a step (its first call; `name#2` its second), or the index of an entry of the
                history. Outcomes recorded before it are kept.

        Children that had not ended by then are started anew under the new run; those that had are not, and are listed
        under the old run only. Not guaranteed: that a workflow can be forked that makes refs of `uuid()` or `random()`,
        which differ between runs: such a fork is blocked.

        Raises:
            RunNotFound: if there is no such run.
            ValueError: if it has no such step or entry.
        """
        check_run_id(id)
        if isinstance(from_step, bool) or not isinstance(from_step, str | int):
            raise TypeError(f"from_step must be a step's name or an index, not {type(from_step).__name__}")
        [row] = await self._session.store.fields([id], FIELDS)
        journal = await self._journal(id)
        if row[0] is None or not journal:
            raise RunNotFound(f"no run has the id {id!r}")
        lines, _ = surviving(journal[:from_step] if isinstance(from_step, int) and from_step > 0 else journal)
        kept = lines[: _cut(id, lines, from_step)]
        new_id = secrets.token_hex(16)
        run, more, past = self._forked(new_id, row, kept)
        if not await self._session.store.fork_run(run, more, past):
            raise AssertionError("a random id is in use")  # pragma: no cover
        return self._handle(new_id, run.workflow)

    def _forked(
        self, new_id: str, row: Sequence[bytes | None], kept: Sequence[bytes]
    ) -> tuple[NewRun, list[str | bytes | int], list[bytes]]:
        workflow, queue, digest, retention, version, started, created = row
        name = (workflow or b"").decode()
        known = self._workflows.get(name)
        messages = [parse_message(line) for line in kept if line[:1] == b"M"]
        last = max((message.number for message in messages), default=0)
        first_ms = int(started or created or 0)
        times = [parse_record(line)[1] for line in kept if line[:1] == b"R"] + [m.time_ms for m in messages]
        run = NewRun(
            id=new_id,
            workflow=name,
            queue=(queue or b"default").decode(),
            digest=digest or b"",
            start=kept[0],
            retention_ms=int(retention or -1),
            client=self._session.listener.client_id,
            version=version.decode() if version else None,
            timeout_ms=0 if known is None else known.spec.timeout_ms,
            token=secrets.token_hex(8),
        )
        more: list[str | bytes | int] = ["started", first_ms, "gen", 2, "mail", last, "taken", last]
        past = forked(kept, lambda ref: child_id(new_id, ref), max(times, default=first_ms))
        return run, more, past

    async def _journal(self, id: str) -> list[bytes]:
        key, found = self._session.keys.journal(id), list[bytes]()
        while True:
            command = ("LRANGE", key, len(found), len(found) + PAGE - 1)
            page = await self._session.store.caller.call(command, deadline_s=self._session.store.deadline_s)
            found += page
            if len(page) < PAGE:
                [start] = await self._session.store.whole_starts([id], found[:1] or [None])
                return [start, *found[1:]] if start is not None else found

    def _handle(self, id: str, workflow: str) -> Handle[Any]:
        known = self._workflows.get(workflow)
        # What was told of the id so far is of an earlier life.
        waiter = self._session.listener.waiter(id, has_lived=True)
        return Handle(cast("Durable", self), id, Any if known is None else known.spec.output_type, waiter=waiter)

    async def _remove_tree(self, id: str, parent: str = "") -> bool:
        """Removes an ended run with all below it; what is active below it is terminated. False if it is active."""
        store = self._session.store
        while not await store.remove_run(id, parent):
            standing = (await store.standings([id]))[0]
            if standing is not None and not public_status(standing.status, 1).is_terminal:
                if not parent:
                    return False
                await store.settle_run(id, "terminate", "cancelled", b"terminated: its root is replaced")
            for child in await store.caller.call(("ZRANGE", self._session.keys.children(id), 0, 99)):
                await self._remove_tree(child.decode(), id)
        return True


def _cut(id: str, lines: Sequence[bytes], from_step: str | int) -> int:
    """Before which line a fork begins."""
    if isinstance(from_step, int):
        if not 0 < from_step <= len(lines):
            raise ValueError(f"run {id} has no entry {from_step} in its history to be forked from")
        return _before_end(lines, from_step)
    names: list[str] = []
    for at, line in enumerate(lines):
        if line[:1] == b"R" and (values := parse_record(line))[0] in STEP_KINDS:
            identity = step_of(values).removeprefix("step:")
            if from_step in (identity, identity.removesuffix("#1")):
                return _before_end(lines, at)
            names.append(identity.removesuffix("#1"))
    known = ", ".join(dict.fromkeys(names[:10])) or "none"
    raise ValueError(f"run {id} has recorded no step {brief(from_step)}; it has {known}")


def _before_end(lines: Sequence[bytes], cut: int) -> int:
    """Not behind a cancel or the beginning of an end: a fork has neither."""
    for at in range(1, cut):
        line = lines[at]
        if line[:1] == b"M" and parse_message(line).kind == "X":
            return at
        if line[:1] == b"R" and parse_record(line)[0] in (Kind.SAGA, Kind.CUT):
            return at
    return cut
