"""`parallel`: awaitables under names, run together."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, overload

from durable_async.checking import brief
from durable_async.workflow.branches import Branches, Err, Interrupt, Ok, Outcome
from durable_async.workflow.calls import Child
from durable_async.workflow.current import current_run
from durable_async.workflow.definitions import Step, Workflow

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerate:
    """How many branches may fail: for ``on_error=``. If both are given, the smaller number counts.

    Args:
        failures: this many.
        ratio: this part of all branches, from 0 to 1; rounded down.

    Raises:
        TypeError: if neither is given, or one is no number.
        ValueError: if one is out of range.
    """

    failures: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if self.failures is None and self.ratio is None:
            raise TypeError("Tolerate takes failures= (a number) or ratio= (a part of all branches, from 0 to 1)")
        if self.failures is not None and (type(self.failures) is not int or self.failures < 0):
            raise ValueError(f"failures must be a whole number from 0, got {brief(self.failures)}")
        if self.ratio is not None and (type(self.ratio) not in (int, float) or not 0 <= self.ratio <= 1):
            raise ValueError(f"ratio must be a number from 0 to 1, got {brief(self.ratio)}")

    def of(self, branches: int) -> int:
        """How many of so many branches may fail."""
        most = branches if self.failures is None else self.failures
        # A tenth of 30 is 3, whatever floats make of it.
        return most if self.ratio is None else min(most, math.floor(self.ratio * branches + 1e-9))


CompleteAll = Literal["complete_all"] | Tolerate
OnError = Literal["fail_fast"] | CompleteAll


@overload
def parallel(
    branches: Mapping[K, Awaitable[V]],
    *,
    on_error: Literal["fail_fast"] = "fail_fast",
    max_concurrency: int | None = None,
) -> Coroutine[Any, Any, dict[K, V]]: ...
@overload
def parallel(
    branches: Mapping[K, Awaitable[V]], *, on_error: CompleteAll, max_concurrency: int | None = None
) -> Coroutine[Any, Any, dict[K, Ok[V] | Err]]: ...
def parallel(
    branches: Mapping[Any, Awaitable[Any]], *, on_error: OnError = "fail_fast", max_concurrency: int | None = None
) -> Coroutine[Any, Any, dict[Any, Any]]:
    """Runs branches together and waits for all of them: ``await parallel({"mail": send(...), "paid": charge(...)})``.

    A branch is anything awaitable: a step, `call_workflow`, `Child.result`, a wait, a coroutine of your own that does
    several things, another `parallel`. The run parks while all of its branches wait, and holds no slot. If whoever
    awaits this is cancelled, the branches are, and ``CancelledError`` goes on once they have cleaned up: a cancel of
    the run is never an `Err`. Nor is `continue_as_new`, in whichever branch.

    Of branches that fail the retries are those of their steps and calls. What steps of branches have done is
    compensated as that of any step, newest first by their ends, and only if the run itself fails or is cancelled.

    Args:
        branches: awaitables by name. They begin in this order, and the results come in it. Coroutines that never begin
            are closed; tasks that are handed in belong to this call, and run already, whatever `max_concurrency` says.
        on_error: what happens when a branch raises.

            * ``"fail_fast"``: the others are cancelled, their steps and children too; once they have cleaned up (their
              children need not have ended) the exception is raised as it is. What else they raise is dropped.
            * ``"complete_all"``: nothing; every branch comes to its end.
            * `Tolerate`: as ``"complete_all"``, until more have failed than it says; then as ``"fail_fast"``, with the
              failure that was one too many.
        max_concurrency: how many branches run at a time; by default all.

    Returns:
        With ``"fail_fast"`` ``{name: value}``; otherwise ``{name: Ok(value) | Err(exception)}``.

    Raises:
        TypeError: if `branches` is no mapping, or a branch is nothing to await.
        ValueError: if `on_error` or `max_concurrency` is none of the above, or a future is of another loop.
        NotInWorkflow: outside a workflow.
    """
    given = dict(branches) if isinstance(branches, Mapping) else branches
    return _Call(_parallel(given, on_error, max_concurrency), given)


async def _parallel(given: dict[Any, Awaitable[Any]], on_error: OnError, max_concurrency: int | None) -> dict[Any, Any]:
    try:
        loop = current_run("parallel()").loop
        _check_branches(given)
        tolerated = tolerated_of(on_error, len(given))
        limit = check_limit(max_concurrency)
    except BaseException:
        close_branches(given)
        raise

    def begin(name: Any) -> asyncio.Future[Any]:
        branch = given[name]
        return branch if asyncio.isfuture(branch) else loop.create_task(_contained(branch))

    def discard(name: Any) -> asyncio.Future[Any] | None:
        branch = given[name]
        if asyncio.isfuture(branch):
            return branch
        close_branches([branch])
        return None

    outcomes = await Branches(given, begin, discard, limit=limit, tolerated=tolerated).run()
    return {name: outcome_for(on_error, outcomes[name]) for name in given}


async def _contained(branch: Awaitable[Any]) -> Any:
    try:
        return await branch
    except (SystemExit, KeyboardInterrupt) as error:
        return Interrupt(error)


class _Call(Coroutine[Any, Any, dict[Any, Any]]):
    """The coroutine of a `parallel`, which closes its branches also if it is closed or cancelled before it began."""

    __slots__ = ("__weakref__", "_body", "_given")

    def __init__(self, body: Coroutine[Any, Any, dict[Any, Any]], given: Any) -> None:
        self._body = body
        self._given = given

    def send(self, value: Any, /) -> Any:
        return self._body.send(value)

    def throw(self, *error: Any) -> Any:
        self._give_up()
        return self._body.throw(*error)

    def close(self) -> None:
        self._give_up()
        self._body.close()

    def __await__(self) -> Any:
        return self._body.__await__()

    def _give_up(self) -> None:
        if inspect.getcoroutinestate(self._body) == inspect.CORO_CREATED:
            close_branches(self._given)


def close_branches(branches: object) -> None:
    """Closes coroutines that will not be awaited, so that they do not warn of it; anything else is left alone."""
    if isinstance(branches, Coroutine):
        branches.close()
    elif isinstance(branches, Mapping):
        close_branches(list(branches.values()))
    elif isinstance(branches, list | tuple | set | frozenset):
        for branch in branches:
            if isinstance(branch, Coroutine):
                branch.close()


def tolerated_of(on_error: OnError, branches: int) -> int | None:
    """How many branches may fail before the others are cancelled; None for all.

    Raises:
        ValueError: if `on_error` is none of what it may be.
    """
    if isinstance(on_error, Tolerate):
        return on_error.of(branches)
    if on_error == "fail_fast":
        return 0
    if on_error == "complete_all":
        return None
    raise ValueError(f"on_error must be 'fail_fast', 'complete_all' or Tolerate(failures=...), got {brief(on_error)}")


def outcome_for(on_error: OnError, outcome: Outcome) -> Any:
    """What the caller gets of a branch: its value, or the outcome."""
    return cast(Ok[Any], outcome).value if on_error == "fail_fast" else outcome


def check_limit(max_concurrency: object) -> int | None:
    """How many branches run at a time; None for all.

    Raises:
        TypeError: if it is neither None nor a whole number.
        ValueError: if it is less than 1, or a bool.
    """
    if max_concurrency is None:
        return None
    if not isinstance(max_concurrency, int):
        raise TypeError(f"max_concurrency must be a whole number or None, not {type(max_concurrency).__name__}")
    if isinstance(max_concurrency, bool) or max_concurrency < 1:
        raise ValueError(f"max_concurrency must be at least 1, or None for no bound, got {brief(max_concurrency)}")
    return max_concurrency


def _check_branches(given: object) -> None:
    if not isinstance(given, dict):
        raise TypeError(
            "parallel takes a dict of names and what to await, such as "
            f"parallel({{'paid': call_workflow(payment, order)}}), not {type(given).__name__}"
        )
    loop = asyncio.get_running_loop()
    seen: dict[int, object] = {}
    for name, branch in given.items():
        if asyncio.isfuture(branch):
            if branch.get_loop() is not loop:
                raise ValueError(f"branch {brief(name)} is a future of another loop; make it in this workflow")
        elif not inspect.isawaitable(branch):
            raise TypeError(f"branch {brief(name)} is {_what_instead(branch)}")
        elif seen.setdefault(id(branch), name) is not name:
            raise TypeError(
                f"branch {brief(name)} is the same call as {brief(seen[id(branch)])}; call it once for each"
            )


def _what_instead(branch: object) -> str:
    if isinstance(branch, Workflow):
        return f"the workflow {branch.name!r} itself; write call_workflow({branch.name}, ...)"
    if isinstance(branch, Step):
        return f"the step {branch.name!r} itself; call it: {branch.name}(...)"
    if isinstance(branch, Child):
        return "a started child; write child.result()"
    name = getattr(branch, "__name__", None)
    if callable(branch) and name is not None:
        return f"the function {name!r} itself; call it: {name}(...)"
    return f"nothing to await, but {type(branch).__name__}; a branch is a call, such as call_workflow(payment, order)"
