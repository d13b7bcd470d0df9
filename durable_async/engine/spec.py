"""What the engine needs to know of a workflow and of a step. The decorators fill these in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from durable_async.types import Duration, Queue, Retry

Function = Callable[..., Any]


class Definition(Protocol):
    """A step or a workflow, as its author defined it. Its annotations are read when it is needed."""

    @property
    def spec(self) -> Any:
        """A `StepSpec` or a `WorkflowSpec`."""


@dataclass(slots=True, frozen=True)
class WorkflowSpec:
    """A workflow as the engine runs it."""

    name: str
    function: Function
    queue: str = "default"
    takes_input: bool = False
    has_default: bool = False
    """Whether the input may be left out."""
    input_type: Any = Any
    output_type: Any = Any
    version: str | None = None
    retention: Duration | None = None
    on_parent_close: str = "leave"
    compensate: Definition | None = None
    """What its parent calls with its result to undo it."""
    timeout_ms: int = 0
    """How long one attempt may take from when it may start to its end; 0 for as long as it likes."""
    retry: Retry | None = None
    limits: Queue | None = None
    """Of its queue, if it says so."""

    def key_in(self, queue: str, input: object) -> str:
        """Whose a run with this input is, in a queue that is limited per key; empty for nobody's.

        Raises:
            Exception: what the key function of the queue raises, and TypeError and ValueError as `Queue.key_of`.
        """
        return self.limits.key_of(input) if self.limits is not None and self.limits.name == queue else ""


@dataclass(slots=True, frozen=True)
class StepSpec:
    """A step as a worker runs it."""

    name: str
    function: Function
    is_async: bool = True
    retry: Retry = field(default_factory=Retry)
    timeout: Duration | None = None
    raises: tuple[type[BaseException], ...] = ()
    output_type: Any = Any
    compensate: Definition | None = None
    """What is called with its result if the run does not end well."""
    at_most_once: bool = False


@dataclass(slots=True)
class StepCall:
    """One attempt of a step, ready to be launched."""

    identity: str
    spec: StepSpec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempt: int
    run_id: str


@dataclass(slots=True)
class RunIdentity:
    """What a run is, from its record: nothing here changes while it lives.

    Not frozen, as nothing that is made for every run: that costs a call per field.
    """

    id: str
    root_id: str
    parent_id: str | None
    ref: str | None
    queue: str
    depth: int
    attempt: int
    created_ms: int
    started_ms: int
    version: str | None = None
    gen: int = 1
    """Which life of its id this is; a run that is taken up again after a failure counts as another one."""
    born: int = 1
    """In which of these lives its journal begins."""
    deadline_ms: int | None = None
    """When it is to have ended, by the server's clock."""
