"""What a run undoes when it does not end well: its compensations, newest first.

The states of a saga: *open* while the body runs, and what completes is noted; *looking* once the body and everything it
left has ended: started children whose end nobody has asked for are asked for now; *unwinding*: one compensation after
the other, each an ordinary durable step or child; *over*. From the first record on (`Kind.SAGA`, which keeps the error
or the reason) the run's record says that it is compensating: a cancel does not reach it any more.

As soon as there is something to undo, the record says so, and the store does not end the run when the grace of a cancel
is over: whoever owns it cuts what is left of the body here, and compensates.

Nothing here is remembered between two owners. What is to be undone follows from the journal, in its order, and so a
replay finds the saga where it was. It runs in a task of its own, which no code of the body's can have got hold of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durable_async.checking import to_ms
from durable_async.engine.calling import await_child, issue_child
from durable_async.engine.children import Child
from durable_async.engine.closing import cut
from durable_async.engine.failures import pack_error, step_failure, unpack_error
from durable_async.engine.records import Entry, Kind, record
from durable_async.engine.spec import Definition, StepSpec, WorkflowSpec
from durable_async.errors import CorruptPayload, ErrorInfo

if TYPE_CHECKING:
    from durable_async.engine.run import Run

UNDO = "undo:"
"""Begins the identity of a step that compensates."""
IDENTITY = "saga"


@dataclass(slots=True, frozen=True)
class _Undo:
    """One compensation that is to be run if the run does not end well."""

    by: Definition
    args: Callable[[], tuple[Any, ...]]
    ref: str = ""
    """Of the child that it undoes."""


async def _nothing() -> None:
    """Done once the commits before it were answered."""


_LOOK = StepSpec(name="children", function=_nothing)


class Saga:
    """The compensations of one run."""

    __slots__ = (
        "_is_bounded",
        "_is_closed",
        "_outcome",
        "_run",
        "_sets",
        "_undos",
        "_watched",
        "is_begun",
        "is_unwinding",
    )

    def __init__(self, run: Run) -> None:
        self._run = run
        self._undos: list[_Undo] = []
        self._watched: list[Child] = []
        self._outcome = ("", b"")
        self._sets: list[str] = []
        self.is_begun = False
        """Whether the body and all it left has ended, not well."""
        self._is_bounded = False
        self._is_closed = False
        self.is_unwinding = False
        """Whether compensations have begun: what they start is cleanup, and is not itself compensated."""

    # ------------------------------------------------------------------ what is noted while the body runs

    def add(self, by: Definition, args: tuple[Any, ...]) -> None:
        """The body says itself what is to be undone, and with what."""
        self._note(_Undo(by, lambda: args))

    def add_step(self, spec: StepSpec, data: bytes) -> None:
        """A step with a compensation has completed."""
        if spec.compensate is not None:
            self._note_result(spec.compensate, data, spec.output_type, f"result of step {spec.name!r}")

    def watch(self, child: Child) -> None:
        """A child that declares a compensation was issued."""
        if not self._is_closed:
            self._pending()
            self._watched.append(child)

    def add_child(self, child: Child) -> None:
        """A child with a compensation has completed."""
        if child.undo is not None:
            self._note_result(child.undo, child.payload, child.output_type, f"output of child {child.id}", child.ref)

    def _note_result(self, by: Definition, data: bytes, annotation: Any, what: str, ref: str = "") -> None:
        # Decoded when it is called for: its own copy, whatever the body has made of what it got.
        self._note(_Undo(by, lambda: (self._run.decode(data, annotation, what),), ref))

    def _note(self, undo: _Undo) -> None:
        if not self._is_closed:
            self._pending()
            self._undos.append(undo)

    def _pending(self) -> None:
        if not self._undos and not self._watched:
            self._sets += ["saga", "pending"]
            if self._run.is_cancelled:
                self.bound()

    def bound(self) -> None:
        """The run was cancelled, and has something to undo: its cleanup has this long."""
        if not self._is_bounded:
            self._is_bounded = True
            run = self._run
            run.loop.call_at((run.cancelled_ms + to_ms(run.limits.cancel_grace)) / 1000, self._cut)

    def _cut(self) -> None:
        run = self._run
        if self.is_begun or run.outcome is not None:
            return
        if run.is_replaying:
            # The grace may have been another one: the record says when it was.
            run.loop.call_later(0.001, self._cut)
        else:
            run.append(record(Kind.CUT, run.now_ms, ""))
            cut(run)

    # ------------------------------------------------------------------ the end

    async def unwind(self, status: str, data: bytes) -> tuple[str, bytes]:
        """After the body and all it left has ended without a result: how the run ends, and what is stored with it."""
        self.is_begun = True
        if not self._undos and not any(_may_have_completed(child) for child in self._watched):
            return status, data
        task = self._run.loop.create_task(self._unwind(status, data), name="saga")
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue  # a callback that the body has left behind
        return task.result()

    async def _unwind(self, status: str, data: bytes) -> tuple[str, bytes]:
        run = self._run
        self._outcome = (status, data)
        self._sets += ["saga", "undoing"]
        run.issue(IDENTITY, Entry("R", record(Kind.SAGA, run.now_ms, IDENTITY, status, data)))
        await self._look()
        has_undone, has_failed = bool(self._undos), False
        self._is_closed = self.is_unwinding = True
        while self._undos:
            undo = self._undos.pop()
            if undo.ref:
                run.children.undone.add(undo.ref)
            try:
                await self._undo(undo)
            except Exception as error:  # noqa: BLE001  # one that fails does not stop the rest
                has_failed = True
                identity = f"undo_failed:{undo.by.spec.name}#{run.count('undo_failed')}"
                line = record(Kind.UNDO_FAILED, run.now_ms, identity, step_failure(error, run.codec))
                run.issue(identity, Entry("R", line))
        status, data = self._outcome
        if run.is_cancelled and status != "cancelled" and not has_failed:
            return "cancelled", run.cancel_reason.encode()  # promised while it was compensating
        if has_failed:
            if status == "cancelled":
                data = pack_error(ErrorInfo("RunCancelled", data.decode(errors="replace")), run.codec)
            return "compensation_failed", data
        return ("compensated" if has_undone and status == "failed" else status), data

    async def _undo(self, undo: _Undo) -> None:
        run, spec = self._run, undo.by.spec
        args = undo.args()
        if isinstance(spec, WorkflowSpec):
            value = args[0] if args else None
            child = issue_child(run, spec, value, ref=None, queue=None, awaited=True, on_close="cancel")
            await await_child(run, child, timeout_ms=None, timeout_value=None, on_timeout="leave", owned=True)
        else:
            await run.steps.call(spec, args, {}, UNDO)

    async def _look(self) -> None:
        """Learns what became of the children with a compensation that have told nothing yet."""
        run = self._run
        unknown = [child for child in self._watched if _may_have_completed(child)]
        if not unknown:
            return
        for child in unknown:
            if not child.awaited:
                child.awaited = True
                identity = f"await:{child.ref}"
                line = record(Kind.AWAIT, run.now_ms, identity, child.id)
                run.issue(identity, Entry("R", line, await_child=child.id))
        # A step is launched once the commit before it was answered, and the answer tells of those that have ended.
        await run.steps.call(_LOOK, (), {}, "look:")
        for child in unknown:
            if not child.is_settled and self._is_ending(child):
                future: asyncio.Future[None] = run.loop.create_future()
                run.children.wait(child, future)
                await future
                run.children.leave(child, future)

    def _is_ending(self, child: Child) -> bool:
        # Cancelled by this run, or by the walk over those that were there when it was cancelled itself: it ends soon,
        # and may have completed all the same. Others are left to go on, and so is what they have done.
        return bool(child.cancel_asked) or (self._run.is_cancelled and not child.is_cleanup)

    def take_sets(self) -> list[str]:
        """Fields of the run's record for the next commit."""
        sets, self._sets = self._sets, []
        return sets

    def disconnect(self) -> None:
        """The run is dropped from memory."""
        self._undos.clear()
        self._watched.clear()

    def recorded(self, kind: str, values: list[Any]) -> None:
        """A replay has come to a record of the saga's: how the body ended is what the first run made of it."""
        if kind == Kind.SAGA:
            status, data = values[3], values[4]
            if status == "failed":
                unpack_error(data, self._run.codec)
            elif status != "cancelled":
                raise CorruptPayload("a journal record of kind 'saga' cannot be read")
            self._outcome = (status, data)


def _may_have_completed(child: Child) -> bool:
    return not child.is_settled and not child.is_resting
