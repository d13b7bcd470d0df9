"""Schedules from the command line: thin layers over the methods of `Durable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from durable_async.checking import check_name
from durable_async.cli import output
from durable_async.cli.exits import DONE, FAILED, CliError, run_async
from durable_async.cli.options import _Type, json_option, store_options
from durable_async.cli.run_commands import _opened
from durable_async.client.durable import Durable
from durable_async.errors import UnknownWorkflow
from durable_async.shapes import ScheduleInfo


class _Name(_Type):
    """The name of a scheduled workflow."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what no workflow can be named."""
        try:
            return check_name(value, "schedule")
        except ValueError as error:
            self.fail(str(error), param, ctx)


C = TypeVar("C", bound=Callable[..., Any])


def _option(name: str, text: str) -> Callable[[C], C]:
    return click.option(f"--{name}", f"{name}s", multiple=True, type=_Name(), metavar="NAME", help=text)


@click.command("schedules", help="List schedules, or change those named. Each option may be repeated.")
@_option("pause", "Start no more runs for this schedule.")
@_option("resume", "Start runs again, from its next tick on.")
@_option("trigger", "Start a run of this schedule now, and print its id.")
@_option("remove", "Forget this schedule, which no code has any more; its runs stay.")
@store_options
@json_option
def schedules_(  # noqa: D103 - click shows the help text above
    pauses: tuple[str, ...],
    resumes: tuple[str, ...],
    triggers: tuple[str, ...],
    removes: tuple[str, ...],
    url: str | None,
    namespace: str | None,
    as_json: bool,
) -> int:
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            if not (pauses or resumes or triggers or removes):
                _show(await durable.schedules(), as_json)
            try:
                for name in pauses:
                    await durable.pause_schedule(name)
                    _say(name, "paused", as_json)
                for name in resumes:
                    await durable.resume_schedule(name)
                    _say(name, "resumed", as_json)
                for name in triggers:
                    await _trigger(durable, name, as_json)
                for name in removes:
                    await durable.remove_schedule(name)
                    _say(name, "removed", as_json)
            except UnknownWorkflow as error:
                raise CliError(str(error), FAILED) from None
        return DONE

    return run_async(go())


async def _trigger(durable: Durable, name: str, as_json: bool) -> None:
    handle = await durable.trigger(name)
    output.print_json({"name": name, "id": handle.id}) if as_json else output.print_line(handle.id)


def _say(name: str, what: str, as_json: bool) -> None:
    output.print_json({"name": name, what: True}) if as_json else output.print_line(f"{name} {what}")


def _show(schedules: list[ScheduleInfo], as_json: bool) -> None:
    if as_json:
        for schedule in schedules:
            output.print_json(schedule)
    else:
        output.show_schedules(schedules)
