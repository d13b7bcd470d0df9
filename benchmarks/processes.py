"""CPU and memory of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import clock_gettime

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds of processes so far: of their trees, children that have ended included.

    Of this process itself alone: what it has started is counted under its own role.
    """
    return sum(own_cpu_s(pid) if pid == os.getpid() else _tree_cpu_s(pid) for pid in pids)


def own_cpu_s(pid: int) -> float:
    """Of one process, without children; 0 once it has ended."""
    with suppress(OSError):
        # The CPU-time clock of another process, as clock_getcpuclockid(3) makes it; /proc has ticks of 10 ms.
        return clock_gettime((~pid << 3) | 2)
    return 0.0


def rss_kib(pids: Iterable[int]) -> int:
    """Resident memory of the trees of processes; pages that several of them share count several times."""
    return sum(_status(each, "VmRSS") for pid in pids for each in tree(pid))


def peak_kib(pids: Iterable[int]) -> int:
    """The same at its largest."""
    return sum(_status(each, "VmHWM") for pid in pids for each in tree(pid))


def forget_peak(pids: Iterable[int]) -> None:
    """Lets the peak begin anew from what is resident now."""
    for pid in pids:
        for each in tree(pid):
            with suppress(OSError):
                Path(f"/proc/{each}/clear_refs").write_text("5")


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it; of this process itself alone."""
    yield pid
    if pid == os.getpid():
        return
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from tree(int(child))


def _tree_cpu_s(pid: int) -> float:
    return sum(own_cpu_s(each) + _ended_children_s(each) for each in tree(pid))


def _ended_children_s(pid: int) -> float:
    """Of children that have ended and were waited for."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / TICKS
    return 0.0


def _status(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
