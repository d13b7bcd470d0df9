"""What is measured: one class for each engine or queue, all with the interface of `System`.

A system is one file in `benchmarks/peers/`, whose module lists its classes in `SYSTEMS`. It starts everything it needs
(servers, one worker process), defines the same workflows as everybody else (`FLOWS`), and answers with awaitables. The
drivers in `benchmarks/drivers.py` do the rest, so what is done, counted and timed is the same code for all. A system
that needs something else for a case overrides `run_case`, and says in `notes` what and why. Redis and Valkey come from
`benchmarks/servers.py`, with one program and one set of settings for all. To try a file out:
`python -m benchmarks noop -n 500 --system NAME`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.bell import Bell

Figures = dict[str, Any]
"""What one measurement found: names and units are in `benchmarks/cases.py`."""

FLOWS = {
    "noop": "(i) one step that returns i; returns i",
    "steps10": "(i) ten such steps, one after the other; returns i",
    "parent": "(i) starts one child `noop`(i) and returns its result",
    "fanout": "(n) starts n children `noop`(0..n-1) at once, awaits all, returns how many; `mapped` is the same by map",
    "wait": "(k) waits for k events named `go`, one after the other, returns k; a run that does nothing else is parked",
    "timer": "(due) due is a Unix time in ms: sleeps durably until then, then rings the bell with `due`; returns due",
    "slow10": "(i) ten steps, one after the other, each of which sleeps 50 ms; returns i",
    "long": "(n) n steps as in `noop`, one after the other, waits for one event `go`, then one more step; returns n",
}
"""The workflows by name: one argument, an int. A step is whatever the system records so that it is not repeated.

A queue (`kind = "queue"`) has tasks and no steps: its `noop` is one task, and it offers only the cases that fit.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How all systems of a report are run."""

    fsync: Literal["everysec", "always"] = "everysec"
    """Of the append-only file, for systems on Redis or Valkey."""
    concurrency: int = 500
    """How many runs or steps one worker works on at once."""
    uvloop: bool = False
    """For worker and client, where the system leaves the choice."""


class System(ABC):
    """One engine or queue, with its servers and one worker process.

    Of one object `start` is called once, then any number of cases, then `stop`. All calls come from one asyncio loop,
    in a process of this system's own.
    """

    name: ClassVar[str]
    """As in `--systems` and in the report: lower case, words joined by `-`; variants of one engine are classes."""
    kind: ClassVar[Literal["durable", "queue", "floor"]] = "durable"
    """`queue`: a plain task queue. What it has done is not recorded step by step, and it is no durable engine."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions are reported; a system is left out where one of them is not installed."""
    cases: ClassVar[frozenset[str]] = frozenset({"noop", "latency", "start_only"})
    """Names in `benchmarks.cases.CASES`."""
    notes: ClassVar[str] = ""
    """Settings that were chosen and why; what is measured in another way; one or two sentences for the report."""
    completion: ClassVar[Literal["result", "bell"]] = "result"
    """How throughput and latency see that a run is done. `bell` is for a `result()` that polls slowly: the last act of
    `noop`, `steps10` and `parent` (of the parent, after its child) rings the bell with i, which is a little *before*
    the run is recorded as done. It favours the peer."""

    def __init__(self, options: Options, bell: Bell) -> None:
        self.options = options
        self.bell = bell
        """Open; its `path` is for the environment variable `benchmarks.bell.VARIABLE` of the worker process."""

    @classmethod
    def missing(cls) -> str:
        """Why this cannot run here, in a few words; empty if it can. Override to look for servers, too."""
        return next((f"{name} is not installed" for name in cls.packages if not _version(name)), "")

    def versions(self) -> dict[str, str]:
        """What was measured, by name: the packages; override to add the servers (called after `start`)."""
        return {name: _version(name) for name in self.packages}

    @property
    @abstractmethod
    def durability(self) -> str:
        """One line: what is on the disk when a call returns, e.g. "AOF, synced every second"."""

    @abstractmethod
    async def start(self, workdir: Path) -> None:
        """Starts servers, the worker process and the client, and returns when the worker takes work.

        Args:
            workdir: an empty folder, for data and logs; removed after `stop`.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Ends everything that `start` started, by process id; also after a `start` that failed in the middle."""

    @abstractmethod
    def processes(self) -> dict[str, list[int]]:
        """Process ids by role: `server`, `worker`, `client`. Of each its whole tree is counted, but of this process
        (`os.getpid()`) itself alone. Where one process is several, the role is e.g. `worker+client`."""

    @abstractmethod
    async def start_run(self, flow: str, arg: int) -> Any:
        """Starts a run and returns a handle as soon as it is accepted durably. Several calls may be outstanding."""

    @abstractmethod
    async def result(self, handle: Any) -> Any:
        """The result of a run, as soon as the system can tell; raises if it failed."""

    async def send_event(self, handle: Any, payload: int) -> None:
        """Sends the event `go` to a run, and returns when it is accepted durably. For events, woken, replay, mixed."""
        raise NotImplementedError

    async def until_parked(self, handles: Sequence[Any]) -> None:
        """Returns when all of these runs of `wait` or `long` wait for an event. For parked, events, woken, replay."""
        raise NotImplementedError

    async def kill_worker(self) -> None:
        """`kill -9` of the worker process. For recover."""
        raise NotImplementedError

    async def start_worker(self) -> None:
        """Starts a worker process again, and returns when it takes work. For recover and replay."""
        raise NotImplementedError

    async def stop_worker(self) -> None:
        """Lets the worker process leave in good order. For replay."""
        raise NotImplementedError

    def server_bytes(self) -> int:
        """Memory, or disk, that the data takes in the server. For parked; 0 if that cannot be told."""
        return 0

    async def run_case(self, case: str, n: int, in_flight: int) -> Figures:
        """Measures one case once.

        Args:
            case: one of `cases`. `woken` is answered by a run of `parked`, `append` by one of `replay`.
            n: how many runs, children, steps or events; what it is depends on the case.
            in_flight: how many of them the client keeps going at once, where the case has many.
        """
        from benchmarks.cases import driver_of
        from benchmarks.drivers import DRIVERS

        return await DRIVERS[driver_of(case)](self, n, in_flight)


def client_process() -> list[int]:
    """This process, for `processes`."""
    return [os.getpid()]


def load_systems() -> tuple[dict[str, type[System]], dict[str, str]]:
    """All systems by name, ours first; and why others cannot run here, by the name of their module or their own."""
    from benchmarks import peers

    found: dict[str, type[System]] = {}
    absent: dict[str, str] = {}
    for module in sorted((m.name for m in pkgutil.iter_modules(peers.__path__)), key=lambda m: (m != "ours", m)):
        try:
            reasons = {cls: cls.missing() for cls in importlib.import_module(f"benchmarks.peers.{module}").SYSTEMS}
        except Exception as error:  # noqa: BLE001 - whatever is the matter with a peer, the others are measured
            absent[module] = str(error)
            continue
        absent |= {cls.name: why for cls, why in reasons.items() if why}
        found |= {cls.name: cls for cls, why in reasons.items() if not why}
    return found, absent


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
