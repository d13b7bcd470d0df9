"""Commands about runs: thin layers over the methods of `Durable` with the same names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, FAILED, CliError, run_async, say
from durable_async.cli.json_input import read_json
from durable_async.cli.locate import locate
from durable_async.cli.options import QueueNames, RunId, json_option, store_options, typed
from durable_async.client.durable import Durable
from durable_async.codec import Opaque, PeekCodec
from durable_async.errors import RunError
from durable_async.server.embedded import DEFAULT_DATA_DIR
from durable_async.shapes import RunInfo
from durable_async.types import Status

PAGE: Final = 200


@asynccontextmanager
async def _opened(url: str | None, namespace: str | None) -> AsyncIterator[Durable]:
    """A client without workflows and keys: payloads are shown as plain data, or as what they are."""
    if url is None and not os.path.isdir(DEFAULT_DATA_DIR):  # noqa: ASYNC240 - before anything else runs
        way_out = "pass --url, set DURABLE_URL, or change to the directory of an embedded server"
        raise CliError(f"no store is known, and there is no {DEFAULT_DATA_DIR} here: {way_out}")
    async with Durable(url, namespace=namespace, codec=PeekCodec()) as durable:
        yield durable


def _input(durable: Durable, workflow: str, text: str | None) -> Any:
    found = durable.workflows.get(workflow)
    if found is None:
        known = ", ".join(sorted(durable.workflows)) or "none"
        raise CliError(f"no workflow is named {workflow!r}; there are: {known}")
    if text is None:
        return None
    if not found.spec.takes_input:
        raise CliError(f"workflow {workflow!r} takes no input")
    return read_json(text, "the input")


@click.command("start", help="Start a run of WORKFLOW with the input JSON (- reads it from standard input).")
@click.argument("target", metavar="MODULE:OBJECT")
@click.argument("workflow")
@click.argument("text", metavar="[JSON]", required=False)
@click.option("--id", "run_id", envvar="DURABLE_ID", help="Names the run; by default a random id.")
@click.option("-q", "--queue", type=QueueNames(), envvar="DURABLE_QUEUE", help="By default the workflow's own.")
@click.option("--wait", is_flag=True, envvar="DURABLE_WAIT", help="Wait for the end, and print the output as JSON.")
@store_options
@json_option
@click.pass_context
def start_(  # noqa: D103 - click shows the help text above
    ctx: click.Context,
    /,
    target: str,
    workflow: str,
    text: str | None,
    run_id: str | None,
    queue: str | None,
    wait: bool,
    as_json: bool,
    **_: Any,
) -> int:
    durable = locate(target)
    durable._move(url=typed(ctx, "url"), namespace=typed(ctx, "namespace"))
    value = _input(durable, workflow, text)

    async def go() -> int:
        async with durable:
            try:
                handle = await durable.start(workflow, value, id=run_id, queue=queue)
            except (TypeError, ValueError) as error:
                raise CliError(str(error)) from None
            if not wait:
                output.print_json({"id": handle.id, "workflow": workflow}) if as_json else output.print_line(handle.id)
                return DONE
            try:
                result = await handle.result()
            except RunError as error:
                if as_json:
                    output.print_json(await durable.get(handle.id))
                say(f"durable start: {error}")
                return FAILED
            output.print_json(await durable.get(handle.id) if as_json else result)
            return DONE

    return run_async(go())


@click.command("get", help="Show runs.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=RunId())
@store_options
@json_option
def get_(ids: tuple[str, ...], url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            for id in ids:
                run = await durable.get(id)
                output.print_json(run) if as_json else output.show_run(run)
        return DONE

    return run_async(go())


@click.command("list", help="List runs, newest first.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice([str(s) for s in Status]), help="May be repeated."
)
@click.option("--workflow", help="Runs of this workflow only.")
@click.option("-q", "--queue", type=QueueNames(), help="Runs of this queue only.")
@click.option("--id-prefix", help="Runs whose id begins so.")
@click.option("--parent", type=RunId(), help="Children of this run only.")
@click.option("--top-level", is_flag=True, help="Runs without a parent only.")
@click.option("--since", type=click.DateTime(), help="Created then or later, in UTC.")
@click.option("--until", type=click.DateTime(), help="Created then or earlier, in UTC.")
@click.option("--limit", type=click.IntRange(1), default=50, envvar="DURABLE_LIMIT", help="By default 50.")
@store_options
@json_option
def list_(  # noqa: D103
    statuses: tuple[str, ...], limit: int, url: str | None, namespace: str | None, as_json: bool, **filters: Any
) -> int:
    for name in ("since", "until"):
        moment: datetime | None = filters[name]
        filters[name] = None if moment is None else moment.replace(tzinfo=UTC)

    async def go() -> int:
        left, cursor = limit, None
        shown: list[RunInfo] = []
        async with _opened(url, namespace) as durable:
            while left > 0:
                page = await durable.list(
                    status=list(statuses) or None, limit=min(left, PAGE), cursor=cursor, **filters
                )
                left -= len(page.items)
                cursor = page.cursor
                if as_json:
                    for run in page.items:
                        output.print_json(run)
                shown += page.items
                if cursor is None:
                    break
        if not as_json:
            output.show_runs(shown)
        if cursor is not None:
            say(f"durable list: there are more; see them with --limit above {limit}")
        return DONE

    return run_async(go())


@click.command("tree", help="Show a run and all its descendants.")
@click.argument("id", type=RunId())
@store_options
@json_option
def tree_(id: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            tree = await durable.tree(id)
            output.print_json(tree) if as_json else output.show_tree(tree)
        return DONE

    return run_async(go())


@click.command("history", help="Show what happened to a run.")
@click.argument("id", type=RunId())
@store_options
@json_option
def history_(id: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            events = await durable.history(id)
            if as_json:
                for event in events:
                    output.print_json(event)
            else:
                output.show_history(events)
        return DONE

    return run_async(go())


@click.command("cancel", help="Cancel runs and their subtrees; their cleanup code runs.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=RunId())
@click.option("--reason", default="", help="What the runs, and those who look at them, are told.")
@store_options
@json_option
def cancel_(ids: tuple[str, ...], reason: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    return run_async(_end("cancel", ids, reason, url, namespace, as_json))


@click.command("terminate", help="End runs and their subtrees at once; no cleanup code runs.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=RunId())
@click.option("--reason", default="", help="What those who look at the runs are told.")
@store_options
@json_option
def terminate_(ids: tuple[str, ...], reason: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    return run_async(_end("terminate", ids, reason, url, namespace, as_json))


@click.command("retry", help="Take up failed runs from where they failed, and blocked ones.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=RunId())
@store_options
@json_option
def retry_(ids: tuple[str, ...], url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            for id in ids:
                handle = await durable.retry(id)
                if as_json:
                    output.print_json({"id": handle.id, "retried": True})
                else:
                    output.print_line(f"{handle.id} goes on")
        return DONE

    return run_async(go())


@click.command("fork", help="Start a new run that keeps what run ID had seen before a step or an entry of its history.")
@click.argument("id", type=RunId())
@click.option("--from-step", required=True, help="The step's name (name#2 its second call), or the entry's number.")
@store_options
@json_option
def fork_(id: str, from_step: str, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            try:
                handle = await durable.fork(id, from_step=int(from_step) if from_step.isdecimal() else from_step)
            except ValueError as error:
                raise CliError(str(error)) from None
        if as_json:
            output.print_json({"id": handle.id, "forked": id})
        else:
            output.print_line(handle.id)
        return DONE

    return run_async(go())


async def _end(
    what: str, ids: tuple[str, ...], reason: str, url: str | None, namespace: str | None, as_json: bool
) -> int:
    done = {"cancel": "cancelled", "terminate": "terminated"}[what]
    async with _opened(url, namespace) as durable:
        for id in ids:
            try:
                did = await getattr(durable, what)(id, reason)
            except ValueError as error:
                raise CliError(str(error)) from None
            if as_json:
                output.print_json({"id": id, done: did})
            else:
                output.print_line(f"{id} {done}" if did else f"{id} had ended or was cancelled before")
    return DONE


@click.command("send", help="Send the event NAME with the payload JSON (- reads it from standard input) to a run.")
@click.argument("id", type=RunId())
@click.argument("name")
@click.argument("text", metavar="[JSON]", required=False)
@click.option("--event-id", help="The same id twice is one event.")
@store_options
@json_option
def send_(  # noqa: D103
    id: str, name: str, text: str | None, event_id: str | None, url: str | None, namespace: str | None, as_json: bool
) -> int:
    payload = None if text is None else read_json(text, "the payload")

    async def go() -> int:
        async with _opened(url, namespace) as durable:
            run = await durable.get(id)
            if any(isinstance(value, Opaque) for value in (run.input, *run.context.values())):
                # It would not be able to read the event, now or ever.
                raise CliError(f"the values of run {id} are encrypted: send the event from a program that has its keys")
            try:
                await durable.send_event(id, name, payload, event_id=event_id)
            except ValueError as error:
                raise CliError(str(error)) from None
        if as_json:
            output.print_json({"id": id, "event": name})
        return DONE

    return run_async(go())
