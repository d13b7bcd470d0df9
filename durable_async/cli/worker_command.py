"""``durable worker``: one worker process, or a supervisor of several."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any, Final

import click

from durable_async.cli import logs
from durable_async.cli.exits import CUT, DONE, CliError, run_async
from durable_async.cli.lifeline import Lifeline
from durable_async.cli.locate import locate
from durable_async.cli.options import Address, QueueNames, Seconds, store_options, typed
from durable_async.cli.probing import Probed, probing, probing_all
from durable_async.cli.supervisor import Supervisor
from durable_async.client.durable import Durable
from durable_async.client.running import STOP_SIGNALS, Stop, serve
from durable_async.worker.collector import calm_collector
from durable_async.worker.settings import WorkerSettings
from durable_async.worker.worker import Worker

log = logging.getLogger("durable_async.cli")

_MAX_PROCESSES: Final = 1_000


@click.command("worker", help="Run the workflows of MODULE:OBJECT, a Durable, until SIGTERM or SIGINT; then drain.")
@click.argument("target", metavar="MODULE:OBJECT")
@click.option(
    "-q", "--queue", "queues", multiple=True, type=QueueNames(), envvar="DURABLE_QUEUES",
    help="A queue to serve; may be repeated. By default: default.",
)  # fmt: skip
@click.option(
    "-c", "--concurrency", type=click.IntRange(1, 1_000_000), envvar="DURABLE_CONCURRENCY",
    help="Runs that may be active at once, per process. By default 100.",
)  # fmt: skip
@click.option(
    "-w", "--processes", type=click.IntRange(1, _MAX_PROCESSES), default=1, envvar="DURABLE_PROCESSES",
    help="Worker processes; those that die are started again.",
)  # fmt: skip
@click.option(
    "--max-resident", type=click.IntRange(0), envvar="DURABLE_MAX_RESIDENT",
    help="Parked runs kept in memory. By default 10,000.",
)  # fmt: skip
@click.option("--burst", is_flag=True, envvar="DURABLE_BURST", help="Leave when nothing is runnable now.")
@click.option("--embedded", is_flag=True, envvar="DURABLE_EMBEDDED", help="Use the embedded server, whatever the URL.")
@store_options
@click.option("--name", envvar="DURABLE_NAME", help="A name for this worker; part of its id.")
@click.option(
    "--lease", type=Seconds(is_positive=True), envvar="DURABLE_LEASE",
    help="Seconds of silence after which others take over. By default 15.",
)  # fmt: skip
@click.option(
    "--drain-timeout", type=Seconds(), envvar="DURABLE_DRAIN_TIMEOUT",
    help="Seconds that running steps get at the end. By default 30.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(logs.FORMATS), envvar="DURABLE_LOG_FORMAT",
    help="By default rich on a terminal, else plain.",
)  # fmt: skip
@click.option(
    "--health-port", type=Address(), envvar="DURABLE_HEALTH_PORT",
    help="Answer /healthz here: 200 while the worker takes up runs, else 503. A port alone is of this machine only.",
)  # fmt: skip
@click.option(
    "--metrics-port", type=Address(), envvar="DURABLE_METRICS_PORT",
    help="Answer /metrics here, for Prometheus. A port alone is of this machine only.",
)  # fmt: skip
@click.option("--reload", is_flag=True, envvar="DURABLE_RELOAD", help="Start again when Python files here change.")
@click.pass_context
def worker_(ctx: click.Context, /, target: str, **options: Any) -> int:  # noqa: D103 - click shows the help text above
    _check(ctx, options)
    lifeline = Lifeline.inherited()
    logs.set_up(options["log_format"])
    if lifeline is None and (options["processes"] > 1 or options["reload"]):
        patience = 30.0 if options["drain_timeout"] is None else options["drain_timeout"]
        with probing_all(options, options["processes"]) as environment:
            supervisor = Supervisor(
                sys.argv[1:],
                processes=options["processes"],
                is_burst=options["burst"],
                is_reloading=options["reload"],
                drain_timeout=patience,
                environment=environment,
            )
            return asyncio.run(supervisor.run())
    durable = locate(target)
    durable._move(url=typed(ctx, "url"), namespace=typed(ctx, "namespace"), is_embedded=options["embedded"])
    settings = durable.worker_settings(
        queues=typed(ctx, "queues") or None,
        concurrency=typed(ctx, "concurrency"),
        max_resident=typed(ctx, "max_resident"),
        drain_timeout=typed(ctx, "drain_timeout"),
        lease=typed(ctx, "lease"),
        name=options["name"],
    )
    with probing(options, is_child=lifeline is not None) as probed:
        return run_async(_serve(durable, settings, options["burst"], lifeline, probed))


def _check(ctx: click.Context, options: dict[str, Any]) -> None:
    twice = sorted({queue for queue in options["queues"] if options["queues"].count(queue) > 1})
    if twice:
        raise CliError(f"queue {twice[0]!r} is given twice")
    if options["embedded"] and typed(ctx, "url") is not None:
        raise CliError("--embedded and --url exclude each other: an embedded server has a URL of its own")
    if options["burst"] and options["reload"]:
        raise CliError("--burst and --reload exclude each other")
    if options["reload"]:
        # Here, and not in the supervisor's task: a missing package is told like every other.
        import watchfiles  # noqa: F401  # pyright: ignore[reportUnusedImport]  # only whether it is there
    name = options["name"]
    if name is not None and not (name.isprintable() and name.isascii() and 0 < len(name) <= 64):
        raise CliError("--name must have 1 to 64 printable ASCII characters")


def _warn_of_strange_queues(durable: Durable, settings: WorkerSettings) -> None:
    known = {workflow.queue for workflow in durable.workflows.values()}
    for queue in settings.queues:
        if queue not in known and queue != "default":
            log.warning("no workflow here has the queue %r: it gets only runs that are started with queue=", queue)
    unserved = sorted(known - set(settings.queues))
    if unserved:
        log.info("not served here, though workflows have them: %s", ", ".join(f"queue {queue!r}" for queue in unserved))


async def _serve(
    durable: Durable, settings: WorkerSettings, burst: bool, lifeline: Lifeline | None, probed: Probed | None
) -> int:
    def ready(worker: Worker) -> None:
        calm_collector()
        if probed is not None:
            probed.attach(worker)
        _warn_of_strange_queues(durable, settings)
        log.info(
            "worker %s is ready: queues %s, concurrency %d, %d workflows, store %s",
            worker.id,
            ", ".join(settings.queues),
            settings.concurrency,
            len(durable.workflows),
            durable.url or "embedded",
        )
        if lifeline is not None:
            lifeline.say_ready()

    signals: list[signal.Signals] = list(STOP_SIGNALS)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup, the end of the terminal means nothing
        signals.append(signal.SIGHUP)
    with Stop(signals) as stop:
        telling = asyncio.get_running_loop().create_task(_tell(stop, settings.drain_timeout))
        watching = None
        if lifeline is not None:
            watching = asyncio.get_running_loop().create_task(lifeline.watch(stop.request))
        try:
            is_clean = await serve(
                durable, settings, stop, lifespan=durable._worker_lifespan, burst=burst, on_ready=ready
            )
        finally:
            telling.cancel()
            if watching is not None:
                watching.cancel()
            if lifeline is not None:
                lifeline.close()
    log.info("worker has left; %s", "nothing was cut" if is_clean else "steps were cut, others take over their runs")
    return DONE if is_clean else CUT


async def _tell(stop: Stop, patience: float) -> None:
    await stop.requested.wait()
    name = "the supervisor is gone" if stop.signal is None else signal.Signals(stop.signal).name
    log.info("%s: draining for up to %g s; a second signal stops at once", name, patience)
