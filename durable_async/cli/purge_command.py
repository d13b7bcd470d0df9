"""``durable purge``: removes ended runs before their retention is over, with everything below them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, FAILED, CliError, run_async, say
from durable_async.cli.options import Age, RunId, json_option, store_options
from durable_async.cli.run_commands import _opened
from durable_async.client.purging import Ended, Purging
from durable_async.errors import RunNotWaiting
from durable_async.types import TERMINAL, Status

ENDS = tuple(str(status) for status in Status if status in TERMINAL)


@click.command(
    "purge",
    help="Remove ended root runs with all below them, before their retention is over: those with an ID, or those that "
    "ended at least --older-than ago. A tree of which something is active stays, and makes the exit code 1.",
)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=RunId())
@click.option(
    "--older-than", "age", type=Age(), envvar="DURABLE_OLDER_THAN",
    help="How long ago they ended at least: seconds, or 90m, 12h, 7d; 0 is all that have ended.",
)  # fmt: skip
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(ENDS), help="Ended so; may be repeated."
)  # fmt: skip
@click.option("--workflow", help="Runs of this workflow only.")
@click.option("--dry-run", is_flag=True, envvar="DURABLE_DRY_RUN", help="Say what would be removed.")
@click.option("--yes", is_flag=True, envvar="DURABLE_YES", help="Do not ask.")
@store_options
@json_option
def purge_(ids: tuple[str, ...], url: str | None, namespace: str | None, **options: Any) -> int:  # noqa: D103
    _check(ids, options)

    async def go() -> int:
        async with _opened(url, namespace) as durable:
            return await _purge(Purging(durable._session.store), ids, options)

    return run_async(go())


def _check(ids: tuple[str, ...], options: dict[str, Any]) -> None:
    has_filters = options["age"] is not None
    if bool(ids) == has_filters:
        raise CliError("say which runs: either their IDs or --older-than, where 0 is all that have ended")
    if ids and (options["statuses"] or options["workflow"]):
        raise CliError("--status and --workflow choose among those of --older-than, not among IDs")
    if not has_filters or options["yes"] or options["dry_run"]:
        return
    if not sys.stdin.isatty():
        raise CliError("nobody can be asked here; pass --yes, or --dry-run to see what would be removed")
    click.confirm("Remove them, with everything below them? This cannot be undone.", abort=True, err=True)


async def _purge(purging: Purging, ids: tuple[str, ...], options: dict[str, Any]) -> int:
    trees = runs = stay = 0
    async for found in _chosen(purging, ids, options):
        count = await purging.size(found.id)
        if count is not None and not options["dry_run"]:
            try:
                count = await purging.remove(found.id)
            except RunNotWaiting:  # taken up again just now
                count = None
        if count is None:
            stay += 1
            say(f"durable purge: run {found.id} stays: a run below it has not ended")
            continue
        trees, runs = trees + 1, runs + count
        if options["as_json"]:
            row = {"id": found.id, "workflow": found.workflow, "status": found.status, "finished_at": found.finished_at}
            output.print_json({**row, "runs": count, "removed": not options["dry_run"]})
        elif options["dry_run"]:
            row_text = (found.id, found.workflow, str(found.status), output.when(found.finished_at), f"{count} runs")
            output.print_line("  ".join(row_text))
    if not options["as_json"]:
        verb = "would be removed" if options["dry_run"] else "removed"
        output.print_line(f"{verb}: {trees} trees of {runs} runs")
    return FAILED if stay else DONE


async def _chosen(purging: Purging, ids: tuple[str, ...], options: dict[str, Any]) -> AsyncIterator[Ended]:
    for id in ids:
        yield await purging.of(id)
    if not ids:
        before = await purging.now() - timedelta(seconds=options["age"])
        statuses = [Status(name) for name in options["statuses"]]
        async for found in purging.ended(before=before, statuses=statuses, workflow=options["workflow"]):
            yield found
