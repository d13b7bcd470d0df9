"""`Durable`: the entrance for applications."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

from durable_async.checking import brief, check_label, check_name, check_queue, check_reason, check_run_id, to_ms
from durable_async.client.checks import CONFLICTS, check_filter, check_moment, check_priority, delay_ms, statuses
from durable_async.client.handle import Handle
from durable_async.client.ids import random_id
from durable_async.client.inputs import Inputs
from durable_async.client.lives import Lives
from durable_async.client.mounting import Mounting
from durable_async.client.operating import Operating
from durable_async.client.queries import Queries
from durable_async.client.registration import spec_of
from durable_async.client.scheduling import Scheduling
from durable_async.client.serving import Serving
from durable_async.codec import is_same_input, roundtrip
from durable_async.engine.records import Outcome, event_body, start_record
from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import RunNotWaiting, WorkflowIdConflict
from durable_async.shapes import HistoryEvent, Page, RunInfo, RunTree
from durable_async.store.commands import NewRun
from durable_async.store.keys import lane_of
from durable_async.store.status import Answer
from durable_async.types import Duration
from durable_async.workflow.definitions import Workflow

InputT = TypeVar("InputT")
# In the class body `list` is the method of that name.
_Infos = list[RunInfo]
_Events = list[HistoryEvent]
OutputT = TypeVar("OutputT")


class Durable(Serving, Operating, Scheduling, Inputs, Lives, Mounting):
    """A client of one namespace, which can also run workers.

    Entering it opens the connection, leaving it closes it; one instance may be entered from several places of one
    process, and closes with the last. It belongs to the event loop in which it was entered.

    Args:
        url: `redis:// rediss:// unix:// redis+sentinel://`; by default `$DURABLE_URL`, else an embedded server in
            ``.durable`` of the working directory.
        workflows: workflows and modules that hold some; what workers of this object run, and what `start` knows by
            name.
        namespace: runs of other namespaces on the same server are invisible.
        codec: how payloads are stored; by default `MsgpackCodec()`.
        retention: how long an ended root run and its tree stay readable; `@workflow(retention=)` and
            `start(retention=)` go before it.
        limits: bounds of sizes, depth and patience.
        lifespan: an async context manager factory that wraps each worker.
        settings: instead of the environment's.

    Raises:
        ConfigurationError: if the URL or the workflows cannot be used. Nothing is connected yet.
    """

    def _queries(self, *, has_values: bool = True) -> Queries:
        return Queries(self._session.store, self.codec, self._specs(), self._read_limit, has_values=has_values)

    @overload
    async def start(
        self,
        workflow: Workflow[InputT, OutputT],
        input: InputT | None = None,
        *,
        id: str | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        retention: Duration | None = None,
        on_conflict: str = "join",
    ) -> Handle[OutputT]: ...
    @overload
    async def start(
        self,
        workflow: str,
        input: Any = None,
        *,
        id: str | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        retention: Duration | None = None,
        on_conflict: str = "join",
    ) -> Handle[Any]: ...
    async def start(
        self,
        workflow: Workflow[Any, Any] | str,
        input: Any = None,
        *,
        id: str | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        retention: Duration | None = None,
        on_conflict: str = "join",
    ) -> Handle[Any]:
        """Starts a run; once this returns it reaches exactly one end, as long as the store keeps what it acknowledged.

        Args:
            workflow: a workflow, or the name of a registered one.
            input: its input, checked here against the annotation.
            id: names the run; by default a random one. The same id with the same workflow and input joins the run that
                has it, whatever its state.
            queue: where it runs; by default the workflow's own queue.
            delay: how long it waits before it starts, as a ``timedelta`` or seconds.
            at: when it starts, as an aware datetime; a time that has passed is at once.
            priority: from -10 to 10; of the runs of its queue that wait to be taken, those with a higher one come
                first. By default 0. Its children have it too, also in other queues.
            retention: how long it and its tree stay readable after its end; by default what its workflow says, else
                what this client says. 0 is at once: only clients that wait already get the result. Who joins a run
                does not change it.
            on_conflict: `join` (default); `raise` refuses any id that exists; `replace` removes an ended run of this id
                with its whole tree (what is active in it is terminated) and starts anew, whatever its workflow and
                input were.

        Raises:
            WorkflowIdConflict: if the id belongs to another workflow or input, or exists and `on_conflict` is `raise`,
                or is active and it is `replace`.
            InvalidInput: if the input does not fit the annotation.
            NotSerializable, PayloadTooLarge: if it cannot be stored.
            TypeError: if the workflow takes no input and one is given.
            UnknownWorkflow: if no workflow of this name is registered.
            Exception: what the key function of its queue raises.
            StoreUnavailable: if the store cannot be reached; the run may have been started: start it again with the
                same id.
        """
        spec = spec_of(self._workflows, workflow)
        id = random_id() if id is None else check_name(id, "id")
        payload, digest, seen = self._encode_input(spec, input)
        if on_conflict not in CONFLICTS:
            raise ValueError(f"on_conflict must be one of {CONFLICTS}, got {brief(on_conflict)}")
        listener = self._session.listener
        name = check_queue(queue) if queue is not None else spec.queue
        keep = retention if retention is not None else spec.retention
        run = NewRun(
            id=id,
            workflow=spec.name,
            queue=name if priority is None else lane_of(name, check_priority(priority)),
            digest=digest,
            start=start_record(payload),
            retention_ms=self._retention_ms if keep is None else to_ms(keep, "retention"),
            delay_ms=0 if delay is None and at is None else delay_ms(delay, at),
            client=listener.client_id,
            token=secrets.token_hex(8) if on_conflict != "join" else "",
            version=spec.version,
            timeout_ms=spec.timeout_ms,
            key="" if spec.limits is None else spec.key_in(name, seen),
        )
        if not listener.is_open:
            await listener.ensure()
        waiter = listener.waiter(id, is_start=True, has_lived=on_conflict == "replace")
        reply = await self._session.store.start_run(run)
        while on_conflict == "replace" and reply[0] == Answer.EXISTS:
            if not await self._remove_tree(id):
                raise WorkflowIdConflict(f"run {id!r} is active and cannot be replaced; cancel it first, or join it")
            reply = await self._session.store.start_run(run)
        is_new = reply[0] == Answer.OK
        if not is_new:
            self._check_conflict(run, reply, on_conflict)
        handle: Handle[Any] = Handle(self, id, spec.output_type, waiter=waiter)
        handle._is_registered = is_new
        return handle

    def _encode_input(self, spec: WorkflowSpec, input: object) -> tuple[bytes, bytes, Any]:
        if not spec.takes_input:
            if input is not None:
                raise TypeError(f"workflow {spec.name!r} takes no input, got {type(input).__name__}")
            return b"", self.codec.fingerprint(None), None
        if input is None and spec.has_default:
            return b"", self.codec.fingerprint(None), None
        payload, seen = roundtrip(self.codec, input, spec.input_type, self.limits.payload, "input")
        # What the body will see, defaults filled in: a model and the same model as a dict are one input.
        return payload, self.codec.fingerprint(seen), seen

    def _check_conflict(self, run: NewRun, reply: Sequence[Any], on_conflict: str) -> None:
        _, workflow, digest, _status = reply
        if on_conflict == "raise":
            raise WorkflowIdConflict(f"a run with the id {run.id!r} exists; use another id, or on_conflict='join'")
        if workflow.decode() != run.workflow:
            raise WorkflowIdConflict(
                f"the id {run.id!r} belongs to a run of workflow {workflow.decode()!r}, not {run.workflow!r}; "
                "use another id"
            )
        if not is_same_input(digest, run.digest):
            raise WorkflowIdConflict(
                f"the id {run.id!r} belongs to a run of {run.workflow!r} with another input; use another id"
            )

    @overload
    def run(self, id: str, wf: None = None) -> Handle[Any]: ...
    @overload
    def run(self, id: str, wf: Workflow[Any, OutputT]) -> Handle[OutputT]: ...
    def run(self, id: str, wf: Workflow[Any, Any] | None = None) -> Handle[Any]:
        """A handle on a run by its id; no I/O until it is asked. `wf` gives the type of its result."""
        check_run_id(id)
        if wf is not None and not isinstance(wf, Workflow):
            raise TypeError(f"wf must be a workflow (a function decorated with @workflow), not {type(wf).__name__}")
        return Handle(self, id, wf.spec.output_type if wf is not None else Any)

    def _outcome(self, handle: Handle[Any]) -> Awaitable[Outcome]:
        listener = self._session.listener
        if handle._waiter is None:
            handle._waiter = listener.waiter(handle.id)
        return listener.outcome(handle._waiter, is_registered=handle._is_registered)

    async def get(self, id: str) -> RunInfo:
        """A snapshot of one run.

        Raises:
            RunNotFound: if there is no such run.
        """
        return await self._queries().get(check_run_id(id))

    async def list(
        self,
        *,
        status: Any = None,
        workflow: str | None = None,
        queue: str | None = None,
        id_prefix: str | None = None,
        parent: str | None = None,
        top_level: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[RunInfo]:
        """A page of runs, newest first. All filters must hold; `status` is one or several.

        Not guaranteed: that a run created while pages are read is on none or one of them.

        Raises:
            ValueError: if a filter, the limit (1 to 1,000) or the cursor makes no sense.
        """
        return await self._queries().page(
            status=statuses(status),
            workflow=check_filter(workflow, "workflow"),
            queue=check_filter(queue, "queue"),
            id_prefix=check_filter(id_prefix, "id_prefix"),
            parent=None if parent is None else check_run_id(parent, "parent"),
            top_level=top_level,
            since=None if since is None else check_moment(since, "since"),
            until=None if until is None else check_moment(until, "until"),
            limit=limit,
            cursor=cursor,
        )

    async def list_children(self, id: str, *, status: Any = None) -> _Infos:
        """The children of a run, oldest first; `status` is one or several.

        Raises:
            RunNotFound: if there is no such run.
        """
        return await self._queries().children(check_run_id(id), statuses(status))

    async def tree(self, id: str) -> RunTree:
        """A run with all its descendants.

        Raises:
            RunNotFound: if there is no such run.
        """
        return await self._queries().tree(check_run_id(id))

    async def history(self, id: str) -> _Events:
        """What happened to a run, in order: steps, failed attempts, children, events, timers, its end.

        Raises:
            RunNotFound: if there is no such run.
        """
        return await self._queries().history(check_run_id(id))

    async def cancel(self, id: str, reason: str = "") -> bool:
        """Cancels a run and, by durable work that does not depend on the caller, its whole subtree.

        Returns: True if this call did it: the run ends `cancelled` whatever its body returns. False if it had ended or
        been cancelled before, or has failed and is compensating: that is not stopped half-way, but by `terminate`.

        Raises:
            RunNotFound: if there is no such run.
            ValueError: if the reason is no text of at most 1,000 characters.
        """
        check_run_id(id)
        check_reason(reason)
        session = self._session
        grace_ms = to_ms(self.limits.cancel_grace)
        did, clients = await session.store.cancel_run(id, reason, secrets.token_hex(8), grace_ms)
        self._tell(clients, id, reason)
        return did

    async def terminate(self, id: str, reason: str = "") -> bool:
        """Ends a run and its subtree at once: no cleanup code runs. It is `cancelled`, its reason `terminated: …`.

        Returns: False if it had ended.

        Raises:
            RunNotFound: if there is no such run.
        """
        check_run_id(id)
        text = f"terminated: {check_reason(reason)}"
        did, clients = await self._session.store.settle_run(
            id, "terminate", "cancelled", text.encode(), token=secrets.token_hex(8)
        )
        self._tell(clients, id, text)
        return did

    def _tell(self, clients: str, id: str, reason: str) -> None:
        for client in clients.split():
            self._session.store.push_results(client, (id, b"cancelled\n" + reason.encode()))

    async def send_event(self, id: str, name: str, payload: Any = None, *, event_id: str | None = None) -> None:
        """Sends an event; it is kept until a wait consumes it or the run ends.

        Args:
            id: the run.
            name: any text of 1 to 128 characters.
            payload: its value.
            event_id: the same id twice is one event in a run's life; by default each call is one.

        Raises:
            RunNotFound: if there is no such run.
            RunNotWaiting: if it has ended, or its inbox is full.
            NotSerializable, PayloadTooLarge: if the payload cannot be stored.
        """
        check_run_id(id)
        check_label(name, "event name")
        token = random_id()[:16] if event_id is None else check_label(event_id, "event_id")
        data = self.codec.encode(payload, limit=self.limits.payload, what="payload")
        answer = await self._session.store.send_event(id, token, event_body(name, data), self.limits.inbox)
        if answer is Answer.DONE:
            raise RunNotWaiting(f"run {id} has ended: it takes no event")
        if answer is Answer.FULL:
            raise RunNotWaiting(f"{self.limits.inbox} messages already wait for run {id}; it takes no more for now")
