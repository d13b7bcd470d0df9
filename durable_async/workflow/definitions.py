"""`@workflow` and `@step`: plain functions with a durable identity.

A definition holds no connection and does no I/O; the same object may be registered with several `Durable`s. Outside a
run it is called like the function it wraps, so it is unit-tested as one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar, overload

from durable_async.checking import check_name, check_queue, to_ms
from durable_async.engine.spec import StepSpec, WorkflowSpec
from durable_async.types import Duration, Queue, Retry, as_retry
from durable_async.workflow.annotations import hints_of, visible_locals
from durable_async.workflow.current import find_run
from durable_async.workflow.schedules import Schedule, check_schedule

P = ParamSpec("P")
R = TypeVar("R")
InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
CLOSE_POLICIES = ("leave", "cancel")


class Workflow(Generic[InputT, OutputT_co]):
    """A durable workflow. Made by `@workflow`; `name` is its identity in the store."""

    def __init__(
        self,
        function: Callable[..., Awaitable[OutputT_co]],
        *,
        name: str | None = None,
        queue: str | Queue = "default",
        version: str | None = None,
        timeout: Duration | None = None,
        retention: Duration | None = None,
        on_parent_close: str = "leave",
        compensate: Callable[..., Any] | None = None,
        schedule: Schedule | None = None,
        catch_up: str = "one",
        overlap: str = "allow",
        retry: Retry | int | None = None,
        local_names: dict[str, Any] | None = None,
    ) -> None:
        _check_function(function)
        if on_parent_close not in CLOSE_POLICIES:
            raise ValueError(f"on_parent_close must be one of {CLOSE_POLICIES}, got {on_parent_close!r}")
        self.function = function
        self.name = check_name(name if name is not None else _name_of(function, "workflow"), "workflow name")
        self.limits = queue if isinstance(queue, Queue) else None
        self.queue = queue.name if isinstance(queue, Queue) else check_queue(queue)
        self.version = check_name(version, "version") if version is not None else None
        self.retention = retention
        if retention is not None:
            to_ms(retention, "retention")
        self.on_parent_close = on_parent_close
        self.compensate = as_compensation(compensate)
        check_schedule(self.name, schedule, catch_up, overlap)
        self.schedule = schedule
        self.catch_up = catch_up
        self.overlap = overlap
        self.timeout = timeout
        self._timeout_ms = _positive_ms(timeout, "timeout")
        self.retry = None if retry is None else as_retry(retry)
        self._local_names = local_names
        functools.update_wrapper(self, function)

    @functools.cached_property
    def spec(self) -> WorkflowSpec:
        """What the engine needs to know; reads the annotations.

        Raises:
            ConfigurationError: if an annotation cannot be evaluated.
        """
        hints = hints_of(self.function, self._local_names)
        self._local_names = None
        parameters = list(inspect.signature(self.function).parameters.values())
        takes_input = bool(parameters)
        return WorkflowSpec(
            name=self.name,
            function=self.function,
            queue=self.queue,
            takes_input=takes_input,
            has_default=takes_input and parameters[0].default is not inspect.Parameter.empty,
            input_type=hints.get(parameters[0].name, Any) if takes_input else None,
            output_type=hints.get("return", Any),
            version=self.version,
            retention=self.retention,
            on_parent_close=self.on_parent_close,
            compensate=self.compensate,
            timeout_ms=self._timeout_ms,
            retry=self.retry,
            limits=self.limits,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[OutputT_co]:
        """The plain function: no run is started. Use `call_workflow`, `start_workflow` or `Durable.start` for that."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


class Step(Generic[P, R]):
    """A function whose call in a workflow is durable. Made by `@step`.

    In a workflow, calling it gives an awaitable: it runs at least once, its first recorded outcome is final, and replay
    returns that outcome. What is not guaranteed: that it runs only once; a worker that dies between the effect and the
    record leaves the effect behind. Outside a workflow the call is the plain function's.
    """

    def __init__(
        self,
        function: Callable[P, Any],
        *,
        name: str | None = None,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
        raises: tuple[type[BaseException], ...] = (),
        compensate: Callable[..., Any] | None = None,
        at_most_once: bool = False,
        local_names: dict[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"@step takes a function, not {type(function).__name__}")
        if isinstance(function, Workflow):
            raise TypeError(f"{function!r} is a workflow, not a step; call it with call_workflow()")
        _refuse_method(function, "step")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"step {_label(function)} is a generator; return a list or write a workflow")
        self.function = function
        self.name = check_name(name if name is not None else _name_of(function, "step"), "step name")
        self.retry = as_retry(retry)
        if timeout is not None:
            to_ms(timeout, "timeout")
        self.timeout = timeout
        self.raises = _exception_types(raises)
        self.compensate = as_compensation(compensate)
        if type(at_most_once) is not bool:
            raise TypeError(f"at_most_once must be a bool, not {type(at_most_once).__name__}")
        self.at_most_once = at_most_once
        self._local_names = local_names
        functools.update_wrapper(self, function)

    @functools.cached_property
    def spec(self) -> StepSpec:
        """What the engine needs to know; reads the annotations."""
        hints = hints_of(self.function, self._local_names)
        self._local_names = None
        return StepSpec(
            name=self.name,
            function=self.function,
            is_async=_is_async(self.function),
            retry=self.retry,
            timeout=self.timeout,
            raises=self.raises,
            output_type=hints.get("return", Any),
            compensate=self.compensate,
            at_most_once=self.at_most_once,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """In a workflow, the durable call; elsewhere the plain function's."""
        run = find_run()
        if run is None:
            return self.function(*args, **kwargs)  # type: ignore[no-any-return]  # a sync step gives its bare value
        return run.steps.call(self.spec, args, kwargs)

    def options(
        self,
        *,
        name: str | None = None,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
    ) -> Step[P, R]:
        """The same step with other options, for one call: ``await charge.options(retry=5)(amount)``."""
        return Step(
            self.function,
            name=name if name is not None else self.name,
            retry=retry if retry is not None else self.retry,
            timeout=timeout if timeout is not None else self.timeout,
            raises=self.raises,
            compensate=self.compensate,
            at_most_once=self.at_most_once,
            local_names=self._local_names,
        )

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def workflow(function: Callable[[], Awaitable[OutputT]], /) -> Workflow[None, OutputT]: ...
@overload
def workflow(function: Callable[[InputT], Awaitable[OutputT]], /) -> Workflow[InputT, OutputT]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str | Queue = "default",
    version: str | None = None,
    timeout: Duration | None = None,
    retention: Duration | None = None,
    on_parent_close: str = "leave",
    compensate: Callable[..., Any] | None = None,
    schedule: Schedule | None = None,
    catch_up: str = "one",
    overlap: str = "allow",
    retry: Retry | int | None = None,
) -> _WorkflowDecorator: ...


def workflow(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a durable workflow of an ``async def`` function of zero or one argument.

    Args:
        name: the durable identity; by default the function's name.
        queue: where runs are queued unless the call says otherwise; a `Queue` also says what limits it.
        version: a label of the code, shown in `RunInfo`.
        timeout: bounds one attempt from when it may start to its end, parked time included, as a ``timedelta`` or
            seconds. When it elapses the body gets ``asyncio.CancelledError`` at its await, as in a cancel: cleanup may
            run durable steps for `Limits.cancel_grace`, and whatever it returns, the run ends `failed` with
            `RunTimeout`. A run that no worker serves ends so, too.
        retention: how long an ended root run and its tree stay readable; by default the `Durable`'s. Of a child it says
            nothing: a child is kept as long as its root.
        on_parent_close: `leave` (default) or `cancel`: what becomes of a child made by `start_workflow` when its parent
            ends by itself.
        compensate: a step, a function or a workflow that undoes a completed run. Its *parent* calls it, with the
            output, if that fails or is cancelled later; it is never called for a run without a parent.
        schedule: `cron(...)` or `every(...)`: workers start one run for each tick, its id the name, ``@`` and the tick
            (``report@2026-01-01T09:00:00Z``). The workflow takes no input, or the tick (annotate it with ``datetime``;
            it is aware, in UTC), or has a default. Whatever became of the run of one tick, the next one is started.
        catch_up: which ticks are started that came while no worker was there: the newest `one` (default), `all`, oldest
            first, or `none`: only a tick of the last minute. What comes while a schedule is paused is never caught up.
        overlap: `allow` (default), or `skip` to leave a tick out while the schedule's last run has not ended, be it
            waiting, between two attempts, paused with its queue, or cancelled and cleaning up. Ticks left out are not
            caught up.
        retry: a `Retry`, or a number of attempts: a run that fails, by its timeout too, is run again under its id from
            a fresh journal, after the policy's delay. Children that had completed for the same input are kept, the
            others run again under their ids; context and unconsumed events stay. Who waits for the result is told of
            the last attempt only. A cancelled run is not run again. `max_elapsed` counts from the first attempt's
            start. `call_workflow(retry=)` comes on top: it repeats what has used up these attempts.

    Raises:
        TypeError: if the function is not ``async def``, is a generator, or takes more than one argument.
        ValueError: if a name breaks the grammar of names, or that of a scheduled workflow has more than 100 characters;
            if a choice is none of those named; if `timeout` is 0.
    """
    local_names = visible_locals(1)
    if function is not None:
        return Workflow(function, local_names=local_names)
    return lambda fn: Workflow(fn, local_names=local_names, **options)


class _WorkflowDecorator:
    """Types `@workflow(...)`; never instantiated."""

    @overload
    def __call__(self, function: Callable[[], Awaitable[OutputT]], /) -> Workflow[None, OutputT]: ...
    @overload
    def __call__(self, function: Callable[[InputT], Awaitable[OutputT]], /) -> Workflow[InputT, OutputT]: ...
    def __call__(self, function: Any, /) -> Any: ...


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | int | None = None,
    timeout: Duration | None = None,
    raises: tuple[type[BaseException], ...] = (),
    compensate: Callable[..., Any] | None = None,
    at_most_once: bool = False,
) -> _StepDecorator: ...


def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a step of a function: real I/O lives in steps.

    ``async def`` runs on the worker's loop; a plain ``def`` runs in a thread.

    Args:
        name: the durable identity; by default the function's name.
        retry: a `Retry`, or a number of attempts; by default one attempt.
        timeout: bounds each attempt, as a ``timedelta`` or seconds; it then fails with `StepTimeout`. A thread cannot
            be stopped: it is abandoned, and what it returns is ignored.
        raises: exception types of your own that the workflow is to see as themselves; others arrive as `StepFailed`.
        compensate: a step, a function or a workflow that undoes this one. If the workflow fails or is cancelled after
            this step has completed, it is called with the step's result, newest first, with its own retry and timeout.
            A step that failed, or was cancelled on its way, is not compensated: it has no result.
        at_most_once: for effects that must not happen twice. A mark is recorded before each attempt is launched; if the
            worker dies before the outcome is recorded, the call raises `StepInterrupted` and nothing is run again,
            unless `retry_on` names `StepInterrupted` itself. An attempt that raises is retried as its policy says.

    Raises:
        TypeError: if it is not a function, or is a generator; if `compensate` cannot be called with one argument.
        ValueError: if the name breaks the grammar of names, or a number is out of range.
    """
    local_names = visible_locals(1)
    if function is not None:
        return Step(function, local_names=local_names)
    return lambda fn: Step(fn, local_names=local_names, **options)


class _StepDecorator:
    """Types `@step(...)`; never instantiated."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, function: Any, /) -> Any: ...


def as_compensation(value: Any) -> Step[..., Any] | Workflow[Any, Any] | None:
    """What `compensate=` takes, as a definition: a plain function becomes a step.

    Raises:
        TypeError: if it cannot be called, or not with the result alone.
    """
    if value is None:
        return None
    undo = as_undo(value)
    try:
        inspect.signature(undo.function).bind(None)
    except TypeError:
        raise TypeError(f"{undo!r} cannot compensate: it is called with one argument, the result") from None
    except ValueError:
        pass  # a builtin that does not say what it takes
    return undo


def as_undo(value: Any) -> Step[..., Any] | Workflow[Any, Any]:
    """A step, a workflow, or a function that becomes a step.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(value, Step | Workflow):
        return value
    if not callable(value):
        raise TypeError(f"a compensation is a step, a function or a workflow, not {type(value).__name__}")
    return Step(value)


def _positive_ms(duration: Duration | None, what: str) -> int:
    if duration is None:
        return 0
    ms = to_ms(duration, what)
    if not ms:
        raise ValueError(f"{what} must be longer than 0: no run could end within it")
    return ms


def _is_async(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004  # an object whose __call__ is async is async
    return inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(call)


def _label(function: Any) -> str:
    return repr(getattr(function, "__qualname__", type(function).__name__))


def _name_of(function: Any, what: str) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    if name == "<lambda>":
        raise ValueError(f"a lambda has no name of its own; pass name= to @{what}")
    return str(name)


def _exception_types(raises: Any) -> tuple[type[BaseException], ...]:
    kinds: tuple[Any, ...] = raises if isinstance(raises, tuple) else (raises,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"raises must hold subclasses of Exception, got {kind!r}")
    return kinds


def _refuse_method(function: Any, what: str) -> None:
    # In a class body: the object it would be called on is no input, and there is none on a worker.
    inside = getattr(function, "__qualname__", "").rpartition(".")[0]
    code = getattr(function, "__code__", None)
    first = code.co_varnames[:1] if code is not None and code.co_argcount else ()
    if (
        inside
        and not inside.endswith("<locals>")
        and first in (("self",), ("cls",))
        and not hasattr(function, "__self__")
    ):
        raise TypeError(f"{what} {_label(function)} is a method; define it outside of the class and pass what it needs")


def _check_function(function: Any) -> None:
    label = _label(function)
    if not callable(function):
        raise TypeError(f"@workflow takes an async def function, not {type(function).__name__}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"workflow {label} is a generator; write `async def` with `return`")
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"workflow {label} must be `async def`; blocking work belongs into a @step")
    _refuse_method(function, "workflow")
    parameters = inspect.signature(function).parameters.values()
    kinds = {p.kind for p in parameters}
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    if len(parameters) > 1 or kinds & variadic:
        raise TypeError(
            f"workflow {label} must take zero or one argument; put several values into one dataclass or model: "
            "`async def f(order: Order)`"
        )
