"""A namespace on a real server, with the store on top of it and every transition one line away.

Commands run at once on a blocking connection: the order of transitions is the order of the lines of a test. Time is
`World.now`, sent with every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from durable_async.codec.flat import unpack_flat
from durable_async.store.commands import NO_PARENT, Commit, NewRun
from durable_async.store.keys import Keys
from durable_async.store.scripts import SCRIPTS, with_source
from durable_async.store.status import Answer
from durable_async.store.store import GROUP, Store

T0 = 1_700_000_000_000
DAY_MS = 86_400_000
TERMINAL = ("completed", "failed", "cancelled", "compensated", "compensation_failed")
STATES = ("absent", "delayed", "pending", "ready", "running", "parked", "blocked", *TERMINAL)
"""`pending` is ready and never started; in every state from `ready` on worker A is the owner."""


class SyncCaller:
    """The store's caller, without a loop: a command is answered before the call returns."""

    def __init__(self, server: redis.Redis) -> None:
        self.server = server
        self.sent: list[tuple[Any, ...]] = []
        self.is_dry = False
        """Remember commands, send none."""

    def execute(self, command: tuple[Any, ...]) -> Any:
        self.sent.append(command)
        if self.is_dry:
            return [Answer.DONE] * 8
        try:
            reply: Any = self.server.execute_command(*command)
            # As it is on the wire.
            return [x for pair in reply.items() for x in pair] if isinstance(reply, dict) else reply
        except redis.exceptions.NoScriptError:
            return self.server.execute_command(*with_source(command))

    async def call(self, args: tuple[Any, ...], *, deadline_s: float | None = None) -> Any:
        return self.execute(args)

    def run(self, args: tuple[Any, ...], on_reply: Any, *, deadline_s: float | None = None) -> None:
        on_reply(self.execute(args))


@dataclass
class Copy:
    """What the owner of a run has in memory: its fence, and where it is in the journal."""

    world: World
    id: str
    worker: str
    epoch: int
    nonce: str
    entry: str
    inbox: list[bytes]
    seq: int = 0
    parent: tuple[str, str, str] = NO_PARENT

    def commit(
        self, want: str = "go", records: Sequence[bytes] = (), *, take: int = 0, drop: int = 0, **more: Any
    ) -> Any:
        """Sends the next commit: takes and drops from the known inbox first, then the records."""
        heads = [message[: message.index(b" ", message.index(b" ") + 1) + 1] for message in self.inbox[: take + drop]]
        listed = [("T" if i < take else "D", head) for i, head in enumerate(heads)] + [("R", r) for r in records]
        listed = more.pop("listed", listed)
        self.seq += 1
        commit = Commit(
            self.id, self.epoch, self.nonce, more.pop("seq", self.seq), more.pop("entry", self.entry), want, listed,
            parent=self.parent, **more,
        )  # fmt: skip
        reply = self.world.run(self.world.store.commit_run, commit)
        if reply[0] == Answer.FENCED:
            self.seq -= 1
        else:
            self.inbox = reply[2]
        return reply

    def resume(self) -> Any:
        """Takes the run up again through the entry its record names."""
        self.entry = self.world.entry(self.id)
        reply = self.world.run(self.world.store.resume_runs, [(self.id, self.entry, self.epoch, self.nonce, self.seq)])
        if reply[1][0] == Answer.OK:
            self.inbox = reply[1][1]
        return reply[1]


@dataclass
class World:
    """One namespace."""

    server: redis.Redis
    keys: Keys
    user: redis.Redis | None = None
    """Who runs the transitions, if that is somebody else."""
    caller: SyncCaller = field(init=False)
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.caller = SyncCaller(self.user or self.server)
        self.store = Store(self.caller, self.keys, given_now=T0)  # type: ignore[arg-type]
        self.server.xgroup_create(self.keys.queue("q"), GROUP, "0", mkstream=True)
        self.join("A")
        self.join("B")

    # ------------------------------------------------------------------ time and workers

    @property
    def now(self) -> int:
        return int(self.store.given_now)

    @now.setter
    def now(self, value: int) -> None:
        self.store.given_now = value

    def join(self, worker: str) -> None:
        """A live worker creates its own stream; nobody else ever does."""
        self.server.xgroup_create(self.keys.worker(worker), GROUP, "0", mkstream=True)

    def read(self, worker: str) -> list[tuple[str, str]]:
        """What a worker reads: `(run id, entry)` each, and `("n", run id)` for a nudge."""
        streams = {self.keys.queue("q"): ">"}
        if self.server.exists(self.keys.worker(worker)):
            streams[self.keys.worker(worker)] = ">"
        found = []
        for stream, entries in self.server.xreadgroup(GROUP, worker, streams) or []:  # type: ignore[union-attr]
            letter = "Q" if stream.decode() == self.keys.queue("q") else "W"
            for entry_id, values in entries:
                if b"n" in values:
                    found.append(("n", values[b"n"].decode()))
                else:
                    found.append((values[b"r"].decode(), letter + entry_id.decode()))
        return found

    # ------------------------------------------------------------------ transitions

    def run(self, method: Any, *args: Any) -> Any:
        """A method of the hot path; returns what it hands to its callback."""
        replies: list[Any] = []
        method(*args, replies.append)
        return replies[0]

    def repeat(self) -> Any:
        """The last command once more: its reply was lost."""
        return self.caller.execute(self.caller.sent[-1])

    def eval(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """A transition by hand."""
        return self.caller.execute(SCRIPTS[name].call(keys, args))

    def new(self, id: str = "r", **more: Any) -> NewRun:
        values: dict[str, Any] = {"workflow": "w", "queue": "q", "digest": b"\xff\x00d", "start": b"Sinput"}
        return NewRun(id, **{**values, "retention_ms": DAY_MS, **more})

    def child(self, id: str = "p/c", parent: str = "p", **more: Any) -> NewRun:
        """A child as its parent's commit creates it."""
        values: dict[str, Any] = {"parent": parent, "ref": id, "hint": "A", "parent_queue": "q", "depth": 1}
        return self.new(id, **{**values, "notify": True, **more})

    async def start(self, id: str = "r", **more: Any) -> Any:
        return await self.store.start_run(self.new(id, **more))

    def claim_reply(self, worker: str, id: str, entry: str | None = None, *, nonce: str = "n1", limit: int = 5) -> Any:
        chosen = self.entry(id) if entry is None else entry
        return self.run(self.store.claim_runs, worker, nonce, limit, [(id, chosen)])[1]

    def claim(self, worker: str = "A", id: str = "r", **more: Any) -> Copy:
        """Takes a run over, through the entry that counts."""
        self.read(worker)
        entry, nonce = self.entry(id), more.get("nonce", "n1")
        reply = self.claim_reply(worker, id, **more)
        assert reply[0] == Answer.OK, reply
        f = [value.decode("latin-1") if value else "" for value in unpack_flat(reply[2])]
        parent = (f[9], f[11], f[12]) if f[9:] and f[9] else NO_PARENT
        return Copy(self, id, worker, reply[1], nonce, entry, reply[5], parent=parent)

    def ack(self, copy: Copy) -> None:
        """What a worker does in batches with the entries of runs that have parked or ended."""
        source = self.store.source_key(copy.entry, copy.worker, "q")
        self.run(self.store.ack_entries, source, [copy.entry[1:]])

    async def bring(self, state: str, id: str = "r") -> Copy | None:
        """A run in this state, by the shortest way there; a copy of it if it ever had an owner."""
        if state == "absent":
            return None
        await self.start(id, delay_ms=1_000 if state == "delayed" else 0)
        if state in ("delayed", "pending"):
            return None
        copy = self.claim("A", id)
        if state in ("ready", "parked"):
            copy.commit("park", [b"Rone"])
        elif state == "blocked":
            copy.commit("block", [b"Rone"])
        elif state in TERMINAL:
            copy.commit(state, [b"Rone"], payload=b"out")
        if state != "running":
            self.ack(copy)
        if state == "ready":
            await self.store.send_event(id, "woken", b"now", 10)
        assert self.status(id) == ("ready" if state == "pending" else state)
        return copy

    def family(self, *, notify: bool = True) -> tuple[Copy, Copy]:
        """A running parent `p` and its running child `p/c`, both on worker A."""
        parent = self.claim("A", "p")
        parent.commit("go", [b"Rchild"], children=[self.child(notify=notify)])
        return parent, self.claim("A", "p/c")

    # ------------------------------------------------------------------ looking

    def field(self, id: str, name: str) -> str:
        value = self.server.hget(self.keys.run(id), name)
        return "" if value is None else value.decode("latin-1")  # type: ignore[union-attr]

    def status(self, id: str = "r") -> str:
        return self.field(id, "status") or "absent"

    def entry(self, id: str = "r") -> str:
        return self.field(id, "entry")

    def journal(self, id: str = "r") -> list[bytes]:
        return self.server.lrange(self.keys.journal(id), 0, -1)  # type: ignore[return-value]

    def inbox(self, id: str = "r") -> list[bytes]:
        return self.server.lrange(self.keys.inbox(id), 0, -1)  # type: ignore[return-value]

    def timers(self) -> dict[str, float]:
        return {m.decode(): s for m, s in self.server.zrange(self.keys.timers, 0, -1, withscores=True)}  # type: ignore[union-attr]

    def walks(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.server.hgetall(self.keys.walks).items()}  # type: ignore[union-attr]

    def stream(self, key: str) -> list[tuple[str, str]]:
        """Field and value of every entry of a stream."""
        entries = self.server.xrange(key)
        return [(k.decode(), v.decode()) for _, values in entries for k, v in values.items()]  # type: ignore[union-attr]

    def snapshot(self) -> dict[str, Any]:
        """The whole namespace as values that can be compared, down to pending entries and times to live."""
        found = {}
        for name in self.server.scan_iter(match=self.keys.base + "*", count=1000):
            found[name.decode().removeprefix(self.keys.base)] = (self._value(name), self.server.pexpiretime(name))
        return found

    def _value(self, name: bytes) -> Any:
        server = self.server
        kind = server.type(name)
        if kind == b"hash":
            return server.hgetall(name)
        if kind == b"list":
            return server.lrange(name, 0, -1)
        if kind == b"zset":
            return server.zrange(name, 0, -1, withscores=True)
        if kind == b"stream":
            info = server.xinfo_stream(name)
            groups = [
                (g["name"], g["last-delivered-id"], server.execute_command("XPENDING", name, g["name"]))
                for g in server.xinfo_groups(name)  # type: ignore[union-attr]
            ]
            return info["last-generated-id"], server.xrange(name), groups  # type: ignore[index]
        return kind, server.dump(name)


async def outside(world: World, method: str, id: str, *args: Any) -> None:
    """The store reads the standing first; then its script is not sent."""
    standing = await world.store.standing(id)

    async def known(_: str) -> Any:
        return standing

    world.store.standing = known  # type: ignore[method-assign]
    world.caller.is_dry = True
    await getattr(world.store, method)(id, *args)
