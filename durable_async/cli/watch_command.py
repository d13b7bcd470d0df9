"""`durable watch`: what happens to a run, a line for each event, until it has ended."""

from __future__ import annotations

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, FAILED, CliError, run_async, say
from durable_async.cli.options import RunId, json_option, store_options
from durable_async.cli.run_commands import _opened
from durable_async.types import Status


@click.command("watch", help="Follow a run from its beginning to its end; exit code 1 if it did not complete.")
@click.argument("id", type=RunId())
@click.option("--after", help="Only what comes after the event with this id.")
@store_options
@json_option
def watch_(id: str, after: str | None, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            handle = durable.run(id)
            try:
                events = handle.watch(after)
            except ValueError as error:
                raise CliError(str(error)) from None
            async for event in events:
                output.print_json(event) if as_json else output.show_event(event)
            status = await handle.status()
        if status is not Status.COMPLETED:
            say(f"durable watch: run {id} ended {status}")
            return FAILED
        return DONE

    return run_async(go())
