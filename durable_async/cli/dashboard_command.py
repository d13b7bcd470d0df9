"""``durable dashboard``: the dashboard of a store, served from this process."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import click
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from durable_async.cli import logs
from durable_async.cli.exits import DONE, CliError, run_async
from durable_async.cli.locate import locate
from durable_async.cli.options import store_options, typed
from durable_async.cli.run_commands import _opened
from durable_async.client.durable import Durable
from durable_async.client.running import Stop

log = logging.getLogger("durable_async.cli")

PORT: Final = 8787
IDLE_S: Final = 10.0


@click.command("dashboard", help="Serve the dashboard: on this machine, for this machine, unless there is a token.")
@click.argument("target", metavar="[MODULE:OBJECT]", required=False)
@click.option("--host", default="127.0.0.1", envvar="DURABLE_HOST", help="Where to listen; by default 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=PORT, envvar="DURABLE_PORT", help=f"By default {PORT}."
)  # fmt: skip
@click.option(
    "--token", envvar="DURABLE_TOKEN",
    help="What browsers are asked for. Better in the environment: others see a command line.",
)  # fmt: skip
@click.option("--write", is_flag=True, envvar="DURABLE_WRITE", help="Let it cancel, retry, answer and pause.")
@click.option(
    "--payloads", is_flag=True, envvar="DURABLE_PAYLOADS", help="Show inputs, outputs and what errors say."
)  # fmt: skip
@click.option("--allow-host", "hosts", multiple=True, help="A name by which it may be reached; may be repeated.")
@click.option(
    "--log-format", type=click.Choice(logs.FORMATS), envvar="DURABLE_LOG_FORMAT",
    help="By default rich on a terminal, else plain.",
)  # fmt: skip
@store_options
@click.pass_context
def dashboard_(  # noqa: D103 - click shows the help text above
    ctx: click.Context, /, target: str | None, url: str | None, namespace: str | None, **options: Any
) -> int:
    host, token = options["host"], options["token"] or None
    if token is None and not _is_loopback(host):
        raise CliError(f"{host} can be reached from elsewhere: that wants a token, in DURABLE_TOKEN")
    logs.set_up(options["log_format"])

    async def go() -> int:
        async with _chosen(ctx, target, url, namespace) as durable:
            app = durable.dashboard(
                token, not options["write"], show_payloads=options["payloads"], hosts=options["hosts"]
            )
            await _serve(app, host, options["port"])
        return DONE

    return run_async(go())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def _chosen(
    ctx: click.Context, target: str | None, url: str | None, namespace: str | None
) -> AsyncIterator[Durable]:
    """With MODULE:OBJECT that one, whose codec has the keys; else one that shows what can be shown."""
    if target is None:
        async with _opened(url, namespace) as durable:
            yield durable
        return
    found = locate(target)
    found._move(url=typed(ctx, "url"), namespace=typed(ctx, "namespace"))
    async with found:
        yield found


class _Impatient(H11Protocol):
    """A connection on which no request has come for a while is closed, however busily it sends parts of one."""

    _idle = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(IDLE_S / 2, self._look)

    def _look(self) -> None:
        is_idle = self.cycle is None or self.cycle.response_complete
        self._idle = self._idle + 1 if is_idle else 0
        if self._idle == 2:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(IDLE_S / 2, self._look)


class _Server(uvicorn.Server):
    """A server that leaves signals to `Stop`, as all our processes do."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: Any, host: str, port: int) -> None:
    config = uvicorn.Config(
        app,
        http=_Impatient,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=100,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = _Server(config)
    with _listening(host, port) as listening, Stop() as stop:
        host, port = listening.getsockname()[:2]
        log.info("the dashboard is on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        serving = asyncio.get_running_loop().create_task(server.serve([listening]))
        stopping = asyncio.get_running_loop().create_task(stop.requested.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await serving


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise CliError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    with listening:
        yield listening
