"""Reads the annotations of workflows and steps, once, when they are first needed.

Not at decoration: a module may name its models below the functions that use them. Classes that are local to a function
are found among the locals that were visible where the decorator ran.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from durable_async.errors import ConfigurationError


def visible_locals(depth: int) -> dict[str, Any] | None:
    """The locals of the function that applies a decorator, `depth` frames up; None at module level."""
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        frame = frame.f_back if frame is not None else None
    if frame is None or frame.f_locals is frame.f_globals:
        return None
    return dict(frame.f_locals)


def hints_of(function: Callable[..., Any], local_names: dict[str, Any] | None) -> dict[str, Any]:
    """The evaluated annotations of a function.

    Raises:
        ConfigurationError: if a name in an annotation cannot be found.
    """
    inner = inspect.unwrap(function)
    names = dict(local_names or {})
    if isinstance(inner, types.FunctionType):
        names.update(inspect.getclosurevars(inner).nonlocals)
    try:
        return typing.get_type_hints(inner, localns=names, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"the annotations of {inner.__qualname__!r} name {error.name!r}, which cannot be found; "
            "import it outside TYPE_CHECKING or define it at module level"
        ) from None
    except TypeError:
        # An annotation that is no type is of no use for conversion.
        return {}
