"""The workflows a `Durable` knows, by name."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from durable_async.engine.spec import WorkflowSpec
from durable_async.errors import ConfigurationError, UnknownWorkflow
from durable_async.workflow.definitions import Workflow


def collect(things: Iterable[Any]) -> dict[str, Workflow[Any, Any]]:
    """Workflows and modules that hold some.

    Raises:
        ConfigurationError: if two workflows have one name, or limit one queue differently, or a module holds none.
        TypeError: if something else is passed.
    """
    if isinstance(things, Workflow | ModuleType | str):
        raise TypeError("workflows= takes a list of workflows and modules; write workflows=[...]")
    found: dict[str, Workflow[Any, Any]] = {}
    for thing in things:
        if isinstance(thing, Workflow):
            _add(found, thing)
        elif isinstance(thing, ModuleType):
            inside = [v for v in vars(thing).values() if isinstance(v, Workflow)]
            if not inside:
                raise ConfigurationError(f"module {thing.__name__!r} holds no workflow; decorate one with @workflow")
            for workflow in inside:
                _add(found, workflow)
        else:
            raise TypeError(
                f"workflows= takes functions decorated with @workflow and modules, got {type(thing).__name__}"
            )
    _check_limits(found.values())
    return found


def _check_limits(workflows: Iterable[Workflow[Any, Any]]) -> None:
    known: dict[str, str] = {}
    for workflow in workflows:
        queue = workflow.limits
        if queue is not None and known.setdefault(queue.name, queue.limits) != queue.limits:
            raise ConfigurationError(
                f"two workflows limit queue {queue.name!r} differently; its limits belong to the queue: say them once"
            )


def _add(found: dict[str, Workflow[Any, Any]], workflow: Workflow[Any, Any]) -> None:
    known = found.get(workflow.name)
    if known is not None and known is not workflow:
        raise ConfigurationError(f"two workflows are named {workflow.name!r}; give one of them another name=")
    found[workflow.name] = workflow


def spec_of(known: dict[str, Workflow[Any, Any]], workflow: Workflow[Any, Any] | str) -> WorkflowSpec:
    """The workflow to start, by itself or by name.

    Raises:
        UnknownWorkflow: if no registered workflow has this name.
        TypeError: if it is neither.
    """
    if isinstance(workflow, Workflow):
        return workflow.spec
    if not isinstance(workflow, str):
        raise TypeError(f"expected a workflow or its name, got {type(workflow).__name__}")
    found = known.get(workflow)
    if found is None:
        raise UnknownWorkflow(f"no workflow named {workflow!r} is registered; add it to Durable(workflows=...)")
    return found.spec
