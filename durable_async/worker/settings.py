"""How one worker is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from durable_async.checking import brief, check_label, check_queue
from durable_async.errors import ConfigurationError
from durable_async.worker.reaper import LONGEST_S

MOST = 1_000_000


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkerSettings:
    """How one worker is run."""

    queues: Sequence[str] = ("default",)
    concurrency: int = 100
    """Runs that may be active at once."""
    max_resident: int = 10_000
    """Parked runs kept in memory; 0 drops every run at each park, so that each await is a replay."""
    drain_timeout: float = 30.0
    """Seconds that running steps get when the worker leaves."""
    lease: float = 15.0
    """Seconds of silence after which the others take this worker's runs."""
    name: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.queues, str | bytes) or not isinstance(self.queues, Sequence):
            raise ConfigurationError(f"queues must be a sequence of names, not {type(self.queues).__name__}")
        if not self.queues:
            raise ConfigurationError("a worker needs at least one queue")
        for queue in self.queues:
            check_queue(queue)
        # One stream cannot be read twice by one command.
        object.__setattr__(self, "queues", tuple(dict.fromkeys(self.queues)))
        for what, number, least in (("concurrency", self.concurrency, 1), ("max_resident", self.max_resident, 0)):
            if type(number) is not int or not least <= number <= MOST:
                raise ConfigurationError(f"{what} must be a number from {least} to {MOST:,}, got {brief(number)}")
        for what, seconds in (("lease", self.lease), ("drain_timeout", self.drain_timeout)):
            if type(seconds) not in (int, float) or not 0 <= seconds <= LONGEST_S or (what == "lease" and not seconds):
                more = "more than 0" if what == "lease" else "0"
                raise ConfigurationError(f"{what} must be {more} to {LONGEST_S:,} seconds, got {brief(seconds)}")
        if self.name is not None:
            check_label(self.name, "worker name")
