"""The program: its commands by name, each imported when it is used, and the way out."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import click

from durable_async.cli import missing_extra
from durable_async.cli.exits import BROKEN_PIPE, DONE, FAILED, USAGE, CliError, complain

_COMMANDS: Final = {
    "worker": "worker_command",
    "start": "run_commands",
    "get": "run_commands",
    "list": "run_commands",
    "tree": "run_commands",
    "history": "run_commands",
    "watch": "watch_command",
    "cancel": "run_commands",
    "terminate": "run_commands",
    "retry": "run_commands",
    "fork": "run_commands",
    "send": "run_commands",
    "inputs": "input_commands",
    "answer": "input_commands",
    "queues": "queue_commands",
    "pause": "queue_commands",
    "resume": "queue_commands",
    "workers": "queue_commands",
    "schedules": "schedule_command",
    "top": "top_command",
    "doctor": "doctor_command",
    "purge": "purge_command",
    "server": "server_command",
    "dashboard": "dashboard_command",
    "demo": "demo_command",
}
"""The module that holds the command; its attribute is the command's name and an underscore."""


class Program(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the one that is asked for."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(importlib.import_module(f"durable_async.cli.{module}"), f"{cmd_name}_")
        return found


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Returns: its exit code.
    """
    name = f"durable {arguments[0]}" if arguments and arguments[0] in _COMMANDS else "durable"
    try:
        _check_directory()
        program = Program("durable", help="Durable workflows on Redis or Valkey.", no_args_is_help=False)
        program.params.append(_version_option())
        if not arguments:
            click.echo(program.get_help(click.Context(program, info_name="durable")))
            return USAGE
        # Not `program.main`, which has an exit code of its own for a broken pipe.
        with program.make_context("durable", list(arguments)) as context:
            code = program.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as left:
        return left.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        return BROKEN_PIPE
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else FAILED
    except ModuleNotFoundError as error:
        message = missing_extra(error)
        return complain(CliError(message) if message else error, name)
    except Exception as error:  # noqa: BLE001 - the way out of everything: one line and an exit code
        return complain(error, name)
    return code if isinstance(code, int) else DONE


def _check_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise CliError("the working directory does not exist any more; change to one that does") from error


def _version_option() -> click.Option:
    def show(ctx: click.Context, option: click.Parameter, is_asked: bool) -> None:
        if is_asked:
            from importlib.metadata import version

            click.echo(f"durable {version('durable-async')}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=show, help="Show the version and exit."
    )
