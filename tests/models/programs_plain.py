"""What the text of a program uses, as plain asyncio on virtual time: a program's right result, without the engine."""

from __future__ import annotations

import asyncio
import gc
import random as random_module
import uuid as uuid_module
import warnings
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from durable_async import (
    CHILD_TIMEOUT,
    RAISE,
    ChildCancelled,
    ChildFailed,
    ChildTimeout,
    Err,
    ErrorInfo,
    Ok,
    Retry,
    StepFailed,
    StepTimeout,
    Tolerate,
    WaitTimeout,
)

from .programs import Program
from .programs_names import Refused, shown

Body = Callable[[Any], Awaitable[Any]]
HORIZON_S = 1800.0
"""A program that waits for longer than this never ends: what is never to come comes later."""


class NeverEndsError(AssertionError):
    """Under plain asyncio a program does not come to its end.

    That is possible: a gather that is cancelled in the very turn in which one of its own fails raises what failed, and
    the cancel is swallowed; an `except Exception` around it then goes on to wait for what was to be cancelled.
    """


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes whenever there is nothing else to do."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual_s, self.horizon_s = 0.0, HORIZON_S
        self.kept: list[asyncio.Task[Any]] = []
        select = self._selector.select  # type: ignore[attr-defined]  # there is no other way in

        def skip(timeout: float | None = None) -> Any:
            assert timeout is not None, "the program waits for nothing that could come"
            self.virtual_s += max(timeout, 0.0)
            if self.virtual_s >= self.horizon_s:
                self.horizon_s += HORIZON_S  # for what is left to be cancelled
                raise NeverEndsError("the program waits for what never comes")
            return select(0)

        self._selector.select = skip  # type: ignore[attr-defined]  # as above

    def time(self) -> float:
        return self.virtual_s

    def create_task(self, coro: Any, **how: Any) -> asyncio.Task[Any]:
        # A task that waits for an event that nobody has would be garbage, and its clean-up never be done.
        task: asyncio.Task[Any] = super().create_task(coro, **how)
        self.kept.append(task)
        return task


@dataclass
class PlainRun:
    """One run."""

    path: str
    attempt: int = 1
    events: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    compensations: list[tuple[Callable[..., Any], tuple[Any, ...]]] = field(default_factory=list)
    undone: bool = False


@dataclass
class World:
    """One program's."""

    program: Program
    ended: Counter[str] = field(default_factory=Counter)
    """How often each step returned."""


current: ContextVar[PlainRun] = ContextVar("current")
world: ContextVar[World] = ContextVar("world")


class Renewed(BaseException):
    """`continue_as_new`."""


async def execute(body: Body, given: Any, path: str, attempt: int = 1) -> Any:
    """One run to its end."""
    run = PlainRun(path, attempt)
    for to, name in world.get().program.events:
        if to == path:
            run.events[name].append(name)
    current.set(run)
    while True:
        try:
            return await body(given)
        except Renewed as renewed:
            (given,) = renewed.args
        except BaseException:
            for undo, args in reversed(run.compensations):
                await undo(*args)
            raise


def copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def _spawn(body: Body, given: Any, ref: str | None, retry: Retry | None = None) -> asyncio.Task[Any]:
    path = f"{current.get().path}/{ref}"

    async def child() -> Any:
        most = retry.max_attempts if retry is not None else 1
        for attempt in range(1, most + 1):
            try:
                return await execute(body, copied(given), path, attempt)
            except Exception:
                if attempt == most:
                    raise
        raise AssertionError

    return asyncio.create_task(child())


async def _await(
    task: asyncio.Task[Any], timeout: float | None, timeout_value: Any, *, owned: bool, reason: str = ""
) -> Any:
    try:
        await asyncio.wait({task}, timeout=timeout)
    except asyncio.CancelledError:
        if owned:
            task.cancel()
        raise
    if not task.done():
        if owned:
            task.cancel()
        if timeout_value is RAISE:
            raise ChildTimeout("late")
        return timeout_value
    if task.cancelled():
        raise ChildCancelled("cancelled", reason=reason)
    if (error := task.exception()) is not None:
        raise ChildFailed("failed", error=ErrorInfo(type(error).__name__, str(error)))
    return task.result()


async def call_workflow(
    body: Body,
    given: Any = None,
    *,
    ref: str | None = None,
    timeout: float | None = None,
    timeout_value: Any = CHILD_TIMEOUT,
    queue: str | None = None,
    retry: Retry | None = None,
) -> Any:
    return await _await(_spawn(body, given, ref, retry), timeout, timeout_value, owned=True)


class PlainChild:
    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task, self._reason = task, ""

    async def result(self) -> Any:
        return await _await(self._task, None, None, owned=False, reason=self._reason)

    async def cancel(self, reason: str) -> None:
        self._reason = reason
        self._task.cancel()


_kept: set[asyncio.Task[Any]] = set()


async def start_workflow(
    body: Body, given: Any = None, *, ref: str | None = None, delay: float = 0, on_parent_close: str = "leave"
) -> PlainChild:
    task = _spawn(body, given, ref)
    _kept.add(task)
    return PlainChild(task)


async def parallel(branches: Mapping[str, Awaitable[Any]], *, on_error: Any = "fail_fast", **bounds: Any) -> Any:
    slots = asyncio.Semaphore(bounds.get("max_concurrency") or len(branches) or 1)

    async def one(branch: Awaitable[Any]) -> Any:
        async with slots:
            return await branch

    tasks = {name: asyncio.ensure_future(one(branch)) for name, branch in branches.items()}
    fails_fast = on_error == "fail_fast"
    try:
        if tasks:
            await asyncio.wait(
                tasks.values(), return_when=asyncio.FIRST_EXCEPTION if fails_fast else asyncio.ALL_COMPLETED
            )
    finally:
        left = [task for task in tasks.values() if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
    errors = {n: task.exception() for n, task in tasks.items() if not task.cancelled() and task.exception()}
    if fails_fast:
        for error in errors.values():
            assert error is not None
            raise error
        return {name: task.result() for name, task in tasks.items()}
    return {n: Err(errors[n]) if n in errors else Ok(t.result()) for n, t in tasks.items()}  # type: ignore[arg-type]


async def map_workflow(body: Body, inputs: Sequence[Any], *, ref: str, max_concurrency: int | None = None) -> Any:
    calls = {str(n): call_workflow(body, given, ref=f"{ref}-{n}") for n, given in enumerate(inputs, 1)}
    return list((await parallel(calls, max_concurrency=max_concurrency)).values())


async def wait_for_event(name: str, *, timeout: float | None = None, timeout_value: Any = RAISE) -> Any:
    if queue := current.get().events[name]:
        await asyncio.sleep(0)
        return queue.pop(0)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.Event().wait()
    except TimeoutError:
        if timeout_value is RAISE:
            raise WaitTimeout(name) from None
        return timeout_value


async def wait_for_any(names: list[str]) -> Any:
    for name in names:
        if current.get().events[name]:
            return name, await wait_for_event(name)
    return await asyncio.Event().wait()


async def wait_for_all(names: list[str], timeout: float | None = None) -> Any:
    return {name: await wait_for_event(name) for name in names}


async def work(
    given: Any, name: str, *, fails: int = 0, attempts: int = 5, error: type[Exception] = ConnectionError, **how: Any
) -> str:
    await asyncio.sleep(0.001)
    if fails >= attempts:
        if error is Refused:
            raise StepFailed("refused", error=ErrorInfo("Refused", name))
        raise error(name)
    world.get().ended[name] += 1
    return name


async def hang(given: Any, name: str, *, timeout: float | None = None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await asyncio.Event().wait()
    except TimeoutError:
        raise StepTimeout("hangs") from None


async def undo(given: Any, name: str) -> None:
    world.get().ended[name] += 1


def compensate(function: Callable[..., Any], *args: Any) -> None:
    current.get().compensations.append((function, args))


def continue_as_new(given: Any) -> None:
    raise Renewed(given)


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


def ignore(*args: Any) -> None:
    """What is for people."""


NAMES = {
    "asyncio": asyncio, "Any": Any, "RAISE": RAISE, "ChildCancelled": ChildCancelled, "Refused": Refused,
    "Retry": Retry, "Tolerate": Tolerate, "call_workflow": call_workflow, "compensate": compensate,
    "continue_as_new": continue_as_new, "hang": hang, "info": lambda: SimpleNamespace(attempt=current.get().attempt),
    "map_workflow": map_workflow, "now": now, "parallel": parallel, "progress": ignore, "put_context": ignore,
    "random": lambda: random_module.Random(0), "shown": shown, "sleep": asyncio.sleep, "start_workflow": start_workflow,
    "undo": undo, "uuid": uuid_module.uuid4, "wait_for_all": wait_for_all, "wait_for_any": wait_for_any,
    "wait_for_event": wait_for_event, "work": work, "workflow": lambda body: body,
}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What must come of a program."""

    outcome: tuple[Any, ...]
    """`("completed", value)`, or `("failed", type of the error)`."""
    ended: Counter[str]
    """How often each sure step returned."""


async def _cut() -> None:
    """Cancels whatever is left until nothing is: a coroutine that became garbage would be reported."""
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0)


def run_plain(program: Program) -> Expected:
    """The right result.

    Raises:
        AssertionError: if the program never ends.
    """
    scope = dict(NAMES)
    exec(compile(program.source, f"<program {program.seed}>", "exec"), scope)

    async def main() -> Expected:
        here = World(program)
        world.set(here)
        try:
            outcome: tuple[Any, ...] = "completed", await execute(scope[program.root], {}, "")
        except Exception as error:
            outcome = "failed", type(error).__name__
        # Clean-up may start what has to be cleaned up in turn.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        return Expected(outcome, Counter({name: n for name, n in here.ended.items() if name in program.sure}))

    loop = VirtualLoop()
    # What a body leaves behind is the business of its loop, and not told here.
    loop.set_exception_handler(lambda *about: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                try:
                    return runner.run(main())
                except NeverEndsError:
                    runner.run(_cut())
                    raise
        finally:
            loop.kept.clear()
            _kept.clear()
            gc.collect()
