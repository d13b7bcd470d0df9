"""The floor with its back covered: the same writes, each behind the one check without which a retry or a dead owner
would harm it, in one script a transition.

What `floor` leaves out and no engine can: a start that is sent twice must not start twice, so it looks whether the run
is there; a take gives it an owner and a number; a record and an end are refused if the owner or the number is another;
a message wakes who waits, and nobody else. A script a transition is the least for that, since nothing must come between
look and write. The scripts are as short as they can be: two or three commands, no tables, no time, no codec. What lies
between this and the floor is the price of atomicity on this server; what lies between this and an engine is its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.peers.floor import Batch, Floor, Script

START = """
if redis.call('HEXISTS', KEYS[1], 's') == 1 then return 0 end
redis.call('HSET', KEYS[1], 's', 'q', 'i', ARGV[2])
redis.call('XADD', KEYS[2], ARGV[3], 'r', ARGV[1], 'i', ARGV[2])
return 1
"""
TAKE = """
local replies = {}
for i = 1, #KEYS do
  local f = redis.call('HMGET', KEYS[i], 's', 'n')
  if f[1] == 'q' then
    redis.call('HSET', KEYS[i], 's', 'r', 'w', ARGV[1], 'n', (tonumber(f[2]) or 0) + 1)
    replies[i] = 1
  else
    replies[i] = 0
  end
end
return replies
"""
RECORD = """
local f = redis.call('HMGET', KEYS[1], 'w', 'n')
if f[1] ~= ARGV[1] or f[2] ~= ARGV[2] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1
"""
END = """
local f = redis.call('HMGET', KEYS[1], 'w', 'n')
if f[1] ~= ARGV[1] or f[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 's', 'c', 'o', ARGV[3])
if KEYS[2] then redis.call('RPUSH', KEYS[2], ARGV[4]) end
return 1
"""
WAKE = """
if redis.call('HGET', KEYS[1], 's') == 'c' then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 's', 'q')
redis.call('XADD', KEYS[3], ARGV[2], 'r', ARGV[3])
return 1
"""
SCRIPTS = (START, TAKE, RECORD, END, WAKE)
SHA = {text: hashlib.sha1(text.encode()).hexdigest() for text in SCRIPTS}


class FencedScript(Script):
    """The phases, by script."""

    def __init__(self) -> None:
        super().__init__()
        self._ready: list[str] = []
        self._number: dict[str, int] = {}
        """How often each run was taken."""

    def start(self, runs: Sequence[str], *, told: Iterable[bytes] = ()) -> None:
        def fill(batch: Batch) -> None:
            for line in told:
                batch.add("RPUSH", "journal", line)
            for run in runs:
                batch.add("EVALSHA", SHA[START], 2, run, "queue", run, b"\x01", self._next())

        self.phase(fill)
        self._ready = list(runs)

    def wake(self, runs: Sequence[str], first: Callable[[Batch, str], None]) -> None:
        del first

        def fill(batch: Batch) -> None:
            for run in runs:
                batch.add("EVALSHA", SHA[WAKE], 3, run, f"j{run}", "queue", b"M1 an event", self._next(), run)

        self.phase(fill)
        self._ready = list(runs)

    def take(self, count: int) -> None:
        super().take(count)
        taken = self._ready
        for run in taken:
            self._number[run] = self._number.get(run, 0) + 1
        self.phase(lambda batch: batch.add("EVALSHA", SHA[TAKE], len(taken), *taken, "w"))

    def record(self, runs: Sequence[str]) -> None:
        line = b"R1795415000000 an outcome of a step"
        self.each(
            runs,
            lambda batch, run: batch.add("EVALSHA", SHA[RECORD], 2, run, f"j{run}", "w", self._number[run], line),
        )

    def end(self, runs: Sequence[str], *, is_told: bool = True) -> None:
        def fill(batch: Batch) -> None:
            for run in runs:
                keys = (run, "client") if is_told else (run,)
                told = (run.encode() + b"\x01",) if is_told else ()
                batch.add("EVALSHA", SHA[END], len(keys), *keys, "w", self._number[run], b"\x01", *told)

        self.phase(fill)
        self.ack(len(runs))
        if is_told:
            self.phase(lambda batch: batch.add("LPOP", "client", len(runs)))


class FloorFenced(Floor):
    """The raw writes behind their checks."""

    name = "floor-fenced"
    cases = frozenset({"noop", "steps10", "call_child", "fanout", "map", "mixed", "start_only", "events"})
    script = FencedScript

    async def start(self, workdir: Path) -> None:
        await super().start(workdir)
        for text in SCRIPTS:
            self._call("SCRIPT", "LOAD", text)


SYSTEMS = [FloorFenced]
