"""``durable top``: queues, workers and what is active, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final, Literal

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from durable_async.cli import output
from durable_async.cli.exits import DONE, one_line, run_async
from durable_async.cli.options import Seconds, json_option, store_options
from durable_async.cli.plain_data import plain
from durable_async.cli.run_commands import _opened
from durable_async.client.durable import Durable
from durable_async.errors import StoreUnavailable
from durable_async.shapes import QueueInfo, RunInfo, WorkerInfo
from durable_async.types import TERMINAL, Status

SHARE: Final = 10
"""A look that took a second is followed by one of ten seconds at least: looking must not be what the server does."""
ACTIVE: Final = tuple(status for status in Status if status not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look. Its numbers are not of one moment."""

    at: datetime
    queues: list[QueueInfo] = field(default_factory=list)
    workers: list[WorkerInfo] = field(default_factory=list)
    runs: list[RunInfo] = field(default_factory=list)
    """Active ones, the newest first; without inputs and outputs."""


@click.command("top", help="Show queues, workers and active runs, again and again; Ctrl-C ends it.")
@click.option(
    "--interval", type=Seconds(is_positive=True), default=2.0, envvar="DURABLE_INTERVAL",
    help="Seconds between two looks, by default 2; more where a look takes long.",
)  # fmt: skip
@click.option(
    "--count", type=click.IntRange(1), envvar="DURABLE_COUNT",
    help="How many looks; by default 1, on a terminal without end.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 100), default=20, envvar="DURABLE_LIMIT", help="Runs; by default 20.")
@store_options
@json_option
def top_(  # noqa: D103 - click shows the help text
    interval: float, count: int | None, limit: int, url: str | None, namespace: str | None, as_json: bool
) -> int:
    screen = None if as_json else output.console()

    async def go() -> None:
        async with _opened(url, namespace) as durable:
            if screen is not None:
                await _live(screen, durable, interval, count, limit)
                return
            for n in range(count or 1):
                if n:
                    await asyncio.sleep(interval)
                shot = await look(durable, limit)
                _print_json(shot) if as_json else _print(shot)

    with suppress(KeyboardInterrupt):  # how one leaves it
        run_async(go())
    return DONE


async def look(durable: Durable, limit: int) -> Snapshot:
    """Asks for everything once."""
    found = await durable._queries(has_values=False).page(status=frozenset(ACTIVE), limit=limit)
    return Snapshot(datetime.now(UTC), await durable.queues(), await durable.workers(), found.items)


async def _live(screen: Console, durable: Durable, interval: float, count: int | None, limit: int) -> None:
    left = count
    shot, trouble, took = await look(durable, limit), "", 0.0
    with Live(_picture(shot, durable, trouble), console=screen, screen=True, auto_refresh=False) as live:
        while left is None or left > 1:
            live.update(_picture(shot, durable, trouble), refresh=True)
            await asyncio.sleep(max(interval, took * SHARE))
            began = monotonic()
            try:
                shot, trouble = await look(durable, limit), ""
            except StoreUnavailable:
                trouble = "the store cannot be reached; what is shown was seen before"
            took = monotonic() - began
            left = None if left is None else left - 1
        live.update(_picture(shot, durable, trouble), refresh=True)


def _print_json(shot: Snapshot) -> None:
    said = plain(shot)
    for run in said["runs"]:
        del run["input"], run["output"]  # they were not read
    output.print_json(said)


def _print(shot: Snapshot) -> None:
    output.show_queues(shot.queues)
    output.show_workers(shot.workers)
    output.show_runs(shot.runs)


def _picture(shot: Snapshot, durable: Durable, trouble: str) -> RenderableType:
    where = f"{durable.url or 'embedded server'}  namespace {durable.namespace}  {shot.at:%H:%M:%S} UTC"
    ready, running, waiting = (sum(getattr(q, name) for q in shot.queues) for name in ("ready", "running", "waiting"))
    totals = Text.assemble(
        (f"{running}", "bold cyan"), " running   ", (f"{ready}", "bold yellow" if ready else "bold"), " ready   ",
        (f"{waiting}", "bold"), " waiting   ", (f"{len(shot.workers)}", "bold"), " workers",
    )  # fmt: skip
    parts: list[RenderableType] = [Text.assemble(("durable top  ", "bold"), (one_line(where), "dim")), totals]
    if trouble:
        parts.append(Text(trouble, style="bold red"))
    parts += [Text(), _queues(shot.queues), Text(), _workers(shot), Text(), _runs(shot)]
    return Group(*parts)


def _table(*heads: str) -> Table:
    table = Table(box=None, header_style="bold reverse", expand=True, pad_edge=False)
    for n, head in enumerate(heads):
        # The name, and what there is to say, get the room.
        ratio = 4 if n == 0 or head == "" else 2
        justify: Literal["left", "right"] = "right" if head.startswith(">") else "left"
        table.add_column(head.lstrip(">"), justify=justify, ratio=ratio, overflow="ellipsis", no_wrap=True)
    return table


def _queues(queues: list[QueueInfo]) -> Table:
    table = _table("QUEUE", ">READY", ">RUNNING", ">WAITING", ">WORKERS", ">OLDEST READY", "")
    for q in queues:
        age = "" if q.oldest_ready_age is None else _age(q.oldest_ready_age)
        mark = (
            Text("paused", "yellow") if q.paused else Text("no worker", "red") if q.ready and not q.workers else Text()
        )
        numbers = [str(n) for n in (q.ready, q.running, q.waiting, q.workers)]
        table.add_row(Text(q.name), *numbers, age, mark)
    return table


def _workers(shot: Snapshot) -> Table:
    table = _table("WORKER", "QUEUES", ">SLOTS", ">RESIDENT", ">UP", ">SEEN")
    for w in shot.workers:
        slots = Text(f"{w.running}/{w.concurrency}", "yellow" if w.running >= w.concurrency else "")
        times = (_age(shot.at - w.since), _age(shot.at - w.last_seen))
        table.add_row(Text(one_line(w.id)), Text(one_line(",".join(w.queues))), slots, str(w.resident), *times)
    return table


def _runs(shot: Snapshot) -> Table:
    table = _table("RUN", "WORKFLOW", "STATUS", ">AGE", "")
    for run in shot.runs:
        what = Text(one_line(output.remark(run)), "dim")
        status = Text(str(run.status), output.STYLES.get(run.status, ""))
        table.add_row(Text(run.id), Text(run.workflow), status, _age(shot.at - run.created_at), what)
    if not shot.runs:
        table.add_row(Text("nothing is active", "dim"))
    return table


def _age(length: timedelta) -> str:
    """Two digits or three, and the unit."""
    seconds = max(0.0, length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
