"""MODULE:OBJECT to a `Durable`: imports the user's code, and says in one line what is wrong with it."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import Any

from durable_async.cli.exits import CliError
from durable_async.client.durable import Durable
from durable_async.errors import ConfigurationError
from durable_async.workflow.definitions import Workflow


def locate(target: str) -> Durable:
    """The `Durable` that `target` names, as ``package.module:object.attribute``, or the only one of a module.

    Raises:
        CliError: if there is none; the message says where it was looked for.
    """
    module_name, colon, path = target.partition(":")
    if module_name.endswith(".py") or not all(part.isidentifier() for part in module_name.split(".")):
        hint = module_name.removesuffix(".py").strip("/.").replace("/", ".") if "/" in target or ".py" in target else ""
        tail = f"; try {hint}{colon}{path}" if hint.replace(".", "").isidentifier() else ""
        raise CliError(f"{target!r} is not MODULE:OBJECT, such as shop:durable or shop.flows:durable{tail}")
    if colon and not all(part.isidentifier() for part in path.split(".")):
        raise CliError(f"{target!r} is not MODULE:OBJECT: {path!r} is no name of an object, such as durable")
    module = _imported(module_name)
    return _named(module, path) if colon else _only(module)


def _imported(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise CliError(f"there is no module {missing!r} in {here} or on the Python path") from None
        raise CliError(_import_failure(name, error)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Whatever a module does while it is imported, exits included, is a fault of the module.
        raise CliError(_import_failure(name, error)) from error


def _import_failure(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"cannot import {name!r}: {type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith("<") and file not in (__file__, importlib.__file__) and not _is_ours(file):
            where = f" ({file}, line {line})"
    text = str(error)
    kind = "" if isinstance(error, ConfigurationError) and text else type(error).__name__
    return f"cannot import {name!r}: {': '.join(part for part in (kind, text) if part)}{where}"


def _is_ours(file: str) -> bool:
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return file.startswith(ours + os.sep)


def _named(module: ModuleType, path: str) -> Durable:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CliError(f"module {module.__name__!r} has no {path!r}; {_offer(module)}") from None
    if isinstance(found, Durable):
        return found
    kind = "a workflow" if isinstance(found, Workflow) else f"a {type(found).__name__}"
    raise CliError(f"{module.__name__}:{path} is {kind}, not a Durable; {_offer(module)}")


def _only(module: ModuleType) -> Durable:
    names = _durables(module)
    if len(set(names.values())) == 1:
        return next(iter(names.values()))
    if names:
        raise CliError(f"which one? {_offer(module)}")
    raise CliError(_offer(module))


def _offer(module: ModuleType) -> str:
    name, found = module.__name__, sorted(_durables(module))
    if found:
        return f"module {name!r} has {', '.join(f'{name}:{each}' for each in found)}"
    if any(isinstance(value, Workflow) for value in vars(module).values()):
        return f"module {name!r} has workflows, but no Durable: add durable = Durable(workflows=[...])"
    return f"module {name!r} has no Durable: add durable = Durable(workflows=[...])"


def _durables(module: ModuleType) -> dict[str, Durable]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Durable)}
