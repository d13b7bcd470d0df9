"""What commands print: JSON lines, rich tables on a terminal, plain lines elsewhere.

Text from the store is shown as text: neither rich's markup nor a terminal's control characters in it have an effect.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from durable_async.cli.exits import one_line
from durable_async.cli.plain_data import plain, to_json
from durable_async.shapes import (
    Event,
    HistoryEvent,
    PendingInput,
    QueueInfo,
    RunInfo,
    RunTree,
    ScheduleInfo,
    WorkerInfo,
)
from durable_async.types import Status

STYLES = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.COMPENSATED: "yellow",
    Status.COMPENSATION_FAILED: "red",
    Status.RUNNING: "cyan",
}
_LONGEST = 200
"""Characters of a payload that tables show."""


def print_json(value: object) -> None:
    """One line of JSON in UTF-8, whatever the locale."""
    _write(to_json(value) + b"\n")


def print_line(text: str) -> None:
    """One plain line."""
    click.echo(one_line(text))


def print_text(text: str) -> None:
    """One plain line that may be indented, at once."""
    click.echo(text)
    sys.stdout.flush()


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def console() -> Console | None:
    """A console for a terminal; None where plain lines are due."""
    return _Console() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else None


class _Console(Console):
    """A console that leaves broken pipes to the program."""

    def on_broken_pipe(self) -> None:
        """Rich would exit."""
        raise BrokenPipeError


def show_run(run: RunInfo) -> None:
    """One run, a line for each field that says something."""
    rows = []
    for name, value in plain(run).items():
        if value is None or value in ({}, "") or (name == "root_id" and value == run.id):
            continue
        text = f"{value['type']}: {value['message']}" if name == "error" else value
        rows.append((name, text if isinstance(text, str) else to_json(text).decode()))
    screen = console()
    if screen is None:
        for name, text in rows:
            print_line(f"{name}: {text}")
        return
    table = Table(show_header=False, box=None)
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(one_line(text), style=_style(run) if name == "status" else ""))
    screen.print(table)


def show_runs(runs: Iterable[RunInfo]) -> None:
    """A table of runs, or a line for each: id, workflow, status, creation, and what it waits for."""
    rows = [[run.id, run.workflow, str(run.status), when(run.created_at), remark(run)] for run in runs]
    _table(("id", "workflow", "status", "created", ""), rows)


def show_history(events: Iterable[HistoryEvent]) -> None:
    """A table of events, or a line for each."""
    rows = []
    for event in events:
        parts = [f"attempt {event.attempt}"] if event.attempt is not None and event.attempt > 1 else []
        if event.duration is not None:
            parts.append(f"{event.duration.total_seconds():.3f} s")
        if event.error is not None:
            parts.append(f"{event.error.type}: {event.error.message}")
        if event.detail:
            parts.append(to_json(event.detail).decode())
        rows.append([str(event.index), when(event.at), event.kind, event.name, ", ".join(parts)])
    _table(("", "at", "kind", "name", ""), rows)


def show_schedules(schedules: Iterable[ScheduleInfo]) -> None:
    """A table of schedules, or a line for each: name, when, next tick, last run, and what is the matter."""
    rows = [
        [
            s.name,
            s.expression,
            "paused" if s.paused else when(s.next_at),
            s.last_run_id or "",
            (s.error or "")[:_LONGEST],
        ]
        for s in schedules
    ]
    _table(("name", "schedule", "next", "last run", ""), rows)


def show_event(event: Event) -> None:
    """A line for something that has happened, at once."""
    data = {key: value for key, value in event.data.items() if value is not None}
    what = str(data.pop("status" if event.kind == "status" else "what", ""))
    error = data.pop("error", None)
    parts = [when(event.at), event.kind, *([what] if what and what != event.kind else [])]
    if name := data.pop("name", ""):
        parts.append(str(name))
    if error is not None:
        parts.append(f"{error.type}: {error.message}"[:_LONGEST])
    if data.get("attempt") == 1:
        del data["attempt"]
    if data:
        parts.append(to_json(data).decode()[:_LONGEST])
    print_text("  ".join(one_line(part) for part in parts))


def show_tree(tree: RunTree) -> None:
    """A run and its descendants, as a tree or as indented lines."""
    screen = console()
    if screen is None:
        for depth, run in _walk(tree, 0):
            click.echo("  " * depth + one_line(_label(run)))
        return
    root = Tree(_rich_label(tree.run))
    waiting = [(root, child) for child in reversed(tree.children)]
    while waiting:
        above, found = waiting.pop()
        branch = above.add(_rich_label(found.run))
        waiting += [(branch, child) for child in reversed(found.children)]
    screen.print(root)


def _walk(tree: RunTree, depth: int) -> Iterable[tuple[int, RunInfo]]:
    yield depth, tree.run
    for child in tree.children:
        yield from _walk(child, depth + 1)


def _label(run: RunInfo) -> str:
    tail = remark(run)
    return f"{run.ref or run.id}  {run.workflow}  {run.status}{f'  {tail}' if tail else ''}"


def _rich_label(run: RunInfo) -> Text:
    return Text.assemble(
        (run.ref or run.id, "bold"), f"  {run.workflow}  ", (str(run.status), _style(run)), f"  {one_line(remark(run))}"
    )


def show_inputs(pending: Iterable[PendingInput]) -> None:
    """A table of questions, or a line for each: run, name, what is taken, since when, until when, what is asked."""
    rows = []
    for p in pending:
        choices = p.choices or [f.name for f in p.fields]
        takes = f"{p.kind}: {', '.join(str(plain(each)) for each in choices)}" if choices else p.kind
        rows.append([p.run_id, p.name, takes[:_LONGEST], when(p.since), when(p.expires_at), p.prompt[:_LONGEST]])
    _table(("run", "name", "takes", "since", "until", "prompt"), rows)


def show_queues(queues: Iterable[QueueInfo]) -> None:
    """A table of queues, or a line for each."""
    rows = []
    for q in queues:
        age = "" if q.oldest_ready_age is None else f"{q.oldest_ready_age.total_seconds():.1f} s"
        counts = [str(n) for n in (q.ready, q.running, q.waiting, q.workers)]
        rows.append([q.name, *counts, age, "paused" if q.paused else ""])
    _table(("queue", "ready", "running", "waiting", "workers", "oldest", ""), rows)


def show_workers(workers: Iterable[WorkerInfo]) -> None:
    """A table of workers, or a line for each."""
    rows = [
        [w.id, ",".join(w.queues), f"{w.running}/{w.concurrency}", str(w.resident), when(w.since), when(w.last_seen)]
        for w in workers
    ]
    _table(("worker", "queues", "running", "resident", "since", "last seen"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    screen = console()
    if screen is None:
        for row in rows:
            click.echo("\t".join(one_line(cell) for cell in row).rstrip("\t"))
        return
    table = Table(*heads, box=None, header_style="bold")
    for row in rows:
        table.add_row(*[Text(one_line(cell), overflow="fold") for cell in row])
    screen.print(table)


def remark(run: RunInfo) -> str:
    """What a person wants to know beside the status: an error, a reason, what it waits for, how far it is."""
    if run.error is not None:
        return f"{run.error.type}: {run.error.message}"[:_LONGEST]
    if run.reason:
        return run.reason[:_LONGEST]
    if run.waiting_for:
        return run.waiting_for[:_LONGEST]
    if run.progress is not None:
        total = "" if run.progress.total is None else f"/{run.progress.total:g}"
        return f"{run.progress.done:g}{total} {run.progress.message}".strip()
    return ""


def when(moment: datetime | None) -> str:
    """A time in UTC, to the millisecond."""
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _style(run: RunInfo) -> str:
    return STYLES.get(run.status, "")
