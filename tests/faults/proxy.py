"""A TCP proxy between the processes of a test and their server, in a thread of its own: it loses, holds back, tears,
delays and doubles what passes, and its address stays while the server behind it changes.

*Cut* resets connections. A *hole* swallows both directions and closes nothing, for ever on connections that have lost
bytes in it. *Hold* delivers nothing until it is over, and then everything: what a cable does that is plugged in again.
A `Strike` hits single commands and replies, a `Shape` slows everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from .wire import Frames, command_of

CHUNK = 65_536
NOTHING = (b"*-1\r\n", b"$-1\r\n", b"*0\r\n")
KINDS = ("lose-request", "tear-request", "lose-reply", "tear-reply", "double-request")
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass
class Shape:
    """How slow a line is."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    stall_s: float = 0.0
    """Now and then (`stall_chance` per chunk) nothing passes for so long."""
    stall_chance: float = 0.0
    segment: int = 0
    """Bytes per write; 0 for all there are."""


@dataclass
class Strike:
    """Which commands are hit, and how; `hits` tells what was.

    The kinds are `KINDS`; ``late-reply``; and ``half-open``: the first reply that holds something is swallowed, and all
    that comes after it on its connection.
    """

    kind: str
    picks: Callable[[str], bool]
    """Asked for every command, in order, with its name."""
    late_s: float = 0.0
    """For ``late-reply``."""
    hits: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Link:
    """One client's connection, and ours to the server for it."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    requests: Frames = field(default_factory=Frames)
    replies: Frames = field(default_factory=Frames)
    owed: deque[str] = field(default_factory=deque)
    """For each reply that is due, what happens to it."""
    has_lost: bool = False

    def reset(self) -> None:
        for _, writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own; use it in ``with``. Attributes may be set from any thread, at any time."""

    def __init__(self, url: str, *, seed: int = 0, is_raw: bool = False) -> None:
        """``is_raw``: what passes is not commands and their replies, as between a primary and its replica."""
        self.target = url
        """Where new connections go to."""
        self.is_hole = False
        self.is_refusing = False
        self.shape: Shape | None = None
        self.strike: Strike | None = None
        self.refused = 0
        self.noticed = 0
        """Connections that had lost something and were given up by the client."""
        self._is_raw = is_raw
        self._random = random.Random(seed)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="proxy", daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    # ------------------------------------------------------------------ faults

    def cut(self) -> int:
        """Resets every connection; how many there were."""
        return self._do(self._cut)

    def hold(self) -> None:
        """Nothing passes any more; the kernels keep it."""
        self._do(self._passing.clear)

    def release(self) -> None:
        """What was held passes."""
        self._do(self._passing.set)

    def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def _do(self, what: Callable[[], Any]) -> Any:
        async def now() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result()

    # ------------------------------------------------------------------ its thread

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._passing = asyncio.Event()
        self._passing.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        self._passing.set()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            upstream = await self._connect()
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        link = _Link((reader, writer), upstream)
        self._links.add(link)
        judges = (self._any, self._any) if self._is_raw else (self._request, self._reply)
        up = asyncio.create_task(self._pump(link, *link.client[:1], link.server[1], judges[0]))
        down = asyncio.create_task(self._pump(link, *link.server[:1], link.client[1], judges[1]))
        await asyncio.gather(up, down)
        self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.is_refusing:
            raise OSError("refused")
        parts = urlsplit(self.target)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(parts.netloc + parts.path))
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, judge: Callable[..., Any]
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._passing.wait()
                if self.is_hole or link.has_lost:
                    link.has_lost = True
                    continue
                await judge(link, data, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.noticed += link.has_lost and reader is link.client[0]
        if link.has_lost and reader is link.server[0]:
            # The end of the connection is lost as well.
            await self._over.wait()
        writer.transport.abort() if writer is link.server[1] else writer.close()

    async def _any(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._write(writer, data)

    async def _request(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        for frame in link.requests.feed(data):
            strike, name = self.strike, command_of(frame)
            kind = strike.kind if strike is not None and strike.picks(name) else ""
            if kind and strike is not None and kind != "half-open":
                strike.hits.append(name)
            if kind in ("lose-request", "tear-request"):
                if kind == "tear-request":
                    await self._write(writer, frame[: len(frame) // 2])
                link.reset()
                return
            link.owed.append(kind)
            await self._write(writer, frame)
            if kind == "double-request":
                link.owed.append("drop")
                await self._write(writer, frame)

    async def _reply(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        for frame in link.replies.feed(data):
            kind = link.owed.popleft()
            if kind == "drop":
                continue
            if kind in ("lose-reply", "tear-reply"):
                if kind == "tear-reply":
                    await self._write(writer, frame[: len(frame) // 2])
                link.reset()
                return
            strike = self.strike
            if kind == "late-reply" and strike is not None:
                await asyncio.sleep(strike.late_s)
            if kind == "half-open" and strike is not None and frame not in NOTHING and not strike.hits:
                strike.hits.append(kind)
                link.has_lost = True
                return
            await self._write(writer, frame)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        shape = self.shape
        if shape is None:
            writer.write(data)
            await writer.drain()
            return
        pause = shape.delay_s + self._random.uniform(-shape.jitter_s, shape.jitter_s)
        if shape.stall_chance and self._random.random() < shape.stall_chance:
            pause += shape.stall_s
        if shape.bytes_per_s:
            pause += len(data) / shape.bytes_per_s
        if pause > 0:
            await asyncio.sleep(pause)
        step = shape.segment or len(data)
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            if shape.segment:
                await asyncio.sleep(0)


def chance(share: float, seed: int, *, names: frozenset[str] | None = None) -> Callable[[str], bool]:
    """Picks a share of all commands, or of those of some names."""
    draw = random.Random(seed)
    return lambda name: (names is None or name in names) and draw.random() < share
