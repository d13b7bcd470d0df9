"""What a worker tells Prometheus: numbers, and as labels only names that stand in the code, or in the command line.

A worker process has a registry of its own, not the library's global one, which may be the application's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from durable_async.errors import StoreUnavailable
from durable_async.store.errors import ServerError
from durable_async.store.keys import queue_of
from durable_async.worker.observing import observe, trouble_of
from durable_async.worker.worker import Worker

MOST_NAMES: Final = 500
"""Different steps that are told apart; the others are `other`."""
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
LAG_PATIENCE_S: Final = 1.0


class Meter:
    """Counts what one worker does. Reading it is for any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._steps: set[str] = set()
        self._ended = Counter(
            "durable_runs_ended",
            "Runs that this worker has ended, by workflow and status.",
            ("workflow", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "durable_step_duration_seconds",
            "How long attempts of steps took, by the step's function and whether it returned (ok) or raised (failed).",
            ("step", "outcome"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._registry.register(self)

    def attach(self, worker: Worker) -> None:
        """From here on this worker is counted; on its loop."""
        self._worker, self._loop = worker, asyncio.get_running_loop()
        observe(worker, self)

    def run_ended(self, workflow: str, status: str) -> None:
        """One run."""
        self._ended.labels(workflow, status).inc()

    def step_done(self, step: str, *, is_ok: bool, seconds: float) -> None:
        """One attempt."""
        if step not in self._steps:
            if len(self._steps) >= MOST_NAMES:
                step = "other"
            else:
                self._steps.add(step)
        self._seconds.labels(step, "ok" if is_ok else "failed").observe(seconds)

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Metric]:
        """Nothing: what `collect` gives is known when it is read."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """How the worker is now."""
        worker = self._worker
        trouble = "starting" if worker is None else trouble_of(worker)
        yield _gauge("durable_worker_healthy", "1 while the worker takes up runs.", int(trouble is None))
        if worker is None or trouble in ("starting", "draining"):
            return
        runner = worker.runner
        yield _gauge("durable_worker_runs_active", "Runs that hold a slot.", runner.intake.slots.active)
        yield _gauge("durable_worker_concurrency", "Slots.", worker.settings.concurrency)
        yield _gauge("durable_worker_runs_resident", "Runs in memory, parked ones included.", len(runner.residents))
        age = worker._heartbeat.age_s
        yield _gauge("durable_worker_heartbeat_age_seconds", "Since the last heartbeat that arrived.", age)
        yield self._lags(worker)

    def _lags(self, worker: Worker) -> Metric:
        family = GaugeMetricFamily(
            "durable_queue_lag",
            "Entries of a queue that no worker has read yet. All workers of a queue tell the same: take the maximum.",
            labels=["queue"],
        )
        assert self._loop is not None
        asking = asyncio.run_coroutine_threadsafe(lags(worker), self._loop)
        try:
            found = asking.result(LAG_PATIENCE_S)
        except (TimeoutError, StoreUnavailable, ServerError):
            asking.cancel()
            return family
        for queue, lag in found.items():
            family.add_metric([queue], lag)
        return family


async def lags(worker: Worker) -> dict[str, int]:
    """How many entries of each queue nobody has read yet; without those of which the server cannot tell."""
    found: dict[str, int] = {}
    for lane in worker.gates.lanes:
        command = ("XINFO", "GROUPS", worker.store.keys.queue(lane))
        for group in await worker.store.caller.call(command, deadline_s=LAG_PATIENCE_S):
            facts = dict(zip(group[::2], group[1::2], strict=True))
            if facts.get(b"name") == b"workers" and isinstance(facts.get(b"lag"), int):
                found[queue_of(lane)] = found.get(queue_of(lane), 0) + facts[b"lag"]
    return found


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


class _Merged:
    """The metrics of several processes as one, told apart by the label `process`."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Any] = {}
        for number, text in sorted(self._texts.items()):
            for family in text_string_to_metric_families(text):
                known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    labels = {**sample.labels, "process": str(number)}
                    known.samples.append(sample._replace(labels=labels))
        yield from families.values()


def merge(texts: Mapping[int, str]) -> str:
    """One text of several; the keys are the numbers of the processes."""
    return generate_latest(_Merged(texts)).decode()
