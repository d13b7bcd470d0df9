"""``durable server``: the embedded server of a directory, started or stopped by hand."""

from __future__ import annotations

from typing import Any

import click

from durable_async.cli import output
from durable_async.cli.exits import DONE
from durable_async.cli.options import Seconds, json_option
from durable_async.server.embedded import DEFAULT_DATA_DIR, EmbeddedServer


@click.command("server", help="Start the embedded server of a directory, and print its URL; or stop it.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False), default=DEFAULT_DATA_DIR, envvar="DURABLE_DATA_DIR",
    help="Where its data are; by default .durable.",
)  # fmt: skip
@click.option("--stop", is_flag=True, help="Shut the server down cleanly; its data stay.")
@click.option(
    "--idle-exit", type=Seconds(is_positive=True), envvar="DURABLE_IDLE_EXIT",
    help="Leave when nobody was connected for so many seconds; by default it stays until it is stopped.",
)  # fmt: skip
@json_option
def server_(data_dir: str, stop: bool, idle_exit: float | None, as_json: bool) -> int:  # noqa: D103
    server = EmbeddedServer(data_dir, idle_exit=idle_exit)
    if stop:
        was_running = server.stop()
        if as_json:
            output.print_json({"stopped": was_running})
        else:
            output.print_line("stopped" if was_running else f"no server ran in {data_dir}")
        return DONE
    found = server.ensure()
    facts: dict[str, Any] = {
        "url": found.url,
        "pid": found.pid,
        "data_dir": str(found.data_dir),
        "log": str(found.log),
    }
    if as_json:
        output.print_json(facts)
    else:
        for name, value in facts.items():
            output.print_line(f"{name}: {value}")
    return DONE
