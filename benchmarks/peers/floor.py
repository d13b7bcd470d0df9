"""The floor: the least that any durable engine must do on this server, written raw and pipelined from one process.

It is no engine: nothing is fenced, checked or retried, nobody parks, and no code of anybody runs. What it does is what
cannot be left out by an engine whose client, worker and store are three parties, and which says "started", "recorded"
and "done" only when it is so. Of each run:

start   the run is known by its id: `HSET run s q i INPUT`; and is in a queue: `XADD queue ID r RUN i INPUT`
take    a worker has it, and if that dies it is known to have had it: `XREADGROUP`, one for each batch
record  the outcome of a step that is not the last, or an event: `RPUSH journal LINE`
end     the outcome of the last step and the result are one write: `HSET run s c o OUTPUT`
ack     nobody has to take it any more: `XACK` and `XDEL`, one of each for each batch
tell    the client that waits is told: `RPUSH client RUN+OUTPUT`; and reads it: `LPOP client`, one for each batch

So a `noop` is start, take, end, ack, tell: four commands and its share of four others. `steps10` has nine records more.
A parent is a run whose child's creation and end are records, which wakes it (another entry, take and ack); the child is
start, take, end, ack. An event is a record and an entry. A timer is a `ZADD`, and a `ZREM` for each batch. What waits
is the hash alone. `append` is one round trip a step, since the next step must not start before the last one is
recorded; `replay` is one `LRANGE`. `latency` is three hops, each between two connections: the client's start, the
worker's blocked read, its end, the client's blocked read. The batch is what is in flight; ids have the size of ours.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Literal

import hiredis

from benchmarks.bell import Bell
from benchmarks.cases import driver_of
from benchmarks.drivers import EVENTS_EACH, MIXED, Meter, quantiles
from benchmarks.servers import DURABILITY, redis_server, server_version, used_memory
from benchmarks.systems import Figures, Options, System, client_process

_LINE = b"R1795415000000 \x93\x01\x02\x03 an outcome of a step"
_INPUT = b"\x01"


def pack(*words: bytes | str | int) -> bytes:
    """One command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub wants tuples of one
    return packed


class Wire:
    """One connection, on which commands leave in one write and replies are read until all are there."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._reader = hiredis.Reader()

    def send(self, packed: bytes) -> None:
        self._socket.sendall(packed)

    def read(self, replies: int) -> Any:
        """The last of so many replies."""
        reply: Any = None
        for _ in range(replies):
            while (reply := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(1 << 16))
            if isinstance(reply, Exception):
                raise reply
        return reply

    def close(self) -> None:
        self._socket.close()


class Batch:
    """Commands of one phase of many runs, packed before the clock starts."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, *words: bytes | str | int) -> None:
        self._parts.append(pack(*words))

    def packed(self) -> tuple[bytes, int]:
        return b"".join(self._parts), len(self._parts)


def record(batch: Batch, run: str) -> None:
    """What has happened to a run."""
    batch.add("RPUSH", f"j{run}", _LINE)


class Script:
    """The phases of all batches, in order; each is sent as one write and its replies awaited."""

    def __init__(self) -> None:
        self.phases: list[tuple[bytes, int]] = []
        self._entry = 0
        self._runs = 0

    def ids(self, count: int) -> list[str]:
        """Names of further runs, as long as ours."""
        self._runs += count
        return [f"run:{i:032x}" for i in range(self._runs - count, self._runs)]

    def phase(self, fill: Callable[[Batch], None]) -> None:
        batch = Batch()
        fill(batch)
        self.phases.append(batch.packed())

    def start(self, runs: Sequence[str], *, told: Iterable[bytes] = ()) -> None:
        """They are known, and in the queue; `told` is what a parent's journal says of it."""

        def fill(batch: Batch) -> None:
            for line in told:
                batch.add("RPUSH", "journal", line)
            for run in runs:
                batch.add("HSET", run, "s", "q", "i", _INPUT)
                batch.add("XADD", "queue", self._next(), "r", run, "i", _INPUT)

        self.phase(fill)

    def wake(self, runs: Sequence[str], first: Callable[[Batch, str], None]) -> None:
        """Each has something happen to it, and is in the queue because of it."""

        def fill(batch: Batch) -> None:
            for run in runs:
                first(batch, run)
                batch.add("XADD", "queue", self._next(), "r", run)

        self.phase(fill)

    def take(self, count: int) -> None:
        self.phase(lambda batch: batch.add("XREADGROUP", "GROUP", "g", "w", "COUNT", count, "STREAMS", "queue", ">"))

    def record(self, runs: Sequence[str]) -> None:
        self.each(runs, record)

    def each(self, runs: Sequence[str], add: Callable[[Batch, str], None]) -> None:
        """One phase in which each of them has it added."""

        def fill(batch: Batch) -> None:
            for run in runs:
                add(batch, run)

        self.phase(fill)

    def end(self, runs: Sequence[str], *, is_told: bool = True) -> None:
        """They have ended, the entries that were taken last are acked, and who waits is told."""

        def fill(batch: Batch) -> None:
            for run in runs:
                batch.add("HSET", run, "s", "c", "o", _INPUT)
                if is_told:
                    batch.add("RPUSH", "client", run.encode() + _INPUT)

        self.phase(fill)
        self.ack(len(runs))
        if is_told:
            self.phase(lambda batch: batch.add("LPOP", "client", len(runs)))

    def ack(self, count: int) -> None:
        entries = [f"{i}-1" for i in range(self._entry - count + 1, self._entry + 1)]

        def fill(batch: Batch) -> None:
            batch.add("XACK", "queue", "g", *entries)
            batch.add("XDEL", "queue", *entries)

        self.phase(fill)

    def _next(self) -> str:
        self._entry += 1
        return f"{self._entry}-1"


def _noop(script: Script, count: int) -> None:
    _steps(script, count, 1)


def _steps(script: Script, count: int, steps: int) -> None:
    runs = script.ids(count)
    script.start(runs)
    script.take(count)
    for _ in range(steps - 1):
        script.record(runs)
    script.end(runs)


def _parent(script: Script, count: int) -> None:
    parents = script.ids(count)
    script.start(parents)
    script.take(count)
    script.ack(count)
    script.record(parents)
    children = script.ids(count)
    script.start(children)
    script.take(count)
    script.end(children, is_told=False)
    script.wake(parents, record)
    script.take(count)
    script.end(parents)


def _children(script: Script, count: int) -> None:
    children = script.ids(count)
    script.start(children, told=[_LINE] * count)
    script.take(count)
    script.end(children, is_told=False)
    script.each(children, lambda batch, run: batch.add("RPUSH", "journal", _LINE))


def _starts(script: Script, count: int) -> None:
    script.start(script.ids(count))


def _events(script: Script, count: int) -> None:
    runs = script.ids(max(1, count // EVENTS_EACH))
    for i in range(EVENTS_EACH):
        script.wake(runs, record)
        script.take(len(runs))
        if i < EVENTS_EACH - 1:
            script.ack(len(runs))
    script.end(runs)


def _woken(script: Script, count: int) -> None:
    runs = script.ids(count)
    script.wake(runs, record)
    script.take(count)
    script.end(runs)


def _timers(script: Script, count: int) -> None:
    runs = script.ids(count)
    script.start(runs)
    script.take(count)
    script.ack(count)
    script.each(runs, lambda batch, run: batch.add("ZADD", "timers", 1, run))
    script.phase(lambda batch: batch.add("ZREM", "timers", *runs))
    script.wake(runs, lambda batch, run: None)
    script.take(count)
    script.end(runs)


def _mixed(script: Script, count: int) -> None:
    tenth = max(1, count // len(MIXED))
    for flow in MIXED:
        {"noop": _noop, "steps10": lambda s, n: _steps(s, n, 10), "parent": _parent, "wait": _waits}[flow](
            script, tenth
        )


def _waits(script: Script, count: int) -> None:
    runs = script.ids(count)
    script.start(runs)
    script.take(count)
    script.ack(count)
    script.wake(runs, record)
    script.take(count)
    script.end(runs)


_SCRIPTS: dict[str, Callable[[Script, int], None]] = {
    "noop": _noop,
    "steps10": lambda script, count: _steps(script, count, 10),
    "call_child": _parent,
    "fanout": _children,
    "map": _children,
    "start_only": _starts,
    "events": _events,
    "timers": _timers,
    "mixed": _mixed,
}


class Floor(System):
    """The raw writes."""

    name = "floor"
    kind = "floor"
    packages = ("hiredis",)
    cases = frozenset(
        {
            *("noop", "steps10", "call_child", "fanout", "map", "mixed", "start_only", "events", "timers", "parked"),
            *("woken", "latency", "child_latency", "append", "replay"),
        }
    )
    fsync: ClassVar[Literal["everysec", "always"]] = "everysec"
    script: ClassVar[type[Script]] = Script

    def __init__(self, options: Options, bell: Bell) -> None:
        super().__init__(options, bell)
        self.server = redis_server(self.fsync)
        self._wires: list[Wire] = []

    @property
    def durability(self) -> str:
        return DURABILITY[self.fsync]

    def versions(self) -> dict[str, str]:
        return {**super().versions(), "server": server_version(self.server)}

    async def start(self, workdir: Path) -> None:
        self.server.start()
        self._wires = [Wire(self.server.url.removeprefix("unix://")) for _ in range(3)]
        self._call("XGROUP", "CREATE", "queue", "g", "$", "MKSTREAM")

    async def stop(self) -> None:
        for wire in self._wires:
            wire.close()
        self.server.stop()

    def processes(self) -> dict[str, list[int]]:
        return {"server": [self.server.pid], "client": client_process()}

    async def start_run(self, flow: str, arg: int) -> Any:
        raise NotImplementedError

    async def result(self, handle: Any) -> Any:
        raise NotImplementedError

    async def run_case(self, case: str, n: int, in_flight: int) -> Figures:
        driver = driver_of(case)
        for key in ("FLUSHALL", "XGROUP CREATE queue g $ MKSTREAM"):
            self._call(*key.split())
        special = {"parked": self._parked, "latency": self._latency, "replay": self._replay}
        if driver in special:
            return special[driver](n, in_flight)
        if driver == "child_latency":
            return self._latency(n, in_flight, hops=4)
        return self._play(_SCRIPTS[driver], n, in_flight)

    def _call(self, *words: bytes | str | int) -> Any:
        self._wires[0].send(pack(*words))
        return self._wires[0].read(1)

    def _play(self, fill: Callable[[Script, int], None], n: int, in_flight: int) -> Figures:
        script = self.script()
        done = 0
        while done < n:
            count = min(in_flight, n - done)
            fill(script, count)
            done += count
        meter, wire = Meter(self), self._wires[0]
        for packed, replies in script.phases:
            wire.send(packed)
            wire.read(replies)
        return meter.figures(n)

    def _parked(self, n: int, in_flight: int) -> Figures:
        before = used_memory(self.server)
        names = Script().ids(n)
        for run in names:
            self._call("HSET", run, "s", "p", "i", _INPUT)
        memory = round((used_memory(self.server) - before) / 1024 / n, 3)
        return {"worker_kib": 0.0, "server_kib": memory, "wake": self._play(_woken, n, in_flight)}

    def _latency(self, n: int, in_flight: int, hops: int = 2) -> Figures:
        """The hops: to a blocked worker and back to a blocked client; with a child twice to a worker more."""
        del in_flight
        client, worker, ear = self._wires
        times = []
        for i in range(n):
            ear.send(pack("BLPOP", "client", 0))
            started = perf_counter()
            for hop in range(hops - 1):
                worker.send(pack("XREADGROUP", "GROUP", "g", "w", "COUNT", 1, "BLOCK", 0, "STREAMS", "queue", ">"))
                run = f"run:{i:030x}:{hop}"
                sender = client if hop == 0 else self._wires[0]
                sender.send(pack("HSET", run, "s", "q", "i", _INPUT) + pack("XADD", "queue", "*", "r", run))
                sender.read(2)
                worker.read(1)
            worker.send(pack("HSET", run, "s", "c", "o", _INPUT) + pack("RPUSH", "client", run))
            worker.read(2)
            ear.read(1)
            times.append((perf_counter() - started) * 1000)
        return quantiles(times)

    def _replay(self, n: int, in_flight: int) -> Figures:
        del in_flight
        meter = Meter(self)
        for _ in range(n):
            self._call("RPUSH", "journal", _LINE)
        append = meter.figures(n)
        meter = Meter(self)
        self._call("LRANGE", "journal", 0, -1)
        found = meter.figures(n)
        return {"replay_ms": round(found["seconds"] * 1000, 2), "cpu_us": found["cpu_us"], "append": append}


class FloorAlways(Floor):
    """The same, each write synced."""

    name = "floor-always"
    fsync = "always"


SYSTEMS = [Floor, FloorAlways]
