"""The server, spoken to one command at a time, and the transport that hands every command to the scheduler.

Scripts are executed as they are shipped; only the time they are told is the world's (their `given_now`), and a
known-bad variant takes the place of the script it is of.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import Reader, pack_command

from durable_async.store.connect import parse_url
from durable_async.store.errors import ConnectionLost, ServerError
from durable_async.store.scripts import BY_SHA, SCRIPTS
from durable_async.store.transport_base import CLOSED, Args, Reply, Transport

_NOTHING = object()
PROBE = """
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = 0
  if redis.call('TYPE', key).ok == 'stream' then
    local last = ARGV[i]
    if last == '>' then
      last = nil
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
        for j = 1, #group, 2 do
          if group[j] == 'last-delivered-id' then last = group[j + 1] end
        end
      end
    end
    if not last or #redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1) > 0 then found[i] = 1 end
  elseif ARGV[i] == '>' then
    found[i] = 1
  end
end
return found
"""
"""Whether a blocked read would be answered: by entries, or by the error that there is no stream any more."""
STATE = """
local parts = {}
local function add(...)
  for _, value in ipairs({...}) do parts[#parts + 1] = tostring(value) end
end
local function add_all(values)
  for _, value in ipairs(values) do
    if type(value) == 'table' then add_all(value) else add(value) end
  end
end
local keys = redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do
  local kind = redis.call('TYPE', key).ok
  if not string.find(key, ':client:', 1, true) then add(key, redis.call('PTTL', key) == -1) end
  if kind == 'hash' then
    local names = redis.call('HKEYS', key)
    table.sort(names)
    for _, name in ipairs(names) do
      if not string.find(key, ':workers', 1, true) then add(name, redis.call('HGET', key, name)) end
    end
  elseif kind == 'list' then
    add_all(redis.call('LRANGE', key, 0, -1))
  elseif kind == 'zset' then
    add_all(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'))
  elseif kind == 'stream' and not string.find(key, ':client:', 1, true) then
    add_all(redis.call('XRANGE', key, '-', '+'))
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      for i = 1, #group, 2 do
        if group[i] == 'last-delivered-id' then add(group[i + 1]) end
      end
    end
    for _, row in ipairs(redis.call('XPENDING', key, 'workers', '-', '+', 100)) do add(row[1], row[2]) end
  end
end
return redis.sha1hex(table.concat(parts, '\\0'))
"""
"""Everything that the store holds, in forty letters, but for what only waiting clients see."""
_LEASE = re.compile(rb'"lease":([0-9.]+)')
KEEP = """
local rows = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  rows[#rows + 1] = {key, math.max(redis.call('PTTL', key), 0), redis.call('DUMP', key)}
end
return rows
"""
"""Everything that the store holds, so that it can be put back."""
FIRST_ID = "9000000000000-0"
"""From here on entries are numbered: not by the server's clock, which differs from schedule to schedule."""


class Line:
    """A connection on which one waits for what one asked."""

    def __init__(self, url: str) -> None:
        address = parse_url(url)
        if address.path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address.path)
        else:
            self._socket = socket.create_connection((address.host, address.port))
        self._reader = Reader(replyError=ServerError, notEnoughData=_NOTHING)

    def send(self, *commands: Sequence[Any]) -> None:
        """Some commands in one write."""
        self._socket.sendall(b"".join([pack_command(tuple(command)) for command in commands]))

    def receive(self) -> Any:
        """The next reply."""
        while (reply := self._reader.gets()) is _NOTHING:
            self._reader.feed(self._socket.recv(1 << 20))
        return reply

    def close(self) -> None:
        """Closes it."""
        self._socket.close()


class Server:
    """One connection to a real server, in a database that belongs to the explorer alone."""

    def __init__(self, url: str) -> None:
        self._line = Line(url)
        self.url = url
        self.calls = 0
        self._instead: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._tape: list[list[Any]] = []
        """What was answered in this schedule."""
        self._played = 0
        self._known = 0
        self._kept: list[tuple[Any, ...]] = []
        self.ask(*(("SCRIPT", "LOAD", script.body) for script in SCRIPTS.values()))
        own = (PROBE, STATE, KEEP)
        self._probe, self._state, self._keep = self.ask(*(("SCRIPT", "LOAD", text) for text in own))
        self.own = frozenset({self._probe, self._state, self._keep})
        """The explorer's own scripts: they change nothing."""

    def execute(self, *commands: Sequence[Any]) -> list[Any]:
        """Has some commands executed; the replies, errors among them.

        Up to where a schedule leaves another one it is told what that one was, and the store is put back there.
        """
        if self._played == self._known:
            self._tape.append(self.ask(*commands))
            self._known += 1
        replies = self._tape[self._played]
        assert len(replies) == len(commands), f"the same decisions have led elsewhere: {commands}"
        self._played += 1
        if self._played == self._known and self._kept:
            self.ask(*self._kept)
            self._kept = []
        return replies

    def keep(self) -> tuple[int, list[tuple[Any, ...]]]:
        """For `begin`: how far it has come, and what puts everything back as it is now."""
        (rows,) = self.ask(("EVALSHA", self._keep, 0))
        return self._played, [("FLUSHDB",), *(("RESTORE", *row) for row in rows)]

    def begin(self, known: int = 0, kept: Sequence[tuple[Any, ...]] = ()) -> None:
        """A schedule begins, which is the same as the last one up to there."""
        self._played, self._known, self._kept = 0, known, list(kept)
        del self._tape[known:]

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Sends some commands in one write; the replies, errors among them."""
        self._line.send(*commands)
        self.calls += len(commands)
        return [self._line.receive() for _ in commands]

    def variant(self, changes: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """From here on these scripts are executed with texts replaced by others; with none, as shipped."""
        self._instead = {}
        for name, replacements in changes.items():
            body = SCRIPTS[name].body.decode()
            for old, new in replacements:
                assert old in body, f"{name} has no {old!r}"
                body = body.replace(old, new)
            (sha,) = self.ask(("SCRIPT", "LOAD", body))
            assert not isinstance(sha, Exception), sha
            self._instead[SCRIPTS[name].sha] = sha.decode()

    def prepared(self, args: Args, now_ms: int) -> Args:
        """A command as it is executed at this time."""
        if args[0] == "EVALSHA":
            script = BY_SHA[str(args[1])]
            changed = list(args)
            if script.args[:1] == ("given_now",):
                changed[3 + int(changed[2])] = now_ms
            changed[1] = self._instead.get(script.sha, script.sha)
            return tuple(changed)
        if args[0] in ("XREADGROUP", "XREAD") and "BLOCK" in args:
            at = args.index("BLOCK")
            return (*args[:at], *args[at + 2 :])
        return args

    @staticmethod
    def told(args: Args, reply: Any) -> Any:
        """A reply as its actor gets it: what the server has from its own clock, and what only people read, is nought.

        So that the same is the same in every schedule, and so that nothing that is left out here can matter.
        """
        if isinstance(reply, Exception) or reply is None:
            return reply
        if args[0] == "XPENDING" and len(args) > 3:
            return [[row[0], row[1], 0, 1] for row in reply]
        if args[0] == "XINFO" and args[1] == "CONSUMERS":
            return [[b"name", row[1], b"pending", 0, b"idle", 0] for row in reply]
        if args[0] == "PTTL":
            return min(reply, 1)
        if args[0] == "HGET" and str(args[1]).endswith(":workers"):
            return b'{"lease":%s}' % _LEASE.findall(reply)[0]
        return reply

    @staticmethod
    def follows(args: Args) -> list[Args]:
        """What is executed right after a command, so that nothing depends on the server's clock."""
        if args[0] == "XGROUP" and args[1] == "CREATE":
            return [("XSETID", args[2], FIRST_ID)]
        return []

    def probing(self, reads: Sequence[tuple[str, str]]) -> Args:
        """The command that tells which of these reads, of a stream from a place each, would be answered."""
        return ("EVALSHA", self._probe, len(reads), *[key for key, _ in reads], *[last for _, last in reads])

    def state(self) -> str:
        """What the store holds, as one text that is the same for the same."""
        (state,) = self.ask(("EVALSHA", self._state, 0))
        assert not isinstance(state, Exception), state
        return str(state)

    def close(self) -> None:
        """Closes the connection."""
        self._line.close()


@dataclass(eq=False)
class Call:
    """A command on its way; or a move that is no command."""

    args: Args
    on_reply: Reply
    name: str
    reads: tuple[tuple[str, str], ...] = ()
    """Of a blocking read: its streams, and from where."""
    reply: Any = None
    is_held: bool = False
    """It was executed, and its reply is still under way."""
    number: int = 0
    """The how manieth it is on its connection."""


class SimTransport(Transport):
    """A connection on which nothing moves by itself. A lost one is back at once."""

    def __init__(self, actor: Any, role: str) -> None:
        super().__init__(spec=None, role=role)  # type: ignore[arg-type]  # it connects to nobody
        self.actor = actor
        self.queue: deque[Call] = deque()
        self._is_up = False
        self._count = 0

    @property
    def is_connected(self) -> bool:
        return self._is_up

    def submit(self, args: Args, on_reply: Reply) -> None:
        if self.actor.is_gone:
            return
        if not self._is_up:
            self._fail_soon(on_reply)
            return
        self.put(call_of(args, on_reply))

    def put(self, call: Call) -> None:
        """One more that waits to be executed."""
        self._count += 1
        call.number = self._count
        self.queue.append(call)

    def _lose_all(self, why: str) -> None:
        lost, self.queue = self.queue, deque()
        for call in lost:
            self._deliver(call.on_reply, ConnectionLost(why, sent=True))

    def reconnect(self, why: str) -> None:
        if not self._is_up:
            return
        self._is_up = False
        self._lose_all(why)
        self._tell(self.on_disconnect)
        if not self._is_closed:
            assert self._loop is not None
            self._loop.call_soon(self._back)

    def _back(self) -> None:
        if not self._is_closed:
            self._is_up = True
            self._tell(self.on_reconnect)

    async def _establish(self) -> None:
        self._is_up = True

    async def _shut(self) -> None:
        self._is_up = False
        self._lose_all(CLOSED)


async def open_sim_transport(spec: Any, *, role: str = "main", **options: Any) -> SimTransport:
    """In place of `open_transport`: a connection of the actor that runs."""
    loop: Any = asyncio.get_running_loop()
    transport = SimTransport(loop.actor, role)
    loop.actor.transports.append(transport)
    await transport.open()
    return transport


def call_of(args: Args, on_reply: Reply) -> Call:
    """A command, with what its scheduler has to know of it."""
    name = str(args[0])
    if name == "EVALSHA":
        name = BY_SHA[str(args[1])].name
    reads: tuple[tuple[str, str], ...] = ()
    if name in ("XREADGROUP", "XREAD") and "BLOCK" in args:
        given = args[args.index("STREAMS") + 1 :]
        half = len(given) // 2
        reads = tuple((str(key), _text(last)) for key, last in zip(given[:half], given[half:], strict=True))
    return Call(args, on_reply, name, reads)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_ENTRY = re.compile(r"\d{12,}-\d+")


class Names:
    """Short names for the ids of stream entries, which the server makes of its clock, in order of their appearance."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The text, with short names in it."""
        return _ENTRY.sub(lambda found: self._known.setdefault(found[0], f"e{len(self._known) + 1}"), text)
