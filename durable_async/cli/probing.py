"""The ports of ``durable worker``: what is answered there, by one process or by a supervisor for all of its own.

| path | answer |
|---|---|
| ``/healthz``, ``/readyz``, ``/`` | 200 while the worker takes up runs, else 503 and why |
| ``/livez`` | 200 while the process answers at all: a store that is away is no reason to start it again |
| ``/metrics`` | numbers for Prometheus |

The processes under a supervisor answer on unix sockets in a directory that only their user can open, and it asks them.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from durable_async.cli.exits import one_line
from durable_async.cli.probes import SOCKET_VARIABLE, Answer, Probes, ask, inherited_socket
from durable_async.worker.observing import trouble_of
from durable_async.worker.worker import Worker

if TYPE_CHECKING:
    from durable_async.cli.metrics import Meter

log = logging.getLogger("durable_async.cli")

Address = tuple[str, int]
HEALTH = ("/healthz", "/readyz", "/")


class Probed:
    """One worker process, as probes see it."""

    def __init__(self, *, has_metrics: bool) -> None:
        self._worker: Worker | None = None
        self._meter: Meter | None = None
        if has_metrics:
            from durable_async.cli.metrics import Meter

            self._meter = Meter()

    def attach(self, worker: Worker) -> None:
        """The worker has started."""
        self._worker = worker
        if self._meter is not None:
            self._meter.attach(worker)

    def health(self) -> tuple[int, str]:
        """Whether it takes up runs."""
        trouble = "starting" if self._worker is None else trouble_of(self._worker)
        return (200, "ok\n") if trouble is None else (503, f"{one_line(trouble)}\n")

    def metrics(self) -> tuple[int, str]:
        """Its numbers."""
        assert self._meter is not None
        return 200, self._meter.text()


@contextmanager
def probing(options: Mapping[str, Any], *, is_child: bool) -> Iterator[Probed | None]:
    """Answers for this process, at the ports of its options or, under a supervisor, where that asks.

    Raises:
        CliError: if a port cannot be had.
    """
    health: Address | None = options["health_port"]
    metrics: Address | None = options["metrics_port"]
    inner = inherited_socket()
    if (health is None and metrics is None) or (is_child and inner is None):
        yield None
        return
    probed = Probed(has_metrics=metrics is not None)
    answers = _answers(probed.health, probed.metrics if metrics is not None else None)
    if inner is not None:
        with Probes(inner, answers):
            yield probed
        return
    with _listening(health, metrics, answers):
        yield probed


@contextmanager
def probing_all(options: Mapping[str, Any], processes: int) -> Iterator[Callable[[int], dict[str, str]]]:
    """Answers for the worker processes of this supervisor: gives what the environment of the n-th one must say."""
    health: Address | None = options["health_port"]
    metrics: Address | None = options["metrics_port"]
    if health is None and metrics is None:
        yield lambda number: {}
        return
    if metrics is not None:
        import prometheus_client  # noqa: F401  # pyright: ignore[reportUnusedImport]  # told before anything is started
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="durable-"))
        asking = stack.enter_context(ThreadPoolExecutor(16, "durable-probes"))

        def all_of(path: str) -> dict[int, tuple[int, str]]:
            numbers = range(1, processes + 1)
            found = asking.map(lambda number: ask(_socket(folder, number), path), numbers)
            return dict(zip(numbers, found, strict=True))

        def healths() -> tuple[int, str]:
            bad = {number: text for number, (status, text) in all_of("/readyz").items() if status != 200}
            lines = [f"process {number}: {text.strip()}\n" for number, text in bad.items()]
            return (503, "".join(lines)) if bad else (200, "ok\n")

        def numbers() -> tuple[int, str]:
            from durable_async.cli.metrics import merge

            return 200, merge({n: text for n, (status, text) in all_of("/metrics").items() if status == 200})

        def environment(number: int) -> dict[str, str]:
            path = _socket(folder, number)
            if os.path.exists(path):
                os.unlink(path)  # of the one before, which may have been killed
            return {SOCKET_VARIABLE: path}

        stack.enter_context(_listening(health, metrics, _answers(healths, numbers if metrics is not None else None)))
        yield environment


def _socket(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number}.sock")


def _answers(health: Answer, metrics: Answer | None) -> dict[str, Answer]:
    answers: dict[str, Answer] = {**dict.fromkeys(HEALTH, health), "/livez": lambda: (200, "ok\n")}
    if metrics is not None:
        answers["/metrics"] = metrics
    return answers


@contextmanager
def _listening(health: Address | None, metrics: Address | None, answers: Mapping[str, Answer]) -> Iterator[None]:
    ports: dict[Address, dict[str, Answer]] = {}
    for path, answer in answers.items():
        address = metrics if path == "/metrics" else health
        if address is not None:
            ports.setdefault(address, {})[path] = answer
    with ExitStack() as stack:
        for address, shown in ports.items():
            probes = stack.enter_context(Probes(address, shown))
            for what, path in (("health", HEALTH[0]), ("metrics", "/metrics")):
                if path in shown:
                    log.info("%s on http://%s%s", what, probes.place, path)
        yield
