"""Commands about questions: thin layers over the methods of `Durable`."""

from __future__ import annotations

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, CliError, run_async
from durable_async.cli.json_input import read_json
from durable_async.cli.options import RunId, json_option, store_options
from durable_async.cli.run_commands import _opened


@click.command("inputs", help="List the questions that wait for an answer: those that have waited longest come first.")
@click.option("--run", type=RunId(), help="Those of this run only.")
@click.option("--name", help="Those of this name only.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, envvar="DURABLE_LIMIT", help="By default 50.")
@store_options
@json_option
def inputs_(  # noqa: D103 - click shows the help text
    run: str | None, name: str | None, limit: int, url: str | None, namespace: str | None, as_json: bool
) -> int:
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            try:
                found = await durable.pending_inputs(run, name, limit)
            except ValueError as error:
                raise CliError(str(error)) from None
        if as_json:
            for pending in found:
                output.print_json(pending)
        else:
            output.show_inputs(found)
        return DONE

    return run_async(go())


@click.command("answer", help="Answer the question NAME of the run ID with JSON (- reads it from standard input).")
@click.argument("id", type=RunId())
@click.argument("name")
@click.argument("text", metavar="JSON")
@store_options
@json_option
def answer_(id: str, name: str, text: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    value = read_json(text, "the answer")

    async def go() -> int:
        async with _opened(url, namespace) as durable:
            try:
                await durable.provide_input(id, name, value)
            except ValueError as error:
                raise CliError(str(error)) from None
        if as_json:
            output.print_json({"id": id, "input": name})
        return DONE

    return run_async(go())
