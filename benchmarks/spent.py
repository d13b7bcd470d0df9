"""What the server spends its time on: its CPU per run, split by what it did, out of `INFO commandstats`.

The server times each command by the clock, and those within a script also by themselves. So of its CPU: what commands
within scripts took, by command; what scripts took beside them, which is Lua and the way between the two; what commands
outside of scripts took; and the rest, which no command is charged with: the protocol, the append-only file, the event
loop, system calls. Timing has a price of its own, some tens of nanoseconds a command, which is in it. On a busy machine
the clock runs while the server waits for its core: the rest is then too small, or negative, and the split worth little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCRIPTS = ("evalsha", "eval", "fcall")
OUTSIDE = ("xreadgroup", "xack", "xdel", "xread", "hello", "client", "info", "config", "script", "multi", "exec")
"""Commands that our clients and workers send by themselves; scripts use others, or hardly these."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU of the server in µs per run."""

    scripts_us: float
    """Lua, and the way between it and commands."""
    inside_us: dict[str, float]
    outside_us: dict[str, float]
    rest_us: float
    calls: dict[str, float]
    """How often per run."""


def spent(stats: Mapping[str, Mapping[str, float]], cpu_us: float, runs: int) -> Spent:
    """Out of `INFO commandstats` since `CONFIG RESETSTAT`, as redis-py parses it, and the CPU in the meantime."""
    took = {name.removeprefix("cmdstat_"): float(each["usec"]) / runs for name, each in stats.items()}
    calls = {name.removeprefix("cmdstat_"): round(float(each["calls"]) / runs, 3) for name, each in stats.items()}
    scripts = sum(took.get(name, 0.0) for name in SCRIPTS)
    outside = {name: us for name, us in took.items() if name.split("|")[0] in OUTSIDE}
    inside = {name: us for name, us in took.items() if name not in outside and name not in SCRIPTS}
    return Spent(
        scripts_us=scripts - sum(inside.values()),
        inside_us=dict(sorted(inside.items(), key=lambda item: -item[1])),
        outside_us=dict(sorted(outside.items(), key=lambda item: -item[1])),
        rest_us=cpu_us - scripts - sum(outside.values()),
        calls=calls,
    )
