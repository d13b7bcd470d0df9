"""``durable doctor``: whether a store is as it must be, and what it keeps when the power goes."""

from __future__ import annotations

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE, FAILED, run_async
from durable_async.cli.options import json_option, store_options
from durable_async.cli.plain_data import plain
from durable_async.cli.run_commands import _opened
from durable_async.client.doctor import Report, examine


@click.command(
    "doctor",
    help="Look whether the store is as it must be, and what it keeps when the power goes. The exit code is 1 if damage "
    "is left.",
)
@click.option("--fix", "may_fix", is_flag=True, envvar="DURABLE_FIX", help="Mend what can be mended.")
@store_options
@json_option
def doctor_(may_fix: bool, url: str | None, namespace: str | None, as_json: bool) -> int:  # noqa: D103 - click shows it
    async def go() -> int:
        async with _opened(url, namespace) as durable:
            report = await examine(durable._session.store, may_fix=may_fix)
        if as_json:
            output.print_json({**plain(report), "healthy": report.is_healthy})
        else:
            _show(report)
        return DONE if report.is_healthy else FAILED

    return run_async(go())


def _show(report: Report) -> None:
    lines = [f"server: {report.server}", f"disk: {report.disk}"]
    lines += [f"warning: {text}" for text in report.warnings]
    lines += [f"note: {text}" for text in report.notes]
    for each in report.damage:
        end = "mended" if each.mended else "--fix mends it" if each.curable else "only a person can mend that"
        lines.append(f"damage: run {each.id} {each.what} ({each.kind}): {end}")
    for worker in report.strangers:
        lines.append(f"damage: worker {worker} has a stream and no heartbeat: the workers that live see to it")
    if report.garbage:
        lines.append(f"note: {report.garbage} entries of queues belong to no run; whoever reads them removes them")
    for id, why in report.blocked.items():
        lines.append(f"blocked: run {id}: {why}")
    for id in report.stuck:
        lines.append(f"stuck: run {id} waits for something that cannot happen: cancel it")
    if report.mended_before:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(report.mended_before.items()))
        lines.append(f"mended so far: {counts}")
    left = len(report.strangers) + sum(not each.mended for each in report.damage)
    said = "is as it must be" if not left else f"has {left} things that are not as they must be"
    lines.append(f"the store {said}; {report.runs} runs were looked at")
    for line in lines:
        output.print_line(line)
