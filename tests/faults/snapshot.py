"""Everything a namespace holds, read without any code of the package's but the names of keys and the codec."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import redis

from durable_async.codec.lines import unpack_line
from durable_async.engine.records import LETTERS
from durable_async.engine.reviving import surviving
from durable_async.store.keys import Keys

TERMINAL = frozenset(LETTERS.values())


@dataclass
class Run:
    """One run as the store has it."""

    id: str
    record: dict[str, str]
    journal: list[bytes]
    inbox: list[bytes]
    children: list[tuple[str, float]]

    @property
    def status(self) -> str:
        return self.record.get("status", "")

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    def number(self, name: str) -> int:
        return int(self.record.get(name) or 0)

    def records(self) -> list[list[Any]]:
        """The owner's records that count: kind, time, identity and more."""
        return [unpack_line(line[1:]) for line in surviving(self.journal)[0] if line[:1] == b"R"]

    def messages(self) -> list[tuple[int, int, bytes]]:
        """Number, time and body of the messages taken."""
        found = []
        for line in self.journal:
            if line[:1] == b"M":
                number, time_ms, body = line[1:].split(b" ", 2)
                found.append((int(number), int(time_ms), body))
        return found

    def outcome(self) -> tuple[int, str, bytes] | None:
        """Time, status and payload of the last line, if it is an end."""
        if not self.journal or self.journal[-1][:1] != b"Z":
            return None
        head, _, payload = self.journal[-1].partition(b"\n")
        time_ms, status = head[1:].decode().split(" ")
        return int(time_ms), status, payload


@dataclass
class Snapshot:
    """A namespace, all of it."""

    keys: Keys
    now_ms: int = 0
    ttls: dict[str, int] = field(default_factory=dict)
    """Time to live in ms of every key, without the base; -1 if it has none."""
    runs: dict[str, Run] = field(default_factory=dict)
    streams: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Length and pending entries of each queue's and worker's stream."""
    entries: dict[str, set[str]] = field(default_factory=dict)
    timers: list[str] = field(default_factory=list)
    walks: list[str] = field(default_factory=list)
    index: set[str] = field(default_factory=set)
    beats: set[str] = field(default_factory=set)


def take(server: redis.Redis, namespace: str) -> Snapshot:
    """Reads a namespace. Not one moment: meant for a namespace at rest."""
    keys = Keys(namespace)
    snap = Snapshot(keys)
    seconds, micros = server.time()  # type: ignore[misc]  # redis-py's own union
    snap.now_ms = seconds * 1000 + micros // 1000
    names = sorted(name.decode() for name in server.scan_iter(match=keys.base + "*", count=1000))
    pipe = server.pipeline(transaction=False)
    for name in names:
        pipe.pttl(name)
    snap.ttls = {name.removeprefix(keys.base): ttl for name, ttl in zip(names, pipe.execute(), strict=True)}
    ids = [name.removeprefix("run:") for name in snap.ttls if name.startswith("run:")]
    for id in ids:
        pipe.hgetall(keys.run(id))
        pipe.lrange(keys.journal(id), 0, -1)
        pipe.lrange(keys.inbox(id), 0, -1)
        pipe.zrange(keys.children(id), 0, -1, withscores=True)
    replies = iter(pipe.execute())
    for id in ids:
        record, journal, inbox, children = next(replies), next(replies), next(replies), next(replies)
        fields = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in record.items()}
        snap.runs[id] = Run(id, fields, journal, inbox, [(c.decode(), score) for c, score in children])
    for name in snap.ttls:
        if name.startswith(("queue:", "worker:")):
            found = server.xrange(keys.base + name)
            groups = server.xinfo_groups(keys.base + name)
            snap.streams[name] = (len(found), sum(g["pending"] for g in groups))  # type: ignore[arg-type, union-attr]
            snap.entries[name] = {entry_id.decode() for entry_id, _ in found}  # type: ignore[union-attr]
    snap.timers = [m.decode() for m in server.zrange(keys.timers, 0, -1)]  # type: ignore[union-attr]
    snap.walks = [m.decode() for m in server.hkeys(keys.walks)]  # type: ignore[union-attr]
    snap.index = {m.decode() for m in server.zrange(keys.index, 0, -1)}  # type: ignore[union-attr]
    snap.beats = {m.decode() for m in server.hkeys(keys.beats)}  # type: ignore[union-attr]
    return snap
