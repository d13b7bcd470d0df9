"""`map_workflow`: one child for each input."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, overload

from durable_async.checking import check_name
from durable_async.workflow.branches import Branches, Err, Ok
from durable_async.workflow.calls import call_workflow
from durable_async.workflow.checks import check_call
from durable_async.workflow.current import current_run
from durable_async.workflow.definitions import Workflow
from durable_async.workflow.parallel import CompleteAll, OnError, check_limit, outcome_for, tolerated_of

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


@overload
async def map_workflow(
    workflow: Workflow[InputT, OutputT],
    inputs: Iterable[InputT],
    *,
    ref: str | None = None,
    max_concurrency: int | None = None,
    on_error: Literal["fail_fast"] = "fail_fast",
) -> list[OutputT]: ...
@overload
async def map_workflow(
    workflow: Workflow[InputT, OutputT],
    inputs: Iterable[InputT],
    *,
    ref: str | None = None,
    max_concurrency: int | None = None,
    on_error: CompleteAll,
) -> list[Ok[OutputT] | Err]: ...


async def map_workflow(
    workflow: Workflow[Any, Any],
    inputs: Iterable[Any],
    *,
    ref: str | None = None,
    max_concurrency: int | None = None,
    on_error: OnError = "fail_fast",
) -> list[Any]:
    """Calls a workflow once for each input and waits for all of them; 10,000 inputs are normal.

    It is a `parallel` of calls: so are its cancellation and its failures. The children's ids are ``<run id>/<ref>-1``,
    ``-2`` and so on, by the position of the input; refs and inputs make them the same children on replay and after a
    crash, as in `call_workflow`.

    Args:
        workflow: what to run.
        inputs: anything to loop over that has an order: a list, a range, a generator. One child each.
        ref: what the refs begin with; by default the workflow's name. Two calls in one run that map different inputs
            over the same workflow need different ones.
        max_concurrency: how many children are there at a time; the next one is started when one has ended. By default
            all are started at once, which costs about 4 KiB of the worker's memory each until they have ended.
        on_error: as in `parallel`: ``"fail_fast"``, ``"complete_all"`` or `Tolerate`. An input that cannot be stored,
            or that a child with the same ref had not, is a failure of its branch.

    Returns:
        The outputs in the order of the inputs; with another `on_error` than ``"fail_fast"`` an `Ok` or `Err` for each.

    Raises:
        ChildFailed, ChildCancelled, RefConflict, WorkflowDepthExceeded, NotSerializable, PayloadTooLarge: what
            `call_workflow` raised for the child that was one too many.
        TypeError: if `workflow` is none, or `inputs` is a str, a dict or a set, which has no order that a replay knows.
        ValueError: if `ref` is no name, or `on_error` or `max_concurrency` none of what they may be.
        NotInWorkflow: outside a workflow.
    """
    current_run("map_workflow()")
    check_call(workflow, None, "cancel")
    given = _check_inputs(inputs)
    tolerated = tolerated_of(on_error, len(given))
    limit = check_limit(max_concurrency)
    base = workflow.name if ref is None else check_name(ref, "ref")
    check_name(f"{base}-{len(given)}", "ref")  # the longest
    loop = asyncio.get_running_loop()

    def begin(n: int) -> asyncio.Future[Any]:
        return loop.create_task(call_workflow(workflow, given[n], ref=f"{base}-{n + 1}"))

    outcomes = await Branches(range(len(given)), begin, lambda n: None, limit=limit, tolerated=tolerated).run()
    return [outcome_for(on_error, outcomes[n]) for n in range(len(given))]


def _check_inputs(inputs: object) -> list[Any]:
    if isinstance(inputs, set | frozenset):
        raise TypeError("map_workflow takes inputs in an order that is the same on replay, not a set; sort it")
    if isinstance(inputs, str | bytes | bytearray | Mapping) or not isinstance(inputs, Iterable):
        raise TypeError(f"map_workflow takes a list of inputs, one for each child, not {type(inputs).__name__}")
    return list(inputs)
