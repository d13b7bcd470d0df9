"""The part of a `Durable` that runs workers, in any process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from durable_async.client.base import Base
from durable_async.client.running import Stop, entered, serve, watched
from durable_async.errors import ConfigurationError
from durable_async.worker.scheduler import scheduled
from durable_async.worker.settings import WorkerSettings
from durable_async.worker.worker import Worker


class Serving(Base):
    """Workers of one namespace."""

    def make_worker(self, settings: WorkerSettings) -> Worker:
        """A worker of this namespace, not yet started. The embedding `worker()` is what applications want."""
        if not self._workflows:
            raise ConfigurationError("no workflow is registered: pass Durable(workflows=[...])")
        session = self._session
        return Worker(
            session.spec,
            session.keys,
            self._specs(),
            settings,
            codec=self.codec,
            limits=self.limits,
            schedules=scheduled(self._workflows.values(), self._retention_ms),
        )

    def worker_settings(self, **given: Any) -> WorkerSettings:
        """Worker settings from the arguments that are not None, then the environment, then the defaults."""
        env = self.settings
        chosen: dict[str, Any] = {
            "queues": env.queues,
            "concurrency": env.concurrency,
            "max_resident": env.max_resident,
            "drain_timeout": env.drain_timeout,
            "lease": env.lease,
        }
        chosen.update({k: v for k, v in given.items() if v is not None})
        if isinstance(chosen["queues"], str):
            chosen["queues"] = (chosen["queues"],)
        return WorkerSettings(**{k: v for k, v in chosen.items() if v is not None})

    @asynccontextmanager
    async def worker(
        self,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        *,
        max_resident: int | None = None,
        drain_timeout: float | None = None,
        lease: float | None = None,
        name: str | None = None,
    ) -> AsyncIterator[Worker]:
        """A worker in this process; leaving the context drains it.

        If one of its loops dies, which only a bug can bring about, the context's body is cancelled and the error is
        raised at its end, as a `TaskGroup` does with its tasks.

        Args:
            queues: what it serves; by default `("default",)`.
            concurrency: runs that may be active at once; by default 100.
            max_resident: parked runs kept in memory; by default 10,000. 0 makes every await a replay.
            drain_timeout: seconds that running steps get at the end; by default 30.
            lease: seconds of silence after which other workers take over; by default 15.
            name: shown by `workers()`.

        Raises:
            ConfigurationError: if a value makes no sense or no workflow is registered.
            StoreUnavailable, IncompatibleServer: if the store cannot be used.
        """
        settings = self.worker_settings(
            queues=queues,
            concurrency=concurrency,
            max_resident=max_resident,
            drain_timeout=drain_timeout,
            lease=lease,
            name=name,
        )
        async with self:
            worker = self.make_worker(settings)
            async with entered(self._worker_lifespan, self):
                await worker.start()
                try:
                    async with watched(worker):
                        yield worker
                finally:
                    await worker.stop()

    async def run_worker(
        self,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        *,
        max_resident: int | None = None,
        drain_timeout: float | None = None,
        lease: float | None = None,
        name: str | None = None,
        burst: bool = False,
    ) -> bool:
        """Runs a worker until this call is cancelled or, in the main thread, SIGTERM or SIGINT comes; then drains it.

        A second signal ends the process at once, with the exit code 128 + its number.

        Args:
            queues, concurrency, max_resident, drain_timeout, lease, name: as in `worker`.
            burst: leave, too, when nothing is runnable now: no run active, no entry queued, no timer due.

        Returns: whether the drain was clean: every running step ended within `drain_timeout`.

        Raises:
            ConfigurationError: if a value makes no sense or no workflow is registered.
            StoreUnavailable, IncompatibleServer: if the store cannot be used at the start.
        """
        settings = self.worker_settings(
            queues=queues,
            concurrency=concurrency,
            max_resident=max_resident,
            drain_timeout=drain_timeout,
            lease=lease,
            name=name,
        )
        with Stop() as stop:
            return await serve(self, settings, stop, lifespan=self._worker_lifespan, burst=burst)

    def lifespan(self, worker: bool = False, **options: Any) -> Any:
        """For ``FastAPI(lifespan=durable.lifespan())``: opens the client with the application; `worker=True` also runs
        a worker in its process, which is for development."""

        @asynccontextmanager
        async def span(app: Any) -> AsyncIterator[None]:
            async with self:
                if worker:
                    async with self.worker(**options):
                        yield
                else:
                    yield

        return span
