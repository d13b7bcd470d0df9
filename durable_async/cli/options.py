"""Options that several commands share. Each can also come from a ``DURABLE_*`` variable; the command line wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from durable_async.checking import MAX_DURATION_MS, check_queue, check_run_id
from durable_async.errors import DurableError

C = TypeVar("C", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # generic since click 8.5 only


class Seconds(_Type):
    """A number of seconds: finite, and not negative; with `is_positive` not 0 either."""

    name = "seconds"

    def __init__(self, *, is_positive: bool = False) -> None:
        self._is_positive = is_positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuses what is no such number."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not math.isfinite(number) or number < 0 or (self._is_positive and number == 0):
            self.fail(f"{value!r} is not a number of seconds {'above' if self._is_positive else 'from'} 0", param, ctx)
        return number


class Age(_Type):
    """How long ago: seconds, or a number with ``s``, ``m``, ``h`` or ``d`` behind it."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds; refuses what is no such number, and more than a hundred years."""
        text = str(value)
        unit = _UNITS.get(text[-1:])
        number: float = Seconds().convert(text[:-1] if unit else text, param, ctx) * (unit or 1)
        if number > MAX_DURATION_MS // 1000:
            self.fail(f"{value!r} is more than 100 years", param, ctx)
        return number


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Address(_Type):
    """``PORT``, which is of this machine alone, or ``HOST:PORT``; 0 is any free port."""

    name = "[host:]port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Refuses what is none."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
        if not host or not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
            self.fail(f"{value!r} is not a port from 0 to 65535, or HOST:PORT", param, ctx)
        return host, int(port)


class QueueNames(_Type):
    """One queue name, or several separated by commas."""

    name = "queue"
    envvar_list_splitter = ","

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what no queue can be named."""
        try:
            return check_queue(value.strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RunId(_Type):
    """The id of a run that may exist."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what no run can have for an id."""
        try:
            return check_run_id(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Namespace(_Type):
    """A name of a namespace."""

    name = "namespace"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what no namespace can be named."""
        try:
            return check_queue(value, "namespace")
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Url(_Type):
    """A URL of a store. Messages never quote it: it may hold a password."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what cannot be one."""
        from durable_async.store.url import parse_url

        try:
            parse_url(value)
        except DurableError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def store_options(command: C) -> C:
    """Adds --url and --namespace."""
    command = click.option(
        "--namespace", type=Namespace(), envvar="DURABLE_NAMESPACE", help="The namespace of the runs."
    )(command)
    return click.option(
        "--url",
        type=Url(),
        envvar="DURABLE_URL",
        help="Where the store is: redis:// rediss:// unix:// redis+sentinel://; by default the embedded server of the "
        "working directory.",
    )(command)


def json_option(command: C) -> C:
    """Adds --json."""
    return click.option(
        "--json", "as_json", is_flag=True, envvar="DURABLE_JSON", help="Print JSON, one object per line."
    )(command)


def typed(ctx: click.Context, name: str) -> Any:
    """The value of an option if it was typed; None if it comes from the environment or is a default.

    What comes from the environment is left to `Durable`, whose own arguments come before it.
    """
    is_typed = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    return ctx.params[name] if is_typed else None
