"""The one place that knows under which key and field the store keeps what the model says, and how.

A field that moves, or is left out because it can be told from others, is an edit here and nowhere else. What is not
known here is an error: nothing in the store escapes the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from .state import Family, Lines, Room, Run, Schedule, Shared, State, Stream

HOUR_MS = 3_600_000
"""Times to live in these models are whole hours: however long ago a key got its own, it is still known which."""


class UnknownKey(AssertionError):
    """The store holds what the model knows nothing of."""


# ------------------------------------------------------------------ records


def _text(value: bytes) -> str:
    return value.decode()


def _number(value: bytes) -> int:
    return int(value or 0)


def _time(value: bytes) -> int | None:
    return int(value) if value else None


def _names(value: bytes) -> list[str]:
    return list(msgpack.unpackb(value)) if value else []


def _words(value: bytes) -> list[str]:
    return value.decode().split()


def _flag(value: bytes) -> bool:
    return value == b"1"


def _first(value: bytes) -> int:
    """Of a life: the first one needs no number."""
    return int(value or 1)


FIELDS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "workflow": ("workflow", _text),
    "queue": ("lane", _text),
    "digest": ("digest", bytes),
    "retention": ("retention_ms", _time),
    "version": ("version", _text),
    "created": ("created_ms", _number),
    "key": ("key", _text),
    "token": ("token", _text),
    "parent": ("parent", _text),
    "ref": ("ref", _text),
    "pqueue": ("parent_lane", _text),
    "depth": ("depth", _number),
    "hint": ("hint", _text),
    "notify": ("notify", _flag),
    "leave": ("leaves", _flag),
    "pgen": ("parent_gen", _first),
    "status": ("status", _text),
    "entry": ("entry", _text),
    "epoch": ("epoch", _number),
    "nonce": ("nonce", _text),
    "owner": ("owner", _text),
    "seq": ("seq", _number),
    "answer": ("answer", _number),
    "claims": ("claims", _number),
    "mail": ("mail", _number),
    "taken": ("taken", _number),
    "nudged": ("nudged", _flag),
    "gen": ("gen", _first),
    "attempt": ("attempt", _first),
    "started": ("started_ms", _time),
    "finished": ("finished_ms", _time),
    "timer": ("timer_ms", _time),
    "deadline": ("deadline_ms", _time),
    "kids": ("kids", _number),
    "inputs": ("asks", _names),
    "saga": ("saga", _text),
    "cancel": ("cancel", _text),
    "cancel_token": ("cancel_token", _text),
    "cancel_at": ("cancel_at", _number),
    "cancel_kids": ("cancel_kids", _number),
    "grace": ("grace_ms", _time),
    "ended_by": ("ended_by", _text),
    "retried_by": ("retried_by", _text),
    "unblocked": ("unblocked", _text),
    "client": ("clients", _words),
    "waiting": ("waiting", _text),
    "context": ("context", bytes),
    "progress": ("progress", bytes),
}
CLAIM_FIELDS = (
    "started_ms", "workflow", "lane", "attempt", "created_ms", "version", "retention_ms", "gen", "deadline_ms"
)  # fmt: skip
"""What a claim answers of a record, in its order; and of a child's."""
CHILD_FIELDS = ("parent", "ref", "hint", "parent_lane", "depth")
WATCH_FIELDS = ("status", "epoch", "gen", "created_ms", "started_ms", "waiting", "attempt", "saga")
_KINDS = dict(FIELDS.values())


def put_fields(run: Run, flat: Sequence[Any]) -> None:
    """Fields as a script gets them, name and value in turn."""
    for raw, value in zip(flat[::2], flat[1::2], strict=True):
        text = value if isinstance(value, bytes) else str(value).encode()
        name = raw.decode() if isinstance(raw, bytes) else raw
        if name.startswith(("event:", "answer:")):
            run.seen.add(name)
        elif name in FIELDS:
            attribute, read = FIELDS[name]
            setattr(run, attribute, read(text))
        else:
            raise UnknownKey(f"no record has a field {name!r}")


def picked(names: Sequence[str], values: Sequence[bytes | None]) -> dict[str, Any]:
    """A script's answer about a record, by attribute."""
    names = (*names, *CHILD_FIELDS)[: len(values)] if names == CLAIM_FIELDS else names
    return {name: _KINDS[name](value or b"") for name, value in zip(names, values, strict=True)}


# ------------------------------------------------------------------ the whole store

DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'stream' then
    value = { redis.call('XRANGE', key, '-', '+'), {} }
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      local of = {}
      for i = 1, #group, 2 do of[group[i]] = group[i + 1] end
      local pending = redis.call('XPENDING', key, of['name'], '-', '+', 10000)
      for i, each in ipairs(pending) do pending[i] = { each[1], each[2] } end
      value[2][#value[2] + 1] = { of['name'], of['last-delivered-id'], pending }
    end
  end
  found[#found + 1] = { key, kind, redis.call('PTTL', key), value }
end
table.sort(found, function(a, b) return a[1] < b[1] end)
return found
"""
"""Every key of a database, with its time to live, at one moment."""


def state_of(dump: Sequence[Any], base: str) -> State:
    """What a dump says."""
    state = State()
    for key, kind, pttl, value in dump:
        name = key.decode().removeprefix(base)
        family, _, id = name.partition(":")
        read = _READERS.get((family, kind.decode(), bool(id)))
        if read is None:
            raise UnknownKey(f"the store has a {kind.decode()} {key.decode()}")
        ttl_ms = None if pttl == -1 else -(-pttl // HOUR_MS) * HOUR_MS
        read(state, name if family in ("queue", "worker", "client") else id or family, value, ttl_ms)
    return state


def _pairs(flat: Sequence[bytes]) -> Mapping[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _scores(flat: Sequence[bytes]) -> dict[str, int]:
    return {name: int(float(value)) for name, value in _pairs(flat).items()}


def _read_run(state: State, id: str, value: Any, ttl_ms: int | None) -> None:
    run = state.runs[id] = Run(ttl_ms=ttl_ms)
    put_fields(run, value)


def _shared(value: Any, ttl_ms: int | None) -> Shared:
    return Shared(dict(zip(value[::2], value[1::2], strict=True)), ttl_ms)


def _read_stream(state: State, name: str, value: Any, ttl_ms: int | None) -> None:
    entries, groups = value
    stream = state.streams[name] = Stream(ttl_ms=ttl_ms)
    for entry_id, fields in entries:
        stream.entries[entry_id.decode()] = (fields[0].decode(), fields[1].decode())
    for group, delivered, pending in groups:
        if group != b"workers":
            raise UnknownKey(f"the stream {name} has a group {group!r}")
        stream.has_group, stream.delivered = True, delivered.decode()
        stream.pending = {entry_id.decode(): consumer.decode() for entry_id, consumer in pending}


def _read_schedule(state: State, id: str, value: Any, _ttl: int | None) -> None:
    fields = dict(_pairs(value))
    known = {name: fields.pop(name, b"").decode() for name in ("expression", "cursor", "next", "last_at", "last_run")}
    is_paused, error = fields.pop("paused", b"") == b"1", fields.pop("error", b"").decode()
    state.schedules[id] = Schedule(**known, is_paused=is_paused, error=error, fields=fields)


def _read_room(state: State, id: str, value: Any, _ttl: int | None) -> None:
    room = state.rooms.setdefault(id, Room())
    for member, order in _scores(value).items():
        run, _, key = member.partition("\n")
        room.waiting[run, key] = order


def _read_behind(state: State, id: str, value: Any, _ttl: int | None) -> None:
    for member in _pairs(value):
        key, _, rest = member.partition("\0")
        state.rooms.setdefault(id, Room()).behind.add((key, int(rest[:16]), rest[16:]))


def _read_slots(state: State, id: str, value: Any, _ttl: int | None) -> None:
    for run, slot in _pairs(value).items():
        entry, _, key = slot.decode().partition("\n")
        state.rooms.setdefault(id, Room()).slots[run] = (entry, key)


def _read_tally(state: State, id: str, value: Any, _ttl: int | None) -> None:
    state.rooms.setdefault(id, Room()).tally = {key: int(count) for key, count in _pairs(value).items()}


def _read_starts(state: State, id: str, value: Any, ttl_ms: int | None) -> None:
    room = state.rooms.setdefault(id, Room())
    room.starts, room.starts_ttl_ms = [int(at) for at in value], ttl_ms


def _set(name: str, read: Callable[[Any], Any]) -> Callable[[State, str, Any, int | None], None]:
    return lambda state, _id, value, _ttl: setattr(state, name, read(value))


def _put(name: str, read: Callable[[Any, int | None], Any]) -> Callable[[State, str, Any, int | None], None]:
    return lambda state, id, value, ttl_ms: getattr(state, name).__setitem__(id, read(value, ttl_ms))


def _texts(value: Sequence[bytes]) -> dict[str, str]:
    return {name: text.decode() for name, text in _pairs(value).items()}


def _numbers(value: Sequence[bytes]) -> dict[str, int]:
    return {name: int(number) for name, number in _pairs(value).items()}


_READERS: dict[tuple[str, str, bool], Callable[[State, str, Any, int | None], None]] = {
    ("run", "hash", True): _read_run,
    ("journal", "list", True): _put("journals", lambda value, ttl_ms: Lines(value, ttl_ms)),
    ("inbox", "list", True): _put("inboxes", lambda value, ttl_ms: Lines(value, ttl_ms)),
    ("children", "zset", True): _put("families", lambda value, ttl_ms: Family(_scores(value), ttl_ms)),
    ("shared", "hash", True): _put("shared", _shared),
    ("queue", "stream", True): _read_stream,
    ("worker", "stream", True): _read_stream,
    ("client", "stream", True): _read_stream,
    ("timers", "zset", False): _set("timers", _scores),
    ("walks", "hash", False): _set("walks", lambda value: dict(_pairs(value))),
    ("index", "zset", False): _set("index", _scores),
    ("blocked", "hash", False): _set("blocked", _texts),
    ("gates", "hash", False): _set("gates", _texts),
    ("room", "zset", True): _read_room,
    ("behind", "zset", True): _read_behind,
    ("slots", "hash", True): _read_slots,
    ("tally", "hash", True): _read_tally,
    ("starts", "list", True): _read_starts,
    ("inputs", "zset", False): _set("inputs", _scores),
    ("questions", "hash", False): _set("questions", lambda value: dict(_pairs(value))),
    ("schedules", "zset", False): _set("looks", _scores),
    ("schedule", "hash", True): _read_schedule,
    ("workers", "hash", False): _set("workers", lambda value: dict(_pairs(value))),
    ("beats", "hash", False): _set("beats", _numbers),
    ("meta", "hash", False): _set("meta", _texts),
}
KEY_FAMILIES = frozenset(family for family, _, _ in _READERS)


def tidy(state: State) -> State:
    """What is empty is not there: the server has no empty lists."""
    for kept in (state.journals, state.inboxes):
        for id in [id for id, lines in kept.items() if not lines.lines]:
            del kept[id]
    for id in [id for id, shared in state.shared.items() if not shared.inputs]:
        del state.shared[id]
    for id in [id for id, family in state.families.items() if not family.numbers]:
        del state.families[id]
    for queue in [queue for queue, room in state.rooms.items() if room == Room()]:
        del state.rooms[queue]
    return state
