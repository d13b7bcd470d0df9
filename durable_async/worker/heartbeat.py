"""Shows that this worker lives: a counter, from a thread and a connection of its own.

Others judge it by their own clocks: a counter that stands still for a lease means a dead worker. This worker judges
itself first: after two thirds of a lease without a successful beat it starts no step, after a whole one it lets its
runs go. A thread, because an event loop blocked by user code must not look dead, and an idle one must not look blocked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from durable_async.errors import DurableError
from durable_async.store.beats import BeatConnection, BeatError
from durable_async.worker.background import place_of

log = logging.getLogger("durable_async.worker")


class Heartbeat:
    """The beating thread of one worker.

    Args:
        connect: makes the thread's own connection.
        worker_id: whose counter.
        describe: what `Durable.workers()` shows, as bytes.
        lease_s: seconds after which the others give a silent worker up.
    """

    def __init__(
        self,
        connect: Callable[[], BeatConnection],
        worker_id: str,
        describe: Callable[[], bytes],
        lease_s: float,
    ) -> None:
        self._connect = connect
        self._worker_id = worker_id
        self._describe = describe
        self._lease_s = lease_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-heartbeat", daemon=True)
        self._last_sent = monotonic()
        self.has_failed = False
        """Whether the last beat did: the store cannot be reached, or refuses writes."""

    def start(self) -> None:
        """Starts the thread; the first beat has been made by `beat_once`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; does not wait for a beat under way."""
        self._stop.set()

    def join(self) -> None:
        """Waits until the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(timeout=self._lease_s)

    @property
    def age_s(self) -> float:
        """Seconds since the sending of the last beat that succeeded."""
        return monotonic() - self._last_sent

    def may_launch(self) -> bool:
        """Whether it is safe to start steps: the others cannot have given this worker up yet."""
        return self.age_s < self._lease_s * 2 / 3

    @property
    def is_lost(self) -> bool:
        """Whether the others may have given this worker up."""
        return self.age_s >= self._lease_s

    def _run(self) -> None:
        interval = self._lease_s / 5
        connection: BeatConnection | None = None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = self._connect()
                sent = monotonic()
                connection.beat(self._worker_id, self._describe())
                self._last_sent = sent
                self.has_failed = False
            except (BeatError, DurableError) as error:
                self.has_failed = True
                log.warning("a heartbeat failed: %s", error)
                if connection is not None:
                    connection.close()
                    connection = None
            except Exception as error:  # noqa: BLE001  # a thread that died here would take the worker's runs with it
                self.has_failed = True
                log.error("a heartbeat failed: %s%s", type(error).__name__, place_of(error))
            self._stop.wait(interval)
        if connection is not None:
            connection.close()
