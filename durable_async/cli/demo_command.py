"""``durable demo``: kills a worker half-way through a few hundred orders, and proves that nothing came of it.

A server of its own, two worker processes, orders arriving over a few seconds. When half of them are done, one worker is
killed with SIGKILL; the other takes its runs over after the lease. In the end the evidence that the steps kept outside
the store is judged by `demo_proof`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

import click

from durable_async.cli import demo_flows as flows
from durable_async.cli.demo_proof import Proof, in_flight, prove, read_ledger
from durable_async.cli.demo_screen import Screen, screen_for
from durable_async.cli.exits import DONE, FAILED, CliError
from durable_async.cli.options import Seconds
from durable_async.cli.supervisor import Child
from durable_async.client.durable import Durable
from durable_async.errors import RunError
from durable_async.server.embedded import EmbeddedServer

WORKERS: Final = 2
ARRIVAL_S: Final = 5.0
"""Seconds over which the orders arrive."""


@click.command("demo", help="Run orders through two workers, kill one half-way, and prove that nothing was lost.")
@click.option("--orders", type=click.IntRange(2, 100_000), default=300, envvar="DURABLE_DEMO_ORDERS", help="How many.")
@click.option(
    "--lease", type=Seconds(is_positive=True), default=2.0, help="Seconds after which a silent worker is dead."
)
@click.option("--data-dir", type=click.Path(file_okay=False), help="Keep everything here; by default nothing is kept.")
@click.option("--timeout", type=Seconds(is_positive=True), default=120.0, help="Seconds after which the demo gives up.")
def demo_(orders: int, lease: float, data_dir: str | None, timeout: float) -> int:  # noqa: D103
    directory = Path(tempfile.mkdtemp(prefix="durable-demo-")) if data_dir is None else Path(data_dir).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / "ledger.jsonl").exists():
        raise CliError(f"{directory} holds the ledger of an earlier demo: choose another --data-dir")
    os.environ[flows.DIRECTORY_VARIABLE] = str(directory)
    try:
        # Not uvloop: it cannot start processes in every way that asyncio can, and little is done in this one.
        return asyncio.run(Demo(directory, orders, lease, timeout).run())
    except TimeoutError:
        last = last_line(directory / "workers.log")
        raise CliError(f"the demo did not end within {timeout:g} s; the workers' last words: {last}", FAILED) from None
    finally:
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Demo:
    """One run of the demo."""

    directory: Path
    number: int
    lease: float
    timeout: float
    workers: list[Child] = field(default_factory=list)
    killed: int | None = None
    finished: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    is_half_done: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Plays it, and returns the exit code."""
        started = monotonic()
        if (task := asyncio.current_task()) is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        self.orders = [flows.Order(n, 100 * n + 95, f"customer{n}@example.com") for n in range(1, self.number + 1)]
        with screen_for(self.number) as screen:
            async with asyncio.timeout(self.timeout), self._server() as url, self._workers(url):
                screen.say(f"a server of its own at {url}")
                screen.say(f"{WORKERS} worker processes: {', '.join(str(worker.pid) for worker in self.workers)}")
                async with Durable(url, workflows=list(flows.durable.workflows.values())) as durable:
                    await self._play(durable, screen)
                    await self._count(durable)
        return self._report(screen, monotonic() - started)

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[str]:
        server = EmbeddedServer(self.directory / "server", idle_exit=10.0)
        endpoint = await server.ensure_async()
        try:
            yield endpoint.url
        finally:
            await asyncio.to_thread(server.stop)

    @asynccontextmanager
    async def _workers(self, url: str) -> AsyncIterator[None]:
        queues = [word for queue in flows.QUEUES for word in ("-q", queue)]
        arguments = ["worker", "durable_async.cli.demo_flows:durable", *queues, "--log-format", "plain"]
        arguments += ["--url", url, "--lease", str(self.lease), "--drain-timeout", "5"]
        try:
            with (self.directory / "workers.log").open("ab") as log:
                for _ in range(WORKERS):
                    self.workers.append(await Child.start(arguments, stderr=log))
            for worker in self.workers:
                if not await worker.starts():
                    raise CliError(f"a worker did not start: {last_line(self.directory / 'workers.log')}", FAILED)
            yield
        finally:
            for worker in self.workers:
                worker.ask(signal.SIGTERM)
            await asyncio.gather(*[worker.wait() for worker in self.workers])

    async def _play(self, durable: Durable, screen: Screen) -> None:
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill(screen))
            for order in self.orders:
                group.create_task(self._follow(durable, order, screen))
                await asyncio.sleep(ARRIVAL_S / self.number)
            await killing

    async def _follow(self, durable: Durable, order: flows.Order, screen: Screen) -> None:
        """One order, from its start to its result and that of the mail, which the order does not wait for."""
        try:
            handle = await durable.start(flows.process_order, order, id=order.id)
            result = await handle.result()
            mailed = await durable.run(f"{order.id}/confirmation", flows.confirmation).result()
        except RunError as error:
            self.wrong.append(f"order {order.number}: {error}")
        else:
            if result != flows.expected_result(order) or mailed != order.email:
                self.wrong.append(f"order {order.number} has another result: {result}, mail to {mailed}")
            else:
                self.right += 1
        self.finished += 1
        screen.progress(self.finished)
        if self.finished * 2 >= self.number:
            self.is_half_done.set()

    async def _kill(self, screen: Screen) -> None:
        """Half-way, kills a worker that has steps in flight; waits a moment for one if need be."""
        await self.is_half_done.wait()
        victim = self.workers[0]
        for _ in range(200):
            if in_flight(read_ledger(self.directory / "ledger.jsonl"), victim.pid):
                break
            await asyncio.sleep(0.005)
        victim.send(signal.SIGKILL)
        await victim.process.wait()
        self.killed = victim.pid
        cut = in_flight(read_ledger(self.directory / "ledger.jsonl"), victim.pid)
        screen.say(
            f"kill -9 of worker {victim.pid} after {self.finished} orders, with {cut} steps half-way; "
            f"worker {self.workers[1].pid} takes over after {self.lease:g} s"
        )

    async def _count(self, durable: Durable) -> None:
        """Whether the store holds one run for each order, each payment and each mail, and all are completed."""
        for name in flows.durable.workflows:
            count, cursor = 0, None
            while True:
                page = await durable.list(workflow=name, status="completed", limit=500, cursor=cursor)
                count, cursor = count + len(page.items), page.cursor
                if cursor is None:
                    break
            if count != self.number:
                self.wrong.append(f"{count} runs of {name} are completed, not {self.number}")

    def _report(self, screen: Screen, took: float) -> int:
        proof: Proof = prove(read_ledger(self.directory / "ledger.jsonl"), range(1, self.number + 1), self.killed)
        wrong = [*self.wrong, *proof.wrong]
        if self.finished != self.number:
            wrong.append(f"{self.number - self.finished} orders did not finish")
        screen.say(f"{self.right} of {self.number} orders finished with the right result, in {took:.1f} s")
        screen.say(
            f"{proof.steps} steps, {proof.executions} executions: {proof.failed_attempts} attempts failed on purpose "
            f"and were retried, {len(proof.repeated)} ran again because of the kill"
        )
        for line in proof.repeated:
            screen.say(f"  again: {line}")
        for line in wrong[:20]:
            screen.say(f"  WRONG: {line}")
        if wrong:
            screen.say(f"THE PROOF FAILS: {len(wrong)} things are wrong")
            return FAILED
        screen.say("proved: every order exactly once; run again were only steps in flight on the killed worker")
        return DONE


def last_line(log: Path) -> str:
    """The last line of a log, if there is one."""
    try:
        return log.read_text(errors="replace").splitlines()[-1]
    except (OSError, IndexError):
        return "none"
