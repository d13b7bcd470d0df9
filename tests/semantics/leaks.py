"""One look at everything a namespace holds, at one moment, and what must be true of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from durable_async.engine.records import LETTERS
from durable_async.store.keys import Keys

TERMINAL = frozenset(LETTERS.values())

# One script: what it sees is one moment, so a run between two streams is never missed.
LOOK = """
local base, n = ARGV[1], #ARGV[1]
local t = redis.call('TIME')
local out = { now = t[1] * 1000 + math.floor(t[2] / 1000), keys = {}, runs = {}, streams = {}, inboxes = {} }
out.rooms, out.slots, out.tally = {}, {}, {}
for _, key in ipairs(redis.call('KEYS', base .. '*')) do
  local name = string.sub(key, n + 1)
  out.keys[name] = redis.call('PTTL', key)
  local kind, id = string.match(name, '^(%a+):(.*)$')
  if kind == 'run' then
    local f = redis.call('HMGET', key, 'status', 'entry', 'owner', 'queue', 'mail', 'taken', 'claims', 'waiting',
      'epoch', 'key')
    local run = {}
    for i = 1, 9 do run[i] = f[i] or '' end
    local queue, mark = string.match(run[4], '^[^:]*'), f[10] or ''
    local found = 0
    local function find(stream, entry)
      found = found + #redis.call('XRANGE', base .. stream, string.sub(entry, 2), string.sub(entry, 2))
    end
    local slot = redis.call('HGET', base .. 'slots:' .. queue, id)
    local let_in, counted = slot and string.match(slot, '^[^\\n]*'), slot and 1 or 0
    if string.sub(run[2], 1, 1) == 'G' then
      -- In the room of its queue, behind another one of its key, or let in and not taken up.
      if let_in then find('queue:' .. queue, let_in) end
      if redis.call('ZSCORE', base .. 'room:' .. queue, id .. '\\n' .. mark) then found, counted = found + 1, 1 end
      local score = string.match(run[2], '%-(%d+)$')
      if redis.call('ZSCORE', base .. 'behind:' .. queue, mark .. '\\0' .. score .. id) then found = found + 1 end
    elseif string.sub(run[2], 1, 1) == 'W' then
      find('worker:' .. run[3], run[2])
    elseif run[2] ~= '' then
      find('queue:' .. run[4], run[2])
      if run[4] ~= queue then find('queue:' .. queue, run[2]) end
    end
    run[10] = found
    if mark ~= '' and counted > 0 then
      local counts = out.rooms[queue] or {}
      counts[mark], out.rooms[queue] = (counts[mark] or 0) + 1, counts
    end
    out.runs[id] = run
  elseif kind == 'slots' or kind == 'tally' then
    out[kind][id] = redis.call('HGETALL', key)
  elseif kind == 'inbox' then
    out.inboxes[id] = redis.call('LLEN', key)
  elseif kind == 'queue' or kind == 'worker' then
    local pending = 0
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      for i = 1, #group, 2 do
        if group[i] == 'pending' then pending = pending + group[i + 1] end
      end
    end
    out.streams[name] = { redis.call('XLEN', key), pending }
  end
end
out.timers = redis.call('ZRANGE', base .. 'timers', 0, -1, 'WITHSCORES')
out.walks = redis.call('HKEYS', base .. 'walks')
out.questions = redis.call('HKEYS', base .. 'questions')
out.inputs = redis.call('ZRANGE', base .. 'inputs', 0, -1)
return cjson.encode(out)
"""


@dataclass(frozen=True)
class Look:
    """A namespace at one moment; names are those of `Keys` without the base."""

    now_ms: int
    keys: dict[str, int]
    """Time to live in ms of every key; -1 if it has none."""
    runs: dict[str, Any]
    """status, entry, owner, queue, mail, taken, claims, waiting, epoch, whether the entry is in its stream."""
    streams: dict[str, tuple[int, int]]
    """Length and pending entries of each queue's and worker's stream."""
    inboxes: dict[str, int]
    slots: dict[str, dict[str, str]]
    """Of each limited queue: who has a place, under which entry."""
    tally: dict[str, dict[str, str]]
    rooms: dict[str, dict[str, int]]
    """How many runs of each key have a place or wait for it, as the store has counted them, and as they are."""
    timers: dict[str, float]
    walks: list[str]
    questions: list[str]
    """Of open questions, run id and name."""
    inputs: list[str]
    """The same, from the other key."""

    def active(self) -> dict[str, str]:
        """The runs that are not terminal, and what each does."""
        return {id: f"{f[0]} ({f[7]})" if f[7] else f[0] for id, f in self.runs.items() if f[0] not in TERMINAL}

    def is_quiet(self, queues: frozenset[str] | None = None) -> bool:
        """Nothing can be done now by workers that serve these queues (all, by default)."""
        lengths = [
            sum(length)
            for name, length in self.streams.items()
            if name.startswith("worker:") or queues is None or name.split(":")[1] in queues
        ]
        return not any(lengths) and not self.walks and not any(due <= self.now_ms for due in self.timers.values())

    def broken(self) -> list[str]:
        """Invariants that hold at every moment, and do not."""
        found = []
        for id, (status, entry, _, _, _, _, _, _, _, is_there) in self.runs.items():
            if status in ("ready", "running") and not (entry and is_there):
                found.append(f"run {id} is {status} without the entry it names ({entry or 'none'})")
            if status not in ("ready", "running") and entry:
                found.append(f"run {id} is {status} and names the entry {entry}")
            if status == "parked" and self.inboxes.get(id):
                found.append(f"run {id} is parked with {self.inboxes[id]} messages in its inbox")
            if status in TERMINAL and id in self.inboxes:
                found.append(f"run {id} is {status} and has an inbox")
        if sorted(self.questions) != sorted(self.inputs):
            found.append(f"questions {self.questions} are not the inputs {self.inputs}")
        for question in self.questions:
            asker = self.runs.get(question.partition("\n")[0])
            if asker is None or asker[0] in TERMINAL:
                found.append(f"a question of {question!r} is open, and its run is over")
        return found + self._broken_rooms()

    def _broken_rooms(self) -> list[str]:
        found = []
        for queue, slots in self.slots.items():
            for id, slot in slots.items():
                status, entry = self.runs.get(id, ("gone", ""))[:2]
                if status not in ("ready", "running") or (entry[:1] != "G" and entry != slot.partition("\n")[0]):
                    found.append(f"run {id} is {status} under {entry} and has the place {slot!r} in queue {queue}")
        for queue in {*self.tally, *self.rooms}:
            counted = {key: int(n) for key, n in self.tally.get(queue, {}).items()}
            if counted != self.rooms.get(queue, {}):
                found.append(f"queue {queue} has counted {counted}, there are {self.rooms.get(queue)}")
        return found

    def left(self, keys: Keys, living: str = "") -> list[str]:
        """What must be gone once every run has ended and every worker has left, but for one that lives."""
        permanent = {name.removeprefix(keys.base) for name in keys.permanent()}
        found = [f"run {id} has not ended: {what}" for id, what in sorted(self.active().items())[:20]]
        found += self.broken()
        found += [f"stream {name} holds {length}" for name, length in self.streams.items() if any(length)]
        found += [f"timer {member}" for member in self.timers] + [f"walk {item}" for item in self.walks]
        for name, ttl in self.keys.items():
            stays = name in permanent or name.startswith(("queue:", "schedule:")) or name == f"worker:{living}"
            if ttl < 0 and not stays:
                found.append(f"key {name} stays for ever")
        return found


def pairwise_of(flat: list[str]) -> list[tuple[str, str]]:
    """Names and values that come in turn."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def parse_look(answer: str) -> Look:
    """What `LOOK` answered."""
    out = json.loads(answer)
    for name in ("keys", "runs", "streams", "inboxes"):
        out[name] = dict(out[name])
    for name in ("slots", "tally"):
        out[name] = {queue: dict(pairwise_of(flat)) for queue, flat in dict(out[name]).items()}
    timers = out["timers"] or []
    return Look(
        now_ms=int(out["now"]),
        keys=out["keys"],
        runs=out["runs"],
        streams={name: tuple(pair) for name, pair in out["streams"].items()},
        inboxes=out["inboxes"],
        slots=out["slots"],
        tally=out["tally"],
        rooms={queue: dict(counts) for queue, counts in dict(out["rooms"]).items()},
        timers={timers[i]: float(timers[i + 1]) for i in range(0, len(timers), 2)},
        walks=list(out["walks"] or []),
        questions=list(out["questions"] or []),
        inputs=list(out["inputs"] or []),
    )
