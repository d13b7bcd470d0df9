"""How throughput grows with worker processes where there are cores for them, out of measured CPU per run.

A closed queue: so many runs are in flight, and each goes round client, server, worker, server, worker, server, client
(start; read and claim; step; commit; its end told). Every process has one thread, so it is a station that serves one
visit at a time, first come first served; a visit also needs one of the machine's cores, or waits for one. What a run
takes of each process in all is measured, and divided over its visits there; each visit's time varies as an exponential
does. The worker of a run is the one that has the fewest of them, as with workers that read when they have room.

What it does not know: that CPU per run falls as batches grow, which favours a busy server; that processes that share a
cache or a hyper-thread slow one another down; the network. So it is held against the rate that was measured, on as many
cores as this machine has, before it is asked about machines with more.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from random import Random

ROUTE = ("client", "server", "worker", "server", "worker", "server", "client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is simulated."""

    server_us: float
    worker_us: float
    client_us: float
    """CPU of one run in each kind of process."""
    workers: int
    cores: int
    clients: int = 1
    in_flight: int = 500


def rate(setting: Setting, runs: int = 20_000, seed: int = 1) -> float:
    """Runs per second, without the first tenth."""
    return Simulation(setting, Random(seed)).run(runs)


def limit(setting: Setting) -> float:
    """The most that there can be: the rate at which the first of server, workers, clients or cores is never idle."""
    total = setting.server_us + setting.worker_us + setting.client_us
    busiest = max(
        setting.server_us,
        setting.worker_us / setting.workers,
        setting.client_us / setting.clients,
        total / setting.cores,
    )
    return 1e6 / busiest


class Simulation:
    """One run of it. Times are in µs."""

    def __init__(self, setting: Setting, random: Random) -> None:
        self._setting = setting
        self._random = random
        visits = {role: ROUTE.count(role) for role in ROUTE}
        self._mean = {
            "server": setting.server_us / visits["server"],
            "worker": setting.worker_us / visits["worker"],
            "client": setting.client_us / visits["client"],
        }
        counts = {"server": 1, "worker": setting.workers, "client": setting.clients}
        self._queues: dict[tuple[str, int], deque[int]] = {
            (role, i): deque() for role, count in counts.items() for i in range(count)
        }
        self._busy: set[tuple[str, int]] = set()
        self._waiting_for_core: deque[tuple[str, int]] = deque()
        self._waits: set[tuple[str, int]] = set()
        self._free_cores = setting.cores
        self._held = [0] * setting.workers
        self._place = [0] * setting.in_flight
        self._worker = [0] * setting.in_flight
        self._events: list[tuple[float, int, tuple[str, int], int]] = []
        self._count = 0
        self._now = 0.0

    def run(self, runs: int) -> float:
        """Until so many runs have ended."""
        for token in range(self._setting.in_flight):
            self._arrive(token)
        done, begun_us, skipped = 0, 0.0, runs // 10
        while done < runs:
            self._now, _, station, token = heapq.heappop(self._events)
            self._busy.discard(station)
            self._free_cores += 1
            self._place[token] += 1
            if self._place[token] == len(ROUTE):
                self._place[token] = 0
                self._held[self._worker[token]] -= 1
                done += 1
                if done == skipped:
                    begun_us = self._now
            self._arrive(token)
            self._want(station)
            self._give_cores()
        return (runs - skipped) / (self._now - begun_us) * 1e6

    def _arrive(self, token: int) -> None:
        place = self._place[token]
        if place == 0:
            self._worker[token] = min(range(self._setting.workers), key=self._held.__getitem__)
            self._held[self._worker[token]] += 1
        role = ROUTE[place]
        number = {"server": 0, "worker": self._worker[token], "client": token % self._setting.clients}[role]
        self._queues[role, number].append(token)
        self._want((role, number))
        self._give_cores()

    def _want(self, station: tuple[str, int]) -> None:
        """A process that has something to do, and neither runs nor waits for a core, waits for one."""
        if self._queues[station] and station not in self._busy and station not in self._waits:
            self._waits.add(station)
            self._waiting_for_core.append(station)

    def _give_cores(self) -> None:
        while self._free_cores and self._waiting_for_core:
            station = self._waiting_for_core.popleft()
            self._waits.discard(station)
            self._free_cores -= 1
            self._busy.add(station)
            token = self._queues[station].popleft()
            took = self._random.expovariate(1 / self._mean[station[0]]) if self._mean[station[0]] else 0.0
            self._count += 1
            heapq.heappush(self._events, (self._now + took, self._count, station, token))
