"""Commands about queues and workers: thin layers over the methods of `Durable`."""

from __future__ import annotations

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, run_async
from durable_async.cli.options import QueueNames, json_option, store_options
from durable_async.cli.run_commands import _opened


@click.command("queues", help="List queues: how many runs are ready, running and waiting, and how many workers serve.")
@store_options
@json_option
def queues_(url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103 - click shows the help text
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            found = await durable.queues()
        if as_json:
            for queue in found:
                output.print_json(queue)
        else:
            output.show_queues(found)
        return DONE

    return run_async(go())


@click.command("pause", help="Pause queues: none of their runs is started or goes on, on any worker.")
@click.argument("queues", metavar="QUEUE...", nargs=-1, required=True, type=QueueNames())
@store_options
@json_option
def pause_(queues: tuple[str, ...], url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    return run_async(_set(queues, url, namespace, as_json, is_paused=True))


@click.command("resume", help="Let paused queues go on.")
@click.argument("queues", metavar="QUEUE...", nargs=-1, required=True, type=QueueNames())
@store_options
@json_option
def resume_(queues: tuple[str, ...], url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    return run_async(_set(queues, url, namespace, as_json, is_paused=False))


async def _set(
    queues: tuple[str, ...], url: str | None, namespace: str | None, as_json: bool, *, is_paused: bool
) -> int:
    async with _opened(url, namespace) as durable:
        for queue in queues:
            await (durable.pause_queue(queue) if is_paused else durable.resume_queue(queue))
            if as_json:
                output.print_json({"name": queue, "paused": is_paused})
            else:
                output.print_line(f"queue {queue} {'is paused' if is_paused else 'goes on'}")
    return DONE


@click.command("workers", help="List workers, as they last described themselves.")
@store_options
@json_option
def workers_(url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            found = await durable.workers()
        if as_json:
            for worker in found:
                output.print_json(worker)
        else:
            output.show_workers(found)
        return DONE

    return run_async(go())
